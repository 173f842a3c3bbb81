"""The tight box of a face, which published experts' crops are laid around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mesh_box(points: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Centre x, centre y, width and height of the box around mesh points (N, 2+), at least 1 px.

    Published experts were trained with boxes of the detector S3FD, from the brow or forehead to
    the chin; the box of the mesh stands in for them.
    """
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    (cx, cy), (width, height) = (low + high) / 2, np.maximum(high - low, 1)
    return float(cx), float(cy), float(width), float(height)
