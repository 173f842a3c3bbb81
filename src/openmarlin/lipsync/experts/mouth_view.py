"""What own experts see of a face: its mouth, in a frame of the head's own.

The frame has its origin between the outer corners of the eyes, its x axis through them, and their
distance as the unit: it moves, turns and grows with the head, and not with the mouth.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.face.mesh import EYE_CORNERS, INNER_LIPS, OUTER_LIPS

Floats = NDArray[np.float32]

_JAW = (150, 149, 176, 148, 152, 377, 400, 378, 379)
POINTS = (*OUTER_LIPS, *INNER_LIPS, *_JAW)
"""Points of the mesh: outer lip, inner lip, jaw."""

# The twin of each on the other side: rings run clockwise from a corner, the jaw from side to side.
_RING = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 19, 18, 17, 16, 15, 14, 13, 12, 11]
TWINS = np.array([*_RING, *(20 + i for i in _RING), *range(48, 39, -1)])
"""Position in `POINTS` of the point that stands there in a mirrored face."""

HEIGHT_PX, WIDTH_PX = 48, 96
_CENTRE_Y, _WIDTH = 1.05, 1.3  # of the picture of a mouth, in distances of the eyes

VIEW = np.dtype([("points", np.float32, (len(POINTS), 2)), ("mouth", np.uint8, (48, 96))])
"""A frame: points of lips and jaw, and a grey picture of the mouth."""


def mouth_view(image: NDArray[np.uint8], points: Floats) -> NDArray[np.generic]:
    """A frame as own experts see it, a scalar of type `VIEW`.

    Args:
        image: uint8 RGB (S, S, 3).
        points: (478, 2) mesh points in it.
    """
    view = np.zeros((), VIEW)
    view["points"] = lip_points(points)
    view["mouth"] = _picture(image, points)
    return view


def lip_points(points: Floats) -> Floats:
    """Lips and jaw (49, 2) of a mesh in the head's own frame."""
    origin, axis = _frame(points)
    x, y = (points[list(POINTS)] - origin).T
    unit = axis @ axis
    places = np.stack([x * axis[0] + y * axis[1], y * axis[0] - x * axis[1]], axis=1)
    return np.asarray(places / unit, np.float32)


def _frame(points: Floats) -> tuple[Floats, Floats]:
    left, right = points[EYE_CORNERS[0], :2], points[EYE_CORNERS[1], :2]
    axis = right - left
    if axis @ axis < 1:  # a face in profile: the eyes hide each other
        axis = np.array([1.0, 0.0], np.float32)
    return np.asarray((left + right) / 2, np.float32), axis


def mouth_matrix(points: Floats) -> Floats:
    """Pixels of the picture of a mouth -> pixels of the image with these mesh points, (2, 3)."""
    origin, axis = _frame(points)
    down = np.array([-axis[1], axis[0]])
    pixel = _WIDTH / WIDTH_PX
    half = ((WIDTH_PX - 1) * axis + (HEIGHT_PX - 1) * down) / 2
    corner = origin + _CENTRE_Y * down - pixel * half
    return np.column_stack([pixel * axis, pixel * down, corner]).astype(np.float32)


def _picture(image: NDArray[np.uint8], points: Floats) -> NDArray[np.uint8]:
    size, flags = (WIDTH_PX, HEIGHT_PX), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(image, mouth_matrix(points), size, flags=flags)
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)
