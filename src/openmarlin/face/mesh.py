"""The mesh of a face, without the net that finds it: how many points, and gaps in time.

The points are MediaPipe's: 468 on the face, whose order its canonical face model defines, and 5 for
each iris.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_POINTS = 478
"""Points of a mesh."""

# fmt: off
FOREHEAD = (10, 54, 67, 68, 69, 103, 104, 108, 109, 151, 284, 297, 298, 299, 332, 333, 337, 338)
"""Points above the brows in a frontal face; those of one side mirror those of the other."""
# fmt: on


def fill_gaps(meshes: list[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """Fill the gaps of (T) meshes by straight lines in time; None if there is no mesh at all."""
    seen = [i for i, mesh in enumerate(meshes) if mesh is not None]
    if not seen:
        return None
    values = np.stack([mesh for mesh in meshes if mesh is not None])
    place = np.interp(np.arange(len(meshes)), seen, np.arange(len(seen)))
    before = np.floor(place).astype(int)
    after, part = np.ceil(place).astype(int), (place - before)[:, None, None]
    return np.asarray(values[before] + part * (values[after] - values[before]), np.float32)
