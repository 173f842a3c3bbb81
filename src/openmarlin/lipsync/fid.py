"""The Fréchet distance between two sets of pictures, by what a network makes of them.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2)

of means and covariances of features (Heusel et al., "GANs trained by a two time-scale update rule
converge to a local Nash equilibrium", 2017), in double precision. It falls with the number of
pictures: compare only sets of about the same number, by features of the same network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def frechet_distance(first: Floats, second: Floats) -> float:
    """The distance of two sets of features (N, D) and (M, D).

    Returns:
        At least 0; NaN where a set has fewer than two.
    """
    if min(len(first), len(second)) < 2:
        return float("nan")
    (mean1, spread1), (mean2, spread2) = _moments(first), _moments(second)
    root = _root(spread1)
    # The eigenvalues of S1 S2 are those of a symmetric matrix, which has no complex ones.
    values = np.linalg.eigvalsh(root @ spread2 @ root)
    cross = np.sqrt(np.maximum(values, 0)).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(spread1) + np.trace(spread2) - 2 * cross
    return max(0.0, float(distance))


def _moments(features: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    exact = features.astype(np.float64)
    return exact.mean(axis=0), np.atleast_2d(np.cov(exact, rowvar=False))


def _root(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(spread)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
