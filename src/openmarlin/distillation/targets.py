"""What a student predicts: measurements of frames, centred, scaled and cut off.

Embeddings and meshes are whitened to their first principal components, probabilities become
logarithms, all else is centred and scaled, over the frames that are learnt from. Every face counts
as much as the root of how often it is seen. A mirrored picture has targets of its own: left and
right are exchanged in blendshapes, pose and mesh, the rest is as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from openmarlin.distillation.measuring import BLENDSHAPES, MESH, POSE, Measurements
from openmarlin.distillation.teachers import PROBABILITIES
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.face.mesh import MIRRORED

Floats = NDArray[np.float32]

LIMIT = 4.0
"""Targets are cut off this many deviations from their mean."""

MOVING = (BLENDSHAPES, POSE)
"""Whose spread over a clip is a target, too."""

IN_TIME = (BLENDSHAPES, POSE, MESH)
"""What the tokens of a time step predict; the clip's feature predicts the mean of everything."""

_COMPONENTS = {MESH: 24}
_EMBEDDING_COMPONENTS = 64
_LEAST_PROBABILITY = 1e-3
_SPREAD_STEPS = 8
_MIRRORED_SHAPES = np.array(
    [
        BLENDSHAPE_NAMES.index(
            name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
        )
        for name in BLENDSHAPE_NAMES
    ]
)
_MIRRORED_POSE = np.array([-1, 1, -1], np.float32)
"""Yaw and roll change their sign, pitch does not."""


class Columns(NamedTuple):
    """A kind of targets: its name and where it stands among all of a frame's."""

    name: str
    where: slice


@dataclass(frozen=True)
class Targets:
    """Of all measured frames of a store.

    Attributes:
        plain: float32 (frames, F), NaN where no face was found.
        mirrored: the same of the mirrored pictures.
        starts: (tracks + 1,), where each track's frames begin.
        columns: kinds of targets, in order.
        moments: mean and scale (2, n) of kinds that are not whitened: target = (value - mean) *
            scale.
        spread: mean and deviation (2, S) of the spread of the moving columns over a clip.
    """

    plain: Floats
    mirrored: Floats
    starts: NDArray[np.int64]
    columns: tuple[Columns, ...]
    moments: dict[str, Floats]
    spread: Floats

    def __getitem__(self, name: str) -> slice:
        """Where a kind stands."""
        return next(columns.where for columns in self.columns if columns.name == name)

    @property
    def moving(self) -> NDArray[np.int64]:
        """Numbers of the columns whose spread is a target."""
        return np.concatenate([np.r_[self[name]] for name in MOVING])

    @property
    def in_time(self) -> NDArray[np.int64]:
        """Numbers of the columns that a time step predicts."""
        return np.concatenate([np.r_[self[name]] for name in IN_TIME])

    def of_frames(
        self, track: int, frames: NDArray[np.int64], *, mirrored: bool, turned: float
    ) -> Floats:
        """Targets (n, F) of measured frames of a track.

        Args:
            track: its number in the store.
            frames: which of its measured frames, 0 and up.
            mirrored: the picture is mirrored.
            turned: and then turned clockwise, radians.
        """
        source = self.mirrored if mirrored else self.plain
        values: Floats = source[self.starts[track] + frames].copy()
        if turned:
            mean, scale = self.moments[POSE]
            where = self[POSE]
            radians = turn_pose(values[:, where] / scale + mean, turned)
            values[:, where] = _cut((radians - mean) * scale)
        return values

    def spread_of(self, values: Floats) -> Floats:
        """How far the moving columns spread over frames (n, F) of a clip: (S,), scaled."""
        mean, deviation = self.spread
        spread = values[:, self.moving].std(axis=0)
        return _cut(np.asarray((spread - mean) / deviation, np.float32))


def make_targets(
    measured: Measurements, learnt: NDArray[np.int64], groups: NDArray[np.int64]
) -> Targets:
    """Targets of all frames, scaled by those of the tracks that are learnt from.

    Args:
        measured: of a store.
        learnt: numbers of the tracks that are learnt from.
        groups: (tracks,) number of the group of faces of each track.
    """
    lengths = np.diff(measured.starts)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    weights = frame_weights(groups[owner], np.isin(owner, learnt))
    plain, mirrored, columns = [], [], []
    moments: dict[str, Floats] = {}
    first = 0
    for name, values in measured.values.items():
        twin = _mirror(name, values)
        if name == MESH:
            values, twin = _shapes(values, twin, weights)
        if name in PROBABILITIES:
            values, twin = (np.log(np.maximum(v, _LEAST_PROBABILITY)) for v in (values, twin))
        if name in (*MOVING, *PROBABILITIES):
            values, twin, moments[name] = _scaled(values, twin, weights)
        else:
            values, twin = _whitened(values, twin, weights, _COMPONENTS.get(name))
        plain.append(values)
        mirrored.append(twin)
        columns.append(Columns(name, slice(first, first + values.shape[1])))
        first += values.shape[1]
    targets = Targets(
        _cut(np.concatenate(plain, axis=1, dtype=np.float32)),
        _cut(np.concatenate(mirrored, axis=1, dtype=np.float32)),
        measured.starts,
        tuple(columns),
        moments,
        spread=np.zeros((2, 0), np.float32),
    )
    return replace(targets, spread=_spread_moments(targets, learnt))


def turn_pose(pose: Floats, angle: float) -> Floats:
    """Yaw, pitch, roll (n, 3) of heads in a picture that is turned clockwise, all radians."""
    yaw, pitch, roll = pose.T
    right, down, front = np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)
    cos, sin = np.cos(angle), np.sin(angle)
    right, down = cos * right - sin * down, sin * right + cos * down
    turned = (np.arctan2(right, front), -np.arcsin(np.clip(down, -1, 1)), roll + angle)
    return np.stack(turned, axis=1).astype(np.float32)


def frame_weights(groups: NDArray[np.int64], learnt: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of frames: one over the root of how many there are of their face, 0 for others."""
    counts = np.bincount(groups[learnt], minlength=groups.max() + 1)
    return np.where(learnt, 1 / np.sqrt(np.maximum(counts[groups], 1)), 0.0)


def _mirror(name: str, values: Floats) -> Floats:
    """What would be measured in the mirrored picture."""
    if name == MESH:
        return np.asarray(values[:, MIRRORED] * np.array([-1, 1], np.float32), np.float32)
    if name == BLENDSHAPES:
        return values[:, _MIRRORED_SHAPES]
    return values * _MIRRORED_POSE if name == POSE else values


def _shapes(meshes: Floats, twins: Floats, weights: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Meshes without place, size and turn, flat: what is left is form, expression and pose."""
    seen = np.isfinite(meshes).all(axis=(1, 2)) & (weights > 0)
    mean = np.average(meshes[seen] + twins[seen], axis=0, weights=weights[seen])
    centre = mean - mean.mean(axis=0)
    centre /= np.linalg.norm(centre)
    first, second = (_aligned(each, centre).reshape(len(each), -1) for each in (meshes, twins))
    return first, second


def _aligned(meshes: Floats, mean: NDArray[np.float64]) -> Floats:
    """Turned and scaled onto the mean by the nearest similarity (planar Procrustes)."""
    places = (meshes - meshes.mean(axis=1, keepdims=True)).astype(np.float64)
    z = places[..., 0] + 1j * places[..., 1]
    m = mean[:, 0] + 1j * mean[:, 1]
    with np.errstate(invalid="ignore"):  # frames without a face stay NaN
        z = z * ((np.conj(z) @ m) / (np.abs(z) ** 2).sum(axis=1))[:, None]
    return np.stack([z.real, z.imag], axis=-1).astype(np.float32)


def _scaled(
    values: Floats, twins: Floats, weights: NDArray[np.float64]
) -> tuple[Floats, Floats, Floats]:
    """Centred and scaled, column by column; what hardly varies stays small."""
    seen = np.isfinite(values).all(axis=1) & (weights > 0)
    centre = np.average(values[seen], axis=0, weights=weights[seen])
    variance = np.average((values[seen] - centre) ** 2, axis=0, weights=weights[seen])
    mean, scale = moments = np.stack([centre, 1 / np.sqrt(variance + 1e-6)]).astype(np.float32)
    return (values - mean) * scale, (twins - mean) * scale, moments


def _whitened(
    values: Floats, twins: Floats, weights: NDArray[np.float64], components: int | None
) -> tuple[Floats, Floats]:
    """Principal components, of deviation 1."""
    seen = np.flatnonzero(np.isfinite(values).all(axis=1) & (weights > 0))
    chances = weights[seen] / weights[seen].sum()
    rows = np.random.default_rng(0).choice(seen, min(len(seen), 20_000), p=chances)
    count = min(components or _EMBEDDING_COMPONENTS, len(rows), values.shape[1])
    pca = PCA(count, whiten=True, random_state=0).fit(values[rows])
    first, second = (_transform(pca, each) for each in (values, twins))
    return first, second


def _transform(pca: PCA, values: Floats) -> Floats:
    found = np.full((len(values), pca.n_components_), np.nan, np.float32)
    seen = np.isfinite(values).all(axis=1)
    found[seen] = pca.transform(values[seen])
    return found


def _spread_moments(targets: Targets, learnt: NDArray[np.int64]) -> Floats:
    """Mean and deviation of the spread over clips of tracks that are learnt from."""
    spreads = []
    for track in learnt:
        rows = targets.plain[targets.starts[track] : targets.starts[track + 1], targets.moving]
        starts = range(0, len(rows) - _SPREAD_STEPS + 1, _SPREAD_STEPS)
        spreads += [rows[start : start + _SPREAD_STEPS].std(axis=0) for start in starts]
    found = np.array([spread for spread in spreads if np.isfinite(spread).all()])
    if not len(found):
        return np.stack([np.zeros(len(targets.moving)), np.ones(len(targets.moving))]).astype(
            np.float32
        )
    return np.stack([found.mean(axis=0), found.std(axis=0) + 1e-3]).astype(np.float32)


def _cut(values: Floats) -> Floats:
    return np.clip(values, -LIMIT, LIMIT)
