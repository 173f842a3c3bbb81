"""The shape of a mouth as some numbers that neither the head's pose nor the person changes.

A mesh is brought into the plane of its own face: the affine camera of the face's still points
(`face_cameras`) is undone, so what is left moves only when the mouth does. From that the person's
neutral shape is taken off, and the rest is written in a fixed linear basis:

    pixels = P (neutral + shape @ components) + p z + t,    camera = [P | p | t]

with z the depth of each point. The basis is the principal components of a training store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.mesh import INNER_LIPS, LOWER_LIP, OUTER_LIPS, UPPER_LIP

Floats = NDArray[np.float32]

# fmt: off
JAW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)
CHIN = (18, 200, 199, 175)
# fmt: on
MOUTH = (*OUTER_LIPS, *INNER_LIPS, *JAW, *CHIN)
"""The M points whose places are the shape: rings of the lips, the jaw from side to side, chin."""

OUTER, INNER = slice(0, 20), slice(20, 40)
JAW_LINE = slice(40, 53)
"""Where the rings lie among the M points."""

_EYE_CM = 2 * 4.4459  # apart in the canonical face
_LIPS_COUNT, _JAW_COUNTS = 1.0, 0.4
_MOST_FRAMES = 40_000


def unproject(points: NDArray[np.floating], cameras: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mouth points (N, M, 2) in pixels -> in the plane of the face, cm, as if none had depth."""
    inverse = np.linalg.inv(cameras[:, :, :2])
    return np.asarray(np.einsum("nij,nmj->nmi", inverse, points - cameras[:, None, :, 3]))


def lips_apart(plane: Floats) -> float:
    """The opening of a mouth (M, 2) in the plane of its face, in distances of the eyes."""
    upper, lower = MOUTH.index(UPPER_LIP), MOUTH.index(LOWER_LIP)
    return float(plane[lower, 1] - plane[upper, 1]) / _EYE_CM


@dataclass(frozen=True)
class ShapeBasis:
    """The linear basis of mouth shapes.

    Attributes:
        components: (K, M, 2) float32, cm in the plane of the face for a number of 1.
        spread: (K,) float32, the standard deviations of the numbers, falling.
        depth: (M,) float32, cm behind the origin of the canonical face.
    """

    components: Floats
    spread: Floats
    depth: Floats

    def __len__(self) -> int:
        return len(self.components)

    @property
    def opening(self) -> Floats:
        """(K,): by how much each number opens the lips, in distances of the eyes."""
        upper, lower = MOUTH.index(UPPER_LIP), MOUTH.index(LOWER_LIP)
        apart = self.components[:, lower, 1] - self.components[:, upper, 1]
        return np.asarray(apart / _EYE_CM, np.float32)

    def plane(self, points: NDArray[np.floating], cameras: NDArray[np.float64]) -> Floats:
        """Mouth points (N, M, 2) in pixels -> in the plane of the face, cm."""
        tilt = np.linalg.solve(cameras[:, :, :2], cameras[:, :, 2:3])[:, None, :, 0]
        flat = unproject(points, cameras) - tilt * self.depth[None, :, None]
        return np.asarray(flat, np.float32)

    def picture(self, plane: Floats, cameras: NDArray[np.float64]) -> Floats:
        """Mouth points (N, M, 2) in the plane of the face -> in pixels."""
        flat = np.einsum("nij,nmj->nmi", cameras[:, :, :2], plane)
        behind = cameras[:, None, :, 2] * self.depth[None, :, None]
        return np.asarray(flat + behind + cameras[:, None, :, 3], np.float32)

    def encode(self, deviation: Floats) -> Floats:
        """Deviations (N, M, 2) from the neutral shape -> numbers (N, K)."""
        weights = _weights()[:, None]
        rows = (self.components * weights).reshape(len(self), -1).astype(np.float64)
        flat = (deviation * weights).reshape(len(deviation), -1)
        return np.asarray(np.linalg.lstsq(rows.T, flat.T, rcond=None)[0].T, np.float32)

    def decode(self, shapes: Floats) -> Floats:
        """Numbers (N, K) -> deviations (N, M, 2) from the neutral shape."""
        return np.asarray(np.einsum("nk,kmi->nmi", shapes, self.components), np.float32)

    def opened(self, neutral: Floats, opening: float) -> Floats:
        """The likeliest shape (K,) in which the lips of a face are so far apart.

        Args:
            neutral: (M, 2) of the face.
            opening: see `opening`.
        """
        change = opening - lips_apart(neutral)
        direction = self.spread**2 * self.opening
        return np.asarray(change * direction / (self.opening @ direction), np.float32)

    def closed(self, neutral: Floats) -> Floats:
        """The likeliest shape (K,) in which the lips of a face (M, 2) are closed."""
        return self.opened(neutral, min(0.0, lips_apart(neutral)))


def fit_basis(tracks: Sequence[tuple[Floats, NDArray[np.float64]]], count: int) -> ShapeBasis:
    """Learn a basis.

    Args:
        tracks: of each its mouth points (N, M, 2) in pixels and cameras (N, 2, 4).
        count: numbers of a shape.
    """
    step = max(1, sum(len(points) for points, _ in tracks) // _MOST_FRAMES)
    flats, tilts = [], []
    for points, cameras in tracks:
        flat = unproject(points[::step], cameras[::step])
        tilt = np.linalg.solve(cameras[::step, :, :2], cameras[::step, :, 2:3])[:, :, 0]
        flats.append(flat - flat.mean(axis=0))
        tilts.append(tilt - tilt.mean(axis=0))
    flat, tilt = np.concatenate(flats), np.concatenate(tilts)
    # What moves in the plane as the head turns is depth.
    depth = np.einsum("nmi,ni->m", flat, tilt) / max(1e-9, float((tilt**2).sum()))
    flat = flat - tilt[:, None] * depth[:, None]
    weights = _weights()
    rows = (flat * weights[:, None]).reshape(len(flat), -1)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    order = np.argsort(values)[::-1][:count]
    unit = np.sqrt(max(values[order[0]], 1e-12))  # the first number has a deviation of 1
    vectors = vectors[:, order] * np.sign(vectors[np.abs(vectors[:, order]).argmax(0), order])
    components = vectors.T.reshape(count, -1, 2) / weights[:, None] * unit
    spread = np.sqrt(np.maximum(values[order], 1e-12)) / unit
    return ShapeBasis(*(np.asarray(a, np.float32) for a in (components, spread, depth)))


def _weights() -> NDArray[np.float64]:
    """How much each mouth point counts in the basis."""
    lips = len(OUTER_LIPS) + len(INNER_LIPS)
    rest = len(MOUTH) - lips
    return np.array([_LIPS_COUNT] * lips + [_JAW_COUNTS] * rest)
