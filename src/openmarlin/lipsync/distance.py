"""How far the faces of some videos are from those of real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmarlin.console import job_progress
from openmarlin.data.manifest import Row
from openmarlin.errors import VideoError
from openmarlin.files import atomic
from openmarlin.lipsync.face_features import EncoderNet, FaceNet, Floats, OnnxNet, face_features
from openmarlin.lipsync.fid import frechet_distance
from openmarlin.lipsync.scoring import steady_landmarker
from openmarlin.output import Failures

FEW_A_DIMENSION = 2
"""With fewer vectors for each of their dimensions, covariances are hardly known."""


@dataclass(frozen=True)
class FaceDistance:
    """A Fréchet distance, and what it rests on.

    Attributes:
        value: the distance; NaN where a side has fewer than two vectors.
        net: whose features they are.
        scored: vectors of the scored videos.
        real: vectors of the reference.
        dimensions: of a vector.
    """

    value: float
    net: str
    scored: int
    real: int
    dimensions: int

    @property
    def few(self) -> bool:
        """Whether there are too few vectors for the number to mean much."""
        return min(self.scored, self.real) < FEW_A_DIMENSION * self.dimensions

    def as_dict(self) -> dict[str, float | str | int | bool]:
        return {**vars(self), "few": self.few}


def open_net(path: Path | None) -> FaceNet:
    """The network that is named, or the encoder that ships.

    Raises:
        ModelError: it cannot be used.
    """
    return EncoderNet() if path is None else OnnxNet(path)


def measure_distance(
    scored: Sequence[Row],
    real: Sequence[Row],
    net: FaceNet,
    path: Path,
    failures: Failures,
    limit_s: float | None,
    *,
    progress: bool,
) -> FaceDistance:
    """The distance of two sets of videos; features of each are kept in the folder `path`.

    Args:
        failures: gets what cannot be read.
        limit_s: at most so much of each video.
        progress: show a progress bar.
    """
    sets: list[list[Floats]] = [[], []]
    with job_progress("videos") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task("distance to real faces", total=len(scored) + len(real), note="")
        for number, rows in enumerate((scored, real)):
            for row in rows:
                features = _features(row, net, path, failures, limit_s)
                sets[number] += [features] if features.size else []
                bar.update(task, advance=1)
    first, second = (np.concatenate(s) if s else np.zeros((0, 0), np.float32) for s in sets)
    name = f"{net.name}@{net.digest}" if net.digest else net.name
    width = max(first.shape[1], second.shape[1])
    return FaceDistance(frechet_distance(first, second), name, len(first), len(second), width)


def _features(
    row: Row, net: FaceNet, path: Path, failures: Failures, limit_s: float | None
) -> Floats:
    """Of one video: from an earlier sitting where the file is still the same."""
    asked = f"{row.key}{row.stamp}{net.name}{net.digest}{limit_s}"
    kept = path / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npy"
    try:
        return np.asarray(np.load(kept, allow_pickle=False), np.float32)
    except (OSError, ValueError):
        pass
    try:
        features = face_features(row, net, steady_landmarker(), limit_s=limit_s)
    except VideoError as error:
        failures.add(row.video, str(error), row.part)
        return np.zeros((0, 0), np.float32)
    with atomic(kept) as part, part.open("wb") as file:
        np.save(file, features)
    return features
