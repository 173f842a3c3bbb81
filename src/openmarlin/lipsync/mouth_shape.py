"""How far a mouth is open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LIPS = (13, 14)  # the inner edges, upper and lower
_EYES = (33, 263)  # the outer corners


def mouth_opening(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The distance of the lips over that of the outer corners of the eyes.

    Both are measured in space, so that a turned head counts as one that is not.

    Args:
        points: (N, 478, 3) in one unit, or (N, 478, 2) of faces that are not turned.

    Returns:
        (N,); 0 where the lips touch.
    """
    lips = np.linalg.norm(points[:, _LIPS[0]] - points[:, _LIPS[1]], axis=1)
    eyes = np.linalg.norm(points[:, _EYES[0]] - points[:, _EYES[1]], axis=1)
    return np.asarray(lips / np.maximum(eyes, 1e-6), np.float64)
