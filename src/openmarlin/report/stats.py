"""Numbers behind the pictures: the plane of largest variance, and how alike faces are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """Windows on the two directions of largest variance.

    Attributes:
        xy: float64 (W, 2).
        explained: share of the variance on each axis, two numbers in [0, 1].
    """

    xy: Floats
    explained: tuple[float, float]


def principal_plane(features: npt.NDArray[np.floating]) -> Plane | None:
    """Principal components of standardised features (W, D); None where there is nothing to see.

    Each feature is brought to mean 0 and variance 1 over the windows (a constant one stays 0), so
    that no feature counts more for its scale. The sign of an axis is fixed by its largest weight.
    """
    if len(features) < 3:
        return None
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    standard = centred / np.where(spread > 1e-12, spread, 1.0)
    # The correlation matrix is symmetric: its singular vectors are the components, and D x D stays
    # small however many windows there are.
    axes, power, _ = np.linalg.svd(standard.T @ standard / len(standard), hermitian=True)
    total = float(power.sum())
    if total <= 1e-12 or axes.shape[1] < 2:
        return None
    top = axes[:, :2]
    top = top * np.where(top[np.abs(top).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    return Plane(standard @ top, (float(power[0]) / total, float(power[1]) / total))


def face_similarity(
    features: npt.NDArray[np.floating], groups: Sequence[npt.NDArray[np.intp]]
) -> Floats:
    """Cosine between faces (F, F) in [-1, 1]: each face is the mean of its windows, measured from
    the mean of all faces, because raw features share a large common part.

    Args:
        features: (W, D), finite.
        groups: row indices of each of the F faces, none empty.
    """
    means = np.stack([features[rows].mean(axis=0, dtype=np.float64) for rows in groups])
    means -= means.mean(axis=0)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    unit = means / np.where(length > 1e-12, length, 1.0)
    return np.clip(unit @ unit.T, -1.0, 1.0)
