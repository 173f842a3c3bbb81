"""How far a mouth is open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.mesh import EYE_CORNERS, LOWER_LIP, UPPER_LIP


def mouth_opening(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """The distance of the lips over that of the outer corners of the eyes.

    Both are measured in space, so that a turned head counts as one that is not.

    Args:
        points: (N, 478, 3) in one unit, or (N, 478, 2) of faces that are not turned.

    Returns:
        (N,); 0 where the lips touch.
    """
    lips = np.linalg.norm(points[:, UPPER_LIP] - points[:, LOWER_LIP], axis=1)
    left, right = EYE_CORNERS
    eyes = np.linalg.norm(points[:, left] - points[:, right], axis=1)
    return np.asarray(lips / np.maximum(eyes, 1e-6), np.float32)
