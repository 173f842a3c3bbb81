"""The mesh of a face, without the net that finds it: how many points, and gaps in time.

The points are MediaPipe's: 468 on the face, whose order its canonical face model defines, and 5 for
each iris.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_POINTS = 478
"""Points of a mesh."""

EYE_CORNERS = (33, 263)
"""The outer corners of the eyes, left and right in the picture."""

UPPER_LIP, LOWER_LIP = 13, 14
"""The middle of the inner edge of each lip."""

# fmt: off
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409,
              291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415,
              308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""Rings around the mouth, from the left corner in the picture over the upper lip and back."""

FOREHEAD = (10, 54, 67, 68, 69, 103, 104, 108, 109, 151, 284, 297, 298, 299, 332, 333, 337, 338)
"""Points above the brows in a frontal face; those of one side mirror those of the other."""
# fmt: on


_MIDDLE = (
    0,
    1,
    2,
    4,
    5,
    6,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    94,
    151,
    152,
    164,
    168,
    175,
    195,
    197,
    199,
    200,
)
# fmt: on
_FIRST_LEFT, _FIRST_IRIS = 248, 468  # points of the person's left half, in the order of the right


def _mirrored() -> NDArray[np.int64]:
    twins = np.arange(N_POINTS)
    right = np.setdiff1d(np.arange(_FIRST_LEFT), _MIDDLE)
    left = np.arange(_FIRST_LEFT, _FIRST_IRIS)
    twins[right], twins[left] = left, right
    twins[_FIRST_IRIS:] = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)
    return twins


MIRRORED = _mirrored()
"""(478,): the point that stands in a mirrored picture where this one's mirror image is."""


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
