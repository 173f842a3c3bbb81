"""The square around a face, and the one affine that turns it into model input.

Coordinates are continuous source pixels: pixel i covers [i, i + 1), so the picture spans
[0, width] x [0, height] whatever its size. Angles are radians, clockwise on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.video.picture import Image

_SIDE = 1.135  # times the longer side of the mesh box
_LIFT = 0.068  # of the mesh box's height, upwards
_CORNERS = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))


def marlin_square(box: NDArray[np.floating]) -> tuple[float, float, float]:
    """Frame a face as MARLIN's training crops did, from the bounding box of its mesh.

    MARLIN saw squares around RetinaFace boxes (forehead to chin). Measured against the box of the
    478 mesh points on 49 frames of 5 videos, that square has 1.135 (sd 0.06) times its longer
    side and lies 0.068 (sd 0.025) of its height above its centre.

    Args:
        box: x1, y1, x2, y2 of the mesh points, source pixels.

    Returns:
        Centre x, centre y and side of the square, source pixels.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = x2 - x1, y2 - y1
    return (x1 + x2) / 2, (y1 + y2) / 2 - _LIFT * height, _SIDE * max(width, height)


def to_crop(
    points: NDArray[np.floating], cx: float, cy: float, side: float, angle: float, size: int
) -> NDArray[np.float32]:
    """Map source points (N, 2+) to crop pixels (N, 2)."""
    cos, sin = math.cos(angle) * size / side, math.sin(angle) * size / side
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.asarray((points[:, :2] - (cx, cy)) @ turn + size / 2, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Patch:
    """What is kept of a frame until the final square is known: a rectangle, perhaps shrunk.

    Attributes:
        pixels: uint8 RGB (h, w, 3); may be empty when the rectangle lies outside the picture.
        left, top: the rectangle's corner in the frame, source pixels.
        shrink: source pixels per patch pixel.
    """

    pixels: Image
    left: int
    top: int
    shrink: int

    @classmethod
    def cut(cls, image: Image, rect: tuple[float, float, float, float], shrink: int) -> Patch:
        """Copy the rectangle x1, y1, x2, y2 (clipped to the picture), area-averaged by `shrink`.

        The averaging blocks lie on a grid that is fixed in the frame, so a rectangle that jitters
        does not make the pixels shimmer.
        """
        height, width = image.shape[:2]
        left, top = (max(0, math.floor(v / shrink) * shrink) for v in rect[:2])
        right = max(left, min(width, math.ceil(rect[2] / shrink) * shrink))
        bottom = max(top, min(height, math.ceil(rect[3] / shrink) * shrink))
        pixels = image[top:bottom, left:right]
        if shrink == 1 or pixels.size == 0:
            return cls(pixels.copy(), left, top, shrink)
        rows, columns = -(-pixels.shape[0] // shrink), -(-pixels.shape[1] // shrink)
        margins = (0, rows * shrink - pixels.shape[0], 0, columns * shrink - pixels.shape[1])
        # Zeros up to whole blocks: the world beyond the picture.
        blocks = cv2.copyMakeBorder(pixels, *margins, borderType=cv2.BORDER_CONSTANT)
        small = cv2.resize(blocks, (columns, rows), interpolation=cv2.INTER_AREA)
        return cls(np.asarray(small, dtype=np.uint8), left, top, shrink)

    def crop(self, cx: float, cy: float, side: float, angle: float = 0.0, size: int = 224) -> Image:
        """Sample the square with one bilinear affine; zeros beyond the patch."""
        if self.pixels.size == 0:
            return np.zeros((size, size, 3), np.uint8)
        step = side / size / self.shrink
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        # Pixel centres lie at +0.5 on both sides of the map.
        centre = (np.array([cx - self.left, cy - self.top])) / self.shrink
        shift = centre - 0.5 + step * turn @ np.full(2, 0.5 - size / 2)
        matrix = np.column_stack([step * turn, shift])
        out = cv2.warpAffine(
            self.pixels,
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        return np.asarray(out, dtype=np.uint8)


def shrink_for(side: float, size: int) -> int:
    """The whole factor to average by before sampling `side` source pixels into `size`.

    Bilinear sampling alone reads every source pixel up to a shrinking of 2.
    """
    return max(1, int(side / size)) if side > 2 * size else 1


def crop(
    image: Image, cx: float, cy: float, side: float, angle: float = 0.0, size: int = 224
) -> Image:
    """Cut a square out of a picture: one affine, bilinear, zero padded.

    Args:
        image: uint8 RGB (H, W, 3).
        cx, cy: the square's centre, source pixels.
        side: its side, source pixels.
        angle: its rotation; the face's roll turns the face upright.
        size: side of the result, pixels.

    Returns:
        uint8 RGB (size, size, 3). Shrinking by more than 2 averages areas first (no aliasing).
    """
    offsets = [
        (math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y)
        for x, y in _CORNERS
    ]
    shrink = shrink_for(side, size)
    reach = side * max(max(abs(x), abs(y)) for x, y in offsets) + 2 * shrink
    rect = (cx - reach, cy - reach, cx + reach, cy + reach)
    return Patch.cut(image, rect, shrink).crop(cx, cy, side, angle, size)
