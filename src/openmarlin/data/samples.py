"""Training samples: which clip of which track, how it is seen, and what of it is masked.

A sample is a function of (seed, epoch, index) and of nothing else. So a run can be resumed at any
step, on any number of processes and loader workers, and sees what it would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, TypedDict

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from openmarlin.config import Settings
from openmarlin.data.augment import (
    crop_cells,
    crop_images,
    face_view,
    mirror,
    random_colours,
    random_view,
)
from openmarlin.data.store import Store, Track
from openmarlin.errors import InputError
from openmarlin.masking import STRATEGIES, make_mask, n_visible
from openmarlin.model.config import ModelConfig
from openmarlin.regions import CELL_PX, region_bits

Key = tuple[int, int]
"""(epoch, index): which sample."""

_HELD_OUT = -1
"""The "epoch" of validation clips; they are the same whenever and with whatever seed."""


class SampleSettings(Settings):
    """What decides the samples.

    Attributes:
        rate: every `rate`-th frame of a track.
        masking: a name in `openmarlin.masking.STRATEGIES`.
        mask_ratio: share of the cubes that the encoder does not see.
        regions: face regions that are always masked.
        decode_share: share of the masked cubes that the decoder predicts (1: all, as the paper;
            less: VideoMAE V2's dual masking, arXiv 2303.16727).
        flip: mirror half of the clips.
        crop: random squares, 1 - crop to 1 + crop times the size of the face's.
        colour: brightness, contrast and saturation times 1 - colour to 1 + colour.
        seed: of all chance.
    """

    rate: int = Field(2, ge=1)
    masking: str = "fasking"
    mask_ratio: float = Field(0.9, ge=0, lt=1)
    regions: tuple[str, ...] = ()
    decode_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    flip: bool = False
    crop: float = Field(0.0, ge=0, lt=1)
    colour: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(0, ge=0)


class Sample(TypedDict):
    """One clip: video uint8 (T, H, W, 3), mask and wanted bool (N,), and what it is.

    `wanted` are the masked cubes to predict.
    """

    video: Tensor
    mask: Tensor
    wanted: Tensor
    id: str


class ClipDataset(Dataset[Sample]):
    """Clips of some tracks of a store, by `Key`.

    Args:
        store: to read from.
        tracks: positions in `store.tracks`.
        config: the model that is to see the clips.
        settings: how they are drawn.
        held_out: validation clips: as they are, all masked cubes wanted, the same in every epoch.

    Raises:
        InputError: masking, regions or sizes that do not exist or do not fit.
    """

    def __init__(
        self,
        store: Store,
        tracks: Sequence[int],
        config: ModelConfig,
        settings: SampleSettings,
        *,
        held_out: bool = False,
    ) -> None:
        _check(config, settings)
        self.store, self.tracks = store, list(tracks)
        self.config, self.settings, self.held_out = config, settings, held_out
        self.margin = int(store.info.get("settings", {}).get("margin", 0))

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        settings, size = self.settings, self.config.image_size
        seed = [0, index] if self.held_out else [1 + settings.seed, epoch, index]
        rng = np.random.default_rng(seed)
        number = self.tracks[index % len(self.tracks)]
        track = self.store.tracks[number]
        frames = draw_frames(track.n_frames, self.config.frames, settings.rate, rng)
        images, cells = self.store.read(number, frames)
        view = face_view(self.store.size, self.margin)
        if settings.crop and not self.held_out:
            view = random_view(self.store.size, self.margin, settings.crop, rng)
        images, cells = crop_images(images, view, size), crop_cells(cells, view, size)
        if not self.held_out:
            if settings.flip and rng.random() < 0.5:
                images, cells = mirror(images, cells)
            if settings.colour:
                images = random_colours(images, settings.colour, rng)
        mask = make_mask(
            settings.masking,
            cells,
            grid=self.config.grid,
            ratio=settings.mask_ratio,
            rng=rng,
            regions=settings.regions,
        )
        return {
            "video": torch.from_numpy(np.ascontiguousarray(images)),
            "mask": torch.from_numpy(mask),
            "wanted": torch.from_numpy(mask if self.held_out else self._some(mask, rng)),
            "id": f"{track.name}:{frames[0]}",
        }

    def _some(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.settings.decode_share == 1:
            return mask
        masked = np.flatnonzero(mask)
        wanted = np.zeros_like(mask)
        count = max(1, round(self.settings.decode_share * len(masked)))
        wanted[rng.choice(masked, count, replace=False)] = True
        return wanted


def draw_frames(n_frames: int, length: int, rate: int, rng: np.random.Generator) -> list[int]:
    """`length` frames, `rate` apart, from a random start; a track too short repeats its last."""
    start = int(rng.integers(max(1, n_frames - (length - 1) * rate)))
    frames: list[int] = np.minimum(start + rate * np.arange(length), n_frames - 1).tolist()
    return frames


def split_tracks(tracks: Sequence[Track], share: float) -> tuple[list[int], list[int]]:
    """Positions of training and of held-out tracks; no group of faces is in both.

    Held-out ones come in turns, one of each group, so that the first few are of many faces. Which
    groups are held out depends on their names alone. At least one is, and one is not; with a single
    group, or a share of 0, nothing is held out.
    """
    groups = sorted(
        {track.group for track in tracks}, key=lambda g: hashlib.sha256(g.encode()).digest()
    )
    count = min(max(1, round(share * len(groups))), len(groups) - 1) if share else 0
    chosen = set(groups[:count])
    turns: dict[str, int] = dict.fromkeys(chosen, 0)
    held_out: list[tuple[int, int]] = []
    for i, track in enumerate(tracks):
        if track.group in chosen:
            held_out.append((turns[track.group], i))
            turns[track.group] += 1
    training = [i for i, track in enumerate(tracks) if track.group not in chosen]
    return training, [i for _, i in sorted(held_out)]


class SampleStream:
    """An endless row of keys: in every epoch each track once, in an order of its own.

    Args:
        groups: of the tracks, one each.
        seed: of the orders.
        per_group: tracks of a group in an epoch, drawn anew in each; None for all.
    """

    def __init__(self, groups: Sequence[str], seed: int, per_group: int | None = None) -> None:
        self.seed, self.per_group = seed, per_group
        names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
        self._group = np.array([names[name] for name in groups], np.int64)
        sizes = np.bincount(self._group)
        self._length = int(np.minimum(sizes, per_group or len(groups)).sum())
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Keys in an epoch."""
        return self._length

    def __call__(self, first: int, count: int) -> list[Key]:
        """Keys number first .. first + count - 1."""
        return [self._key(position) for position in range(first, first + count)]

    def _key(self, position: int) -> Key:
        epoch, place = divmod(position, self._length)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self._group))
            self._epoch, self._order = epoch, self._some_of_each_group(order)
        return epoch, int(self._order[place])

    def _some_of_each_group(self, order: np.ndarray) -> np.ndarray:
        """The tracks that are among the first `per_group` of their group, still in that order."""
        if self.per_group is None:
            return order
        by_group = order[np.argsort(self._group[order], kind="stable")]
        starts = np.searchsorted(self._group[by_group], self._group[by_group])
        chosen = by_group[np.arange(len(by_group)) - starts < self.per_group]
        return order[np.isin(order, chosen)]


class StepBatches:
    """The keys that one process loads, batch after batch, for steps first .. stop - 1.

    A step takes world * accumulate * batch keys of the stream, whoever loads them; `rank`'s are
    the rank-th part of them.
    """

    def __init__(
        self,
        stream: SampleStream,
        steps: range,
        *,
        batch: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.stream, self.steps = stream, steps
        self.batch, self.accumulate, self.rank, self.world = batch, accumulate, rank, world

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        own = self.accumulate * self.batch
        for step in self.steps:
            keys = self.stream((step * self.world + self.rank) * own, own)
            for start in range(0, own, self.batch):
                yield keys[start : start + self.batch]


def _check(config: ModelConfig, settings: SampleSettings) -> None:
    """What would otherwise fail in a loader worker, far from who can mend it."""
    if settings.masking not in STRATEGIES:
        raise InputError(
            f"unknown masking {settings.masking!r}: choose from {', '.join(STRATEGIES)}"
        )
    region_bits(settings.regions)
    if n_visible(config.n_tokens, settings.mask_ratio) == config.n_tokens:
        raise InputError(
            f"mask_ratio {settings.mask_ratio:g} masks none of {config.n_tokens} tokens: nothing "
            "to predict"
        )
    if config.image_size < CELL_PX:
        raise InputError(f"image_size {config.image_size} is too small: {CELL_PX} at least")
    needs_cells = STRATEGIES[settings.masking].needs_cells or settings.regions
    if needs_cells and (config.image_size % CELL_PX or config.patch % CELL_PX):
        raise InputError(
            f"image_size {config.image_size} and patch {config.patch} do not fit the regions, "
            f"stored for every {CELL_PX} pixels: choose multiples of {CELL_PX}"
        )
