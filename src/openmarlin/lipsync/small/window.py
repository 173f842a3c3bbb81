"""The window of a face that the renderer draws, and what it is given to draw it.

The window is the lower part of MARLIN's square. What is hidden of it depends on the pose and the
neutral shape alone: the edge of the hole must not say where the chin of the picture is. Pictures
from other times are brought into the pose of the picture that is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.face.mesh import OUTER_LIPS
from openmarlin.lipsync.small.mouth_shape import (
    INNER,
    JAW_LINE,
    OUTER,
    Floats,
    ShapeBasis,
)

Image = NDArray[np.uint8]
Camera = NDArray[np.float64]

REFERENCES = 2
"""Pictures from other times: the most closed and the most open mouth of those at hand."""

TARGET, REFERENCE, DRAWING = slice(0, 3), slice(3, 9), slice(9, 16)
HOLE, LIPS, CHANNELS = 16, 17, 18
"""Channels of what `window_channels` gives: the picture, two references, drawings of the new shape
(lips, inner mouth, jaw) and of the references' shapes (lips, inner mouth), how far each pixel lies
inside the hole, and what surrounds the lips."""

_SHARE = 0.64  # of the side of MARLIN's square
_LEFT = 0.18
_SUB = 4  # fractional bits of corners
_WIDER, _LOWER = 1.12, 1.4  # the hole beside the neutral jaw, from the mouth's middle
_NOSE_CM, _CHEEK_CM = 1.2, 3.4  # below the origin of the canonical face; to the side
_LIPS_WIDER = 1.35


@dataclass(frozen=True)
class Framing:
    """Where the window lies in a picture of a face.

    Attributes:
        size: side of the window, pixels.
    """

    size: int

    @property
    def face_px(self) -> int:
        """Side of the square of the face."""
        return round(self.size / _SHARE)

    @property
    def left(self) -> int:
        return round(_LEFT * self.face_px)

    @property
    def top(self) -> int:
        return self.face_px - self.size

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the picture of a face."""
        rows = slice(self.top, self.top + self.size)
        return rows, slice(self.left, self.left + self.size)


@dataclass(frozen=True)
class View:
    """A window with what is known of the face in it.

    Attributes:
        image: uint8 RGB (S, S, 3).
        camera: (2, 4) of the face, to pixels of the window.
        points: (M, 2) float32 mouth points, pixels of the window.
    """

    image: Image
    camera: Camera
    points: Floats

    def moved(self, matrix: NDArray[np.float64], size: int) -> View:
        """The window under an affine map (2, 3) of its pixels, of another size."""
        image = warp(self.image, matrix, size)
        return View(image, move_camera(self.camera, matrix), move_points(self.points, matrix))


def warp(image: Image, matrix: NDArray[np.float64], size: int) -> Image:
    """A picture under an affine map (2, 3) of continuous pixel coordinates; edges go on."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    out = cv2.warpAffine(
        image, centred, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.uint8)


def move_points(points: Floats, matrix: NDArray[np.float64]) -> Floats:
    """Points (..., 2) under an affine map (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def move_camera(camera: Camera, matrix: NDArray[np.float64]) -> Camera:
    """A camera (..., 2, 4) to pixels, followed by an affine map (2, 3) of them."""
    moved = matrix[:, :2] @ camera
    moved[..., 3] += matrix[:, 2]
    return np.asarray(moved)


def window_channels(
    target: View,
    shape: Floats,
    references: Sequence[View],
    neutral: Floats,
    basis: ShapeBasis,
) -> Image:
    """All that the renderer is given for a picture.

    Args:
        target: the window to draw; what its mouth does is hidden by `HOLE`.
        shape: (M, 2) the points of the mouth to draw, pixels of the window.
        references: `REFERENCES` windows of the same face.
        neutral: (M, 2) of the face, see `ShapeBasis`.
        basis: of shapes.

    Returns:
        uint8 (S, S, `CHANNELS`).
    """
    size = target.image.shape[0]
    solid = np.column_stack([neutral, basis.depth, np.ones(len(neutral))])
    out = np.zeros((size, size, CHANNELS), np.uint8)
    out[..., TARGET] = target.image
    planes = [_lips(shape, size), _inner(shape, size), _jaw(shape, size)]
    for i, reference in enumerate(references):
        matrix = _alignment(solid, reference.camera, target.camera)
        aligned = reference.moved(matrix, size)
        out[..., 3 + 3 * i : 6 + 3 * i] = aligned.image
        planes += [_lips(aligned.points, size), _inner(aligned.points, size)]
    out[..., DRAWING] = np.stack(planes, axis=-1)
    out[..., HOLE] = hole(target.camera, neutral, basis, size)
    out[..., LIPS] = _around_lips(shape, size)
    return out


def hole(camera: Camera, neutral: Floats, basis: ShapeBasis, size: int) -> Image:
    """What is drawn anew, uint8 (S, S): 255 inside, falling to 0 at the edge."""
    middle = neutral[OUTER].mean(axis=0)
    jaw = neutral[JAW_LINE] - middle
    jaw = middle + jaw * np.where(jaw[:, 1:] > 0, (_WIDER, _LOWER), (_WIDER, 1))
    lip = neutral[OUTER_LIPS.index(0)]
    top = (lip[1] + _NOSE_CM) / 2
    front = float(basis.depth[OUTER_LIPS.index(0)])
    # From the right end of the jaw along it to the left one, and back below the nose.
    above = np.array([(lip[0] + _CHEEK_CM, top), (lip[0], top), (lip[0] - _CHEEK_CM, top)])
    ring = np.concatenate([jaw, above])
    depth = np.concatenate([basis.depth[JAW_LINE], [front, front, front]])
    solid = np.column_stack([ring, depth, np.ones(len(ring))])
    filled = _fill(np.asarray(solid @ camera.T, np.float32), size)
    soft = cv2.blur(filled, (2 * (size // 24) + 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    # The blur spreads outwards as much as inwards; only what lies inside may be drawn.
    return np.where(filled > 0, np.clip(2.0 * soft - 255, 0, 255), 0).astype(np.uint8)


def _alignment(solid: NDArray[np.float64], source: Camera, target: Camera) -> NDArray[np.float64]:
    """The affine map (2, 3) that brings the neutral mouth (M, 4) from one camera to another."""
    flat = np.column_stack([solid @ source.T, np.ones(len(solid))])
    return np.asarray(np.linalg.lstsq(flat, solid @ target.T, rcond=None)[0].T)


def _lips(points: Floats, size: int) -> Image:
    plane = _fill(points[OUTER], size)
    return cv2.subtract(plane, _fill(points[INNER], size))  # type: ignore[return-value]


def _inner(points: Floats, size: int) -> Image:
    return _fill(points[INNER], size)


def _jaw(points: Floats, size: int) -> Image:
    plane = np.zeros((size, size), np.uint8)
    corners = _corners(points[JAW_LINE])
    cv2.polylines(plane, [corners], False, 255, max(1, size // 48), cv2.LINE_AA, _SUB)
    return plane


def _around_lips(points: Floats, size: int) -> Image:
    ring = points[OUTER]
    middle = ring.mean(axis=0)
    plane = _fill(middle + (ring - middle) * _LIPS_WIDER, size)
    return np.asarray(cv2.blur(plane, (5, 5)), np.uint8)


def _fill(ring: Floats, size: int) -> Image:
    plane = np.zeros((size, size), np.uint8)
    cv2.fillPoly(plane, [_corners(ring)], 255, cv2.LINE_AA, _SUB)
    return plane


def _corners(points: Floats) -> NDArray[np.int32]:
    """Corners in OpenCV's fixed point; far outside is as good as anywhere there."""
    return np.round((np.clip(points, -2000, 2000) - 0.5) * (1 << _SUB)).astype(np.int32)
