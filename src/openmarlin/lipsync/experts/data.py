"""Stretches of talks as experts learn from them, and whole clips to judge them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.dataset import Key, Sample, SampleStream, TrainingData
from openmarlin.errors import InputError
from openmarlin.lipsync.experts.augment import augment_mel, augment_mouths, augment_points
from openmarlin.lipsync.experts.judge import is_judged
from openmarlin.lipsync.experts.mouth_view import VIEW
from openmarlin.lipsync.experts.network import SOUND_SKIP, WINDOW, sound_columns
from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.lipsync.experts.talks import MIN_TICKS, Talks
from openmarlin.lipsync.store_tracks import split_store_tracks

Floats = NDArray[np.float32]

_JUDGED_TICKS = 200
"""Eight seconds of a held-out clip are enough."""

_SPEED = 0.1  # talks are played faster or slower by so much


class TalkDataset(Dataset[Sample]):
    """Stretches of talks.

    A sample: `points` (L, 49, 2) float32, `mouths` (L, 48, 96) uint8 where they are looked at,
    `mel` (80, columns) float32, `windows` how many there are before the padding, `id`.

    Args:
        talks: to take from.
        indices: of the talks.
        ticks: L.
        mouths: pictures too.
        seed: of all chance; None for held-out clips, from their first tick and as they are.
    """

    def __init__(
        self, talks: Talks, indices: Sequence[int], ticks: int, *, mouths: bool, seed: int | None
    ) -> None:
        self.talks, self.indices = talks, list(indices)
        self.ticks, self.mouths, self.seed = ticks, mouths, seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Sample:
        index = self.indices[key[1] % len(self.indices)]
        views, mel = self.talks.views(index), self.talks.mel(index)
        points, mouths = views["points"], views["mouth"]
        first, rng = 0, None
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, *key])
            points, mouths, mel = play_at(float(rng.uniform(1 - _SPEED, 1 + _SPEED)), views, mel)
            first = int(rng.integers(max(1, len(points) - self.ticks + 1)))
        stop = min(first + self.ticks, len(points))
        windows = max(1, stop - first - WINDOW + 1)
        mel = mel[:, 4 * first + SOUND_SKIP :][:, : sound_columns(windows)]
        points = points[first:stop]
        mouths = mouths[first:stop]
        if rng is not None:
            points, mel = augment_points(points, rng), augment_mel(mel, rng)
        sample: dict[str, Any] = {
            "points": _padded(points, self.ticks),
            "mel": _padded(mel.T, sound_columns(self.ticks - WINDOW + 1)).mT.contiguous(),
            "windows": torch.tensor(windows),
            "id": self.talks.track(index).name,
        }
        if self.mouths:
            mouths = mouths if rng is None else augment_mouths(mouths, rng)
            sample["mouths"] = _padded(mouths, self.ticks)
        return sample


def play_at(
    speed: float, views: NDArray[np.void], mel: Floats
) -> tuple[Floats, NDArray[np.uint8], Floats]:
    """Points, mouths and mel of a talk that is played faster or slower."""
    n_ticks = max(MIN_TICKS, int(len(views) / speed))
    times = np.minimum(np.arange(n_ticks) * speed, len(views) - 1)
    columns = np.minimum(np.arange(4 * n_ticks + 1) * speed, mel.shape[1] - 1)
    points = _between(views["points"], times)
    return points, views["mouth"][np.round(times).astype(int)], _between(mel.T, columns).T


def _between(rows: Floats, places: NDArray[np.float64]) -> Floats:
    """Rows at places between them."""
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(rows) - 1)
    part = (places - before).reshape(-1, *([1] * (rows.ndim - 1)))
    return np.asarray(rows[before] * (1 - part) + rows[after] * part, np.float32)


def _padded(rows: NDArray[Any], length: int) -> torch.Tensor:
    result = np.zeros((length, *rows.shape[1:]), rows.dtype)
    result[: min(length, len(rows))] = rows[:length]
    return torch.from_numpy(result)


def expert_data(talks: Talks, settings: ExpertSettings) -> TrainingData:
    """Stretches to learn from, and held-out clips to judge by.

    Raises:
        InputError: no clip to learn from, or none to judge by.
    """
    train, held_out = split_talks(talks, settings.val_share)
    judged = [index for index in held_out if is_judgeable(talks, index)]
    if not train or not judged:
        lacks = "no clip to learn from" if not train else "no held-out clip to judge by"
        raise InputError(f"{talks.store.path}: {lacks}; see docs/lipsync.md for what is judged")
    mouths = settings.kind != "points"
    # Long talks come several times, each time another stretch.
    repeated = [i for i in train for _ in range(max(1, talks.n_ticks[i] // settings.ticks))]
    groups = [talks.track(index).group for index in repeated]
    return TrainingData(
        train=TalkDataset(talks, repeated, settings.ticks, mouths=mouths, seed=settings.seed),
        held_out=TalkDataset(talks, judged, _JUDGED_TICKS, mouths=mouths, seed=None),
        stream=SampleStream(groups, settings.seed, settings.per_group),
        val_clips=len(judged),
        notes=[
            f"{len(train)} talks of {len(set(groups))} groups to learn from, "
            f"{len(judged)} of {len(held_out)} held out to judge by"
        ],
    )


def split_talks(talks: Talks, share: float) -> tuple[list[int], list[int]]:
    """Talks to learn from, and those held out, see `split_store_tracks`."""
    places = {number: index for index, number in enumerate(talks.numbers)}
    train, held_out = split_store_tracks(talks.store, talks.numbers, share)
    return [places[number] for number in train], [places[number] for number in held_out]


def is_judgeable(talks: Talks, index: int) -> bool:
    """Whether a talk is one to judge by (`openmarlin.lipsync.experts.judge`)."""
    views = talks.views(index)
    assert views.dtype == VIEW
    return is_judged(views["points"], talks.mel(index), talks.track(index).seen)
