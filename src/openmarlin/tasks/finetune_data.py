"""The clips of a labelled store as fine-tuning sees them, and what is drawn for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.dataset import (
    ClipDataset,
    KeyStream,
    SampleStream,
    TrainingData,
    WeightedStream,
    WindowDataset,
)
from openmarlin.data.recompress import Recompress
from openmarlin.data.store import Store
from openmarlin.data.transforms import Clip, Colour, Crop, Transform, flip
from openmarlin.errors import InputError, option
from openmarlin.model.config import ModelConfig
from openmarlin.tasks.finetune_network import drop_rates
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import LabelledStore
from openmarlin.tasks.labels import Values, check_columns
from openmarlin.tasks.pairs import Pair, PairStream, pairs_by_group, pairs_by_original
from openmarlin.tasks.self_blend import SelfBlend
from openmarlin.tasks.splits import TRAIN, Indices


@dataclass(frozen=True)
class AddTarget:
    """Adds `target`, (K,) float32: the label of the track's video.

    Attributes:
        labels: by name of the track.
    """

    labels: Mapping[str, NDArray[np.float32]]

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:  # noqa: ARG002
        target = torch.from_numpy(self.labels[clip.track.name])
        return replace(clip, extras={**clip.extras, "target": target})


@dataclass(frozen=True)
class DrawBranches:
    """Adds `kept`, (L, 2) float32: what each branch of each block counts, 0 for not at all.

    A branch that stays counts for those that are left out as well: 1 / (1 - rate).

    Attributes:
        rates: how often the branches of each block are left out.
    """

    rates: Sequence[float]

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        rates = np.asarray(self.rates)[:, None]
        stays = rng.random((len(rates), 2)) >= rates
        kept = torch.from_numpy((stays / (1 - rates)).astype(np.float32))
        return replace(clip, extras={**clip.extras, "kept": kept})


@dataclass(frozen=True)
class DrawTokens:
    """Adds `seen`, bool (N,): the tokens that stay, equally many in every clip.

    Attributes:
        n_tokens: N.
        drop: share of them that is left out.
    """

    n_tokens: int
    drop: float

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        seen = np.zeros(self.n_tokens, bool)
        count = max(1, round((1 - self.drop) * self.n_tokens))
        seen[rng.choice(self.n_tokens, count, replace=False)] = True
        return replace(clip, extras={**clip.extras, "seen": torch.from_numpy(seen)})


@dataclass(frozen=True)
class DrawMixing:
    """Adds how a clip is mixed with the one at the other end of its batch.

    `mix` is the share of its own that every pixel has (mixup, arXiv 1710.09412), `cut` the
    rectangle x1, y1, x2, y2 that is the other's (CutMix, arXiv 1905.04899), `share` how much of the
    label is then its own.

    Attributes:
        mixup: parameter of the Beta distribution of `mix`; 0 for none.
        cutmix: parameter of that of the area which stays; 0 for none. With both, either by turns.
        size: side of the pictures, pixels.
    """

    mixup: float
    cutmix: float
    size: int

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        mix, cut, share = 1.0, (0, 0, 0, 0), 1.0
        if self.cutmix and (not self.mixup or rng.random() < 0.5):
            side = self.size * np.sqrt(1 - rng.beta(self.cutmix, self.cutmix))
            x, y = rng.uniform(0, self.size, 2)
            edges = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
            x1, y1, x2, y2 = np.clip(edges.round(), 0, self.size).astype(int).tolist()
            cut, share = (x1, y1, x2, y2), 1 - (x2 - x1) * (y2 - y1) / self.size**2
        elif self.mixup:
            mix = share = float(rng.beta(self.mixup, self.mixup))
        drawn = {"mix": torch.tensor(mix), "cut": torch.tensor(cut), "share": torch.tensor(share)}
        return replace(clip, extras={**clip.extras, **drawn})


def finetuning_data(
    labelled: LabelledStore,
    held_out: WindowDataset,
    config: ModelConfig,
    settings: FinetuneSettings,
) -> TrainingData:
    """Clips to learn from, one of each training track in an epoch, and windows to validate with.

    Args:
        labelled: the store.
        held_out: the windows.
        config: of the model.
        settings: of the run.

    Raises:
        InputError: settings do not fit the labels, sizes do not fit, or a clip is damaged.
    """
    train, store = labelled.tracks(TRAIN), labelled.store
    clips = ClipDataset(
        store,
        train.tolist(),
        frames=config.frames,
        rate=settings.rate,
        transforms=_augmentation(labelled, config, settings),
        seed=settings.seed,
    )
    _ = clips[0, 0]  # what does not fit shows here, not in a loader worker
    return TrainingData(
        train=clips,
        held_out=held_out,
        stream=_stream(labelled.labels_of(train), labelled, settings),
        val_clips=len(held_out),
        notes=[
            f"split {labelled.how}; {len(clips)} tracks to train on, {len(held_out)} windows of "
            f"{len(held_out.tracks)} tracks to validate with",
            *(f"left out: {problem}" for problem in store.problems),
        ],
    )


def window_data(
    labelled: LabelledStore,
    part: str,
    config: ModelConfig,
    settings: FinetuneSettings,
    most: int | None = None,
) -> WindowDataset:
    """Windows of the tracks of a part of the split, as they are.

    Args:
        labelled: the store.
        part: train, val or test.
        config: of the model.
        settings: of the run.
        most: of a track; None for all.
    """
    return WindowDataset(
        labelled.store,
        labelled.tracks(part).tolist(),
        frames=config.frames,
        rate=settings.rate,
        stride=settings.stride,
        most=most,
        transforms=[_add_target(labelled), _crop(labelled.store, config, 0.0)],
    )


def _augmentation(
    labelled: LabelledStore, config: ModelConfig, settings: FinetuneSettings
) -> list[Transform]:
    """What is done with a training clip; labels first, as self-blending changes them."""
    size = config.image_size
    transforms: list[Transform] = [
        _add_target(labelled),
        _crop(labelled.store, config, settings.crop),
    ]
    if settings.flip:
        transforms.append(flip)
    if settings.self_blend:
        _check_binary(labelled, "self_blend")
        transforms.append(SelfBlend(settings.self_blend))
    if settings.colour:
        transforms.append(Colour(settings.colour))
    if settings.recompress:
        transforms.append(Recompress(settings.recompress))
    if settings.token_drop:
        transforms.append(DrawTokens(config.n_tokens, settings.token_drop))
    if settings.drop_path:
        transforms.append(DrawBranches(drop_rates(config.depth, settings.drop_path)))
    if settings.mixup or settings.cutmix:
        transforms.append(DrawMixing(settings.mixup, settings.cutmix, size))
    return transforms


def _add_target(labelled: LabelledStore) -> AddTarget:
    numbers = np.flatnonzero(labelled.row_of >= 0)
    labels = labelled.labels_of(numbers).astype(np.float32)
    names = (labelled.store.tracks[number].name for number in numbers)
    return AddTarget(dict(zip(names, labels, strict=True)))


def _crop(store: Store, config: ModelConfig, amount: float) -> Crop:
    margin = store.margin
    return Crop(store.size, margin, config.image_size, amount)


def _check_binary(labelled: LabelledStore, setting: str) -> None:
    target = labelled.target
    if target.kind != "binary":
        raise InputError(
            f"{option(setting)} is for real and fake: it needs a binary label, and {target.name} "
            f"is {target.kind}"
        )


def _stream(labels: Values, labelled: LabelledStore, settings: FinetuneSettings) -> KeyStream:
    """The order of the training tracks: each once, classes alike, or fakes with their reals."""
    if settings.pairs is not None:
        _check_binary(labelled, "pairs")
        return PairStream(_pairs(labelled, settings.pairs), settings.seed)
    if settings.balance != "sampling":
        return SampleStream([""] * len(labels), settings.seed)
    target = labelled.target
    if not (target.is_one_of or target.kind == "binary"):
        raise InputError(
            f"{option('balance', 'sampling')} needs one label of classes, and {target.name} is "
            f"{target.kind}; use {option('balance', 'loss')}"
        )
    return WeightedStream(class_shares(labels), settings.seed)


def _pairs(labelled: LabelledStore, column: str) -> list[Pair]:
    """Positions among the training tracks: each fake, and the real one that it was made of."""
    tracks = labelled.tracks(TRAIN)
    rows = [labelled.rows[i] for i in labelled.row_of[tracks]]
    videos = [str(row.video) for row in rows]
    starts = [labelled.store.tracks[number].start_s for number in tracks]
    fakes = (labelled.labels_of(tracks)[:, 0] == 1).tolist()
    if column == "group":
        return pairs_by_group(videos, [row.group for row in rows], fakes, starts)[0]
    check_columns([column], rows)
    originals = [row.labels[column] if fake else "" for row, fake in zip(rows, fakes, strict=True)]
    return pairs_by_original(videos, originals, starts)[0]


def class_shares(labels: Values) -> Values:
    """(N,) weights with which every class of labels (N, 1) is drawn equally often."""
    _, classes, counts = np.unique(labels[:, 0], return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[classes])


def faces_of_windows(labelled: LabelledStore, windows: WindowDataset) -> Indices:
    """(n,) a number for the face that each window shows, the same in every part of the split."""
    tracks = labelled.store.tracks
    numbers = {face: i for i, face in enumerate(dict.fromkeys(track.face for track in tracks))}
    return np.array([numbers[tracks[number].face] for number, _ in windows.windows])


def rows_of_windows(labelled: LabelledStore, windows: WindowDataset) -> Indices:
    """(n,) the position of the row that each window is of."""
    return labelled.row_of[[number for number, _ in windows.windows]]
