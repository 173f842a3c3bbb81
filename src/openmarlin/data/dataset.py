"""Clips of a store for training: which track, which frames, and in what order.

A sample is a function of (seed, epoch, index) and of nothing else. So a run can be resumed at any
step, on any number of processes and loader workers, and sees what it would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.store import Store, Track
from openmarlin.data.transforms import Clip, Transform
from openmarlin.errors import InputError, option
from openmarlin.video.windows import plan_windows

Key = tuple[int, int]
"""(epoch, index): which sample."""

Sample = dict[str, Any]
"""One clip: `video` uint8 (T, H, W, 3), `id`, and what transforms have added."""


class KeyStream(Protocol):
    """An endless row of keys, a function of position and seed alone."""

    @property
    def together(self) -> int:
        """So many keys in a row belong together: a batch holds all of them or none."""
        ...

    def __len__(self) -> int:
        """Keys in an epoch."""
        ...

    def __call__(self, first: int, count: int) -> list[Key]:
        """Keys number first .. first + count - 1."""
        ...


class ClipDataset(Dataset[Sample]):
    """Clips of some tracks of a store, by `Key`.

    Args:
        store: to read from.
        tracks: positions in `store.tracks`.
        frames: of a clip.
        rate: every `rate`-th frame of a track.
        transforms: what is done with a clip, in this order.
        seed: of all chance; None for validation clips, which are the same in every epoch.
    """

    def __init__(
        self,
        store: Store,
        tracks: Sequence[int],
        *,
        frames: int,
        rate: int,
        transforms: Sequence[Transform],
        seed: int | None,
    ) -> None:
        self.store, self.tracks = store, list(tracks)
        self.frames, self.rate = frames, rate
        self.transforms, self.seed = list(transforms), seed
        self._needs_points = any(getattr(each, "needs_points", False) for each in self.transforms)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        seed = [0, index] if self.seed is None else [1 + self.seed, epoch, index]
        rng = np.random.default_rng(seed)
        number = self.tracks[index % len(self.tracks)]
        n_frames = self.store.tracks[number].n_frames
        return self._sample(number, draw_frames(n_frames, self.frames, self.rate, rng), rng)

    def _sample(self, number: int, frames: Sequence[int], rng: np.random.Generator) -> Sample:
        """Some frames of a track, transformed."""
        track = self.store.tracks[number]
        points = self.store.points(number, frames) if self._needs_points else None
        clip = Clip(track, frames, *self.store.read(number, frames), points=points)
        for transform in self.transforms:
            clip = transform(clip, rng)
        video = torch.from_numpy(np.ascontiguousarray(clip.images))
        return {"video": video, **clip.extras, "id": f"{track.name}:{frames[0]}"}


class WindowDataset(ClipDataset):
    """All windows of some tracks, one after the other, by `Key`: the same in every epoch.

    A sample also has `window`, its position, an int64 scalar.

    Args:
        store: to read from.
        tracks: positions in `store.tracks`.
        frames: of a window.
        rate: every `rate`-th frame of a track.
        stride: sampled frames from one window to the next; the last one repeats its last frame.
        most: windows of a track at most, evenly spread; None for all.
        transforms: what is done with a clip, in this order.

    Attributes:
        windows: track and frames of each.
    """

    def __init__(
        self,
        store: Store,
        tracks: Sequence[int],
        *,
        frames: int,
        rate: int,
        stride: int,
        most: int | None,
        transforms: Sequence[Transform],
    ) -> None:
        super().__init__(store, tracks, frames=frames, rate=rate, transforms=transforms, seed=None)
        self.windows: list[tuple[int, list[int]]] = []
        for number in self.tracks:
            n_frames = store.tracks[number].n_frames
            plan = plan_windows(n_frames, length=frames, rate=rate, stride=stride, tail="pad")
            count = min(len(plan), most or len(plan))
            chosen = np.linspace(0, len(plan) - 1, count).round().astype(int).tolist()
            self.windows += [(number, list(plan[i].ticks)) for i in chosen]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: Key) -> Sample:
        place = key[1] % len(self.windows)
        sample = self._sample(*self.windows[place], np.random.default_rng([0, place]))
        return {**sample, "window": torch.tensor(place)}


@dataclass(frozen=True)
class TrainingData:
    """What a training sees.

    Attributes:
        train: clips to learn from, by `Key`.
        held_out: clips to validate with, by `Key`; any index will do, the epoch is 0.
        stream: the order of the keys.
        val_clips: held-out clips that a validation takes.
        notes: what the log should say about them.
    """

    train: Dataset[Sample]
    held_out: Dataset[Sample]
    stream: KeyStream
    val_clips: int
    notes: list[str] = field(default_factory=list)


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

    together = 1

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
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, self._draw_order(rng)
        return epoch, int(self._order[place])

    def _draw_order(self, rng: np.random.Generator) -> np.ndarray:
        """The tracks of an epoch."""
        return self._some_of_each_group(rng.permutation(len(self._group)))

    def _some_of_each_group(self, order: np.ndarray) -> np.ndarray:
        """The tracks that are among the first `per_group` of their group, still in that order."""
        if self.per_group is None:
            return order
        by_group = order[np.argsort(self._group[order], kind="stable")]
        starts = np.searchsorted(self._group[by_group], self._group[by_group])
        chosen = by_group[np.arange(len(by_group)) - starts < self.per_group]
        return order[np.isin(order, chosen)]


class WeightedStream(SampleStream):
    """As many keys in an epoch as there are tracks, each drawn with a chance of its own.

    Args:
        weights: (n_tracks,) above 0, in proportion to the chances.
        seed: of the draws.
    """

    def __init__(self, weights: NDArray[np.float64], seed: int) -> None:
        super().__init__([""] * len(weights), seed)
        self._chances = weights / weights.sum()

    def _draw_order(self, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(len(self._chances), len(self._chances), p=self._chances)


class StepBatches:
    """The keys that one process loads, batch after batch, for steps first .. stop - 1.

    A step takes world * accumulate * batch keys of the stream, whoever loads them; `rank`'s are
    the rank-th part of them.

    Raises:
        InputError: keys that belong together would come into two batches.
    """

    def __init__(
        self,
        stream: KeyStream,
        steps: range,
        *,
        batch: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch % stream.together:
            raise InputError(
                f"{option('batch', batch)} parts pairs of real and fake: give a multiple of "
                f"{stream.together}"
            )
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
