"""Numbers behind the pictures: the plane of largest variance, and how alike faces are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

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
    standard = StandardScaler().fit_transform(features.astype(np.float64))
    if min(standard.shape) < 2 or np.ptp(standard, axis=0).max() <= 1e-12:
        return None
    # By the covariance: D x D stays small however many windows there are.
    pca = PCA(2, svd_solver="covariance_eigh").fit(standard)
    axes = pca.components_
    signs = np.sign(axes[[0, 1], np.abs(axes).argmax(axis=1)])
    first, second = pca.explained_variance_ratio_.tolist()
    return Plane(pca.transform(standard) * signs, (first, second))


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
    return np.asarray(np.clip(cosine_similarity(means), -1.0, 1.0))
