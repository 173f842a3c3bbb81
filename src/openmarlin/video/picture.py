"""One decoded picture: how it has to be turned and stretched, and its upright RGB array."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.buffer import Buffer
from numpy.typing import NDArray

from openmarlin.video.hdr import ToneMapper, curve_of

Image = NDArray[np.uint8]
"""uint8 RGB (H, W, 3)."""

MAX_PIXELS = 16384 * 8704
"""Largest picture that is read (a little over 16K); a damaged header may claim any size."""

_SQUARE_ENOUGH = 0.005
"""Pixels this close to square stay: encoders state 1281:1280 where they rounded a side."""


@dataclass(frozen=True)
class Orientation:
    """How the stored picture becomes the shown one: transpose first, then flip the axes.

    These three switches express all eight orientations that a display matrix (mp4, mov, mkv) or
    an EXIF tag can ask for.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """The orientation that a decoded frame asks for."""
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # side data of a kind that PyAV does not know hides the matrix
            return cls._of_rotation(frame.rotation)
        if not isinstance(matrix, Buffer):
            return cls()
        # 3x3 values, row by row; a column is one axis of the shown picture.
        return cls._of_matrix(*struct.unpack("=9i", bytes(matrix)))

    @classmethod
    def _of_matrix(cls, *m: int) -> Orientation:
        if abs(m[1]) + abs(m[3]) > abs(m[0]) + abs(m[4]):
            return cls(transpose=True, flip_x=m[3] < 0, flip_y=m[1] < 0)
        return cls(flip_x=m[0] < 0, flip_y=m[4] < 0)

    @classmethod
    def _of_rotation(cls, counter_clockwise: int) -> Orientation:
        angle = math.radians(counter_clockwise)
        cos, sin = round(math.cos(angle)), round(math.sin(angle))
        return cls._of_matrix(cos, -sin, 0, sin, cos, 0, 0, 0, 1)

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270, after left and right are swapped if they are."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the shown picture."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, image: Image) -> Image:
        """The picture as it is shown; contiguous."""
        if self.transpose:
            image = cv2.transpose(image)  # type: ignore[assignment]
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            image = cv2.flip(image, code)  # type: ignore[assignment]
        return np.ascontiguousarray(image)


def square_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of a stored picture once its pixels are square.

    The side that is too short grows, as in players and browsers, so that no detail is lost.

    Args:
        width, height: as stored.
        pixel_aspect: width over height of one pixel; None or 0 where it is not stated.
    """
    if not pixel_aspect or abs(pixel_aspect - 1) < _SQUARE_ENOUGH:
        return width, height
    stretched = (
        (round(width * pixel_aspect), height)
        if pixel_aspect > 1
        else (width, round(height / pixel_aspect))
    )
    return stretched if stretched[0] * stretched[1] <= MAX_PIXELS else (width, height)


def to_rgb(
    frame: av.VideoFrame, width: int, height: int, orientation: Orientation, tones: ToneMapper
) -> Image:
    """Convert a decoded frame, scaled to width x height as stored, into an upright RGB array.

    swscale follows the matrix and the range that the frame is tagged with (BT.601 and limited
    range where it is not, as FFmpeg and OpenCV do). HDR is tone-mapped. What is transparent becomes
    black, the colour that crops are padded with.
    """
    curve = curve_of(frame)
    if curve is not None:
        frame = tones(frame, curve)
    alpha = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
    stretched = (width, height) != (frame.width, frame.height)
    # One thread: several readers share the cores, and the conversion takes about a millisecond.
    converted = frame.reformat(
        width,
        height,
        "rgba" if alpha else "rgb24",
        interpolation="BICUBIC" if stretched else None,
        threads=1,
    )
    image = converted.to_ndarray().view(np.uint8)
    return orientation.apply(_on_black(image) if alpha else image)


def _on_black(rgba: Image) -> Image:
    rgb, opacity = rgba[..., :3], rgba[..., 3:]
    if opacity.min() == 255:
        return rgb
    return ((rgb.astype(np.uint16) * opacity + 127) // 255).astype(np.uint8)
