"""A drawn mouth into its frame: a mask of the lower face, colours matched along its border.

The mask is the region below the nose and inside the jaw, from the mesh, soft towards its border in
proportion to the face. Inside, the low frequencies of what is drawn are moved so that it equals the
frame around the border of the mask. Outside, pixels are those of the frame, bit by bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.video.picture import Image

Floats = NDArray[np.float32]

# Points of the mesh around the lower face: along the jaw, and back over the cheeks and just below
# the nose. What lies towards the ears hardly moves in speech, and is left alone.
# fmt: off
_LOWER_FACE = (
    397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172,
    192, 207, 205, 98, 97, 2, 326, 327, 425, 427, 416,
)
# fmt: on
_SOFT = 0.022  # sigma of the mask's border, in sides of the square
_INSET = 2.0  # of those sigmas: the border fades out before the jaw and the nose begin
_RING = 0.05  # half the width of the ring in which colours are compared, in sides
_SMOOTH = 0.12  # sigma of what colours are moved by, in sides
_OUTLIER = 35.0  # grey levels: pixels that differ by much more are other things, not other light
_SUBPIXEL = 4  # bits


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an upright crop lies in a frame: the square of `face.crop`, angle in radians."""

    cx: float
    cy: float
    side: float
    angle: float

    @property
    def box(self) -> Floats:
        """x1, y1, x2, y2 (4,) of the square before it is turned, source pixels."""
        half = self.side / 2
        x, y = self.cx, self.cy
        return np.array([x - half, y - half, x + half, y + half], np.float32)

    def to_frame(self, points: Floats, size: int) -> NDArray[np.float64]:
        """Points (N, 2) in pixels of the crop of `size` -> source pixels."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        centred = (points.astype(np.float64) - size / 2) * (self.side / size)
        return np.asarray(centred @ turn + (self.cx, self.cy))


def lower_face(points: NDArray[np.floating], side: float) -> Floats:
    """The outline of what is drawn: convex, inside the jaw and below the nose.

    Args:
        points: (478, 2) of the mesh.
        side: of the square, in the unit of the points.

    Returns:
        (K, 2).
    """
    hull = cv2.convexHull(points[list(_LOWER_FACE), :2].astype(np.float32))[:, 0]
    middle = hull.mean(axis=0)
    arms = hull - middle
    lengths = np.linalg.norm(arms, axis=1, keepdims=True)
    kept = np.clip(1 - _INSET * _SOFT * side / np.maximum(lengths, 1e-6), 0.1, 1)
    return np.asarray(middle + arms * kept, np.float32)


def paste(
    image: Image,
    drawn: Image,
    face: Image,
    points: NDArray[np.floating],
    place: Placement,
    strength: float = 1.0,
) -> Image:
    """Put the mouth of a drawn face into a frame.

    Args:
        image: the frame, uint8 RGB (H, W, 3); it stays as it is.
        drawn: the drawn face (S, S, 3).
        face: the crop of the frame that it was drawn from (S, S, 3).
        points: (478, 2) of the mesh, crop pixels, steady over time.
        place: where the crop lies in the frame.
        strength: 0 for the frame as it is, 1 for what is drawn.

    Returns:
        uint8 RGB (H, W, 3), equal to the frame outside the mask.
    """
    size = len(face)
    outline = lower_face(points, size)
    matched = match_colours(drawn, face, outline)
    corners = place.to_frame(outline, size)
    reach = 4 * _SOFT * place.side + 2
    x1, y1 = np.maximum(np.floor(corners.min(axis=0) - reach), 0).astype(int)
    x2, y2 = np.ceil(corners.max(axis=0) + reach).astype(int)
    window = image[y1:y2, x1:x2]
    result = image.copy()
    if not window.size:
        return result
    alpha = _mask(corners - (x1, y1), window.shape[:2], _SOFT * place.side)
    warped = _warped(matched, place, (int(x1), int(y1)), window.shape[:2])
    mixed = window + (strength * alpha)[..., None] * (warped - window)
    result[y1:y2, x1:x2] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    return result


def match_colours(drawn: Image, face: Image, outline: Floats) -> Floats:
    """What is drawn, its low frequencies moved so that they are the frame's along the outline.

    Args:
        drawn, face: (S, S, 3), see `paste`.
        outline: (K, 2) of the mask, crop pixels.

    Returns:
        float32 (S, S, 3), in [0, 255].
    """
    size = len(face)
    inside = np.zeros((size, size), np.uint8)
    _fill(inside, outline)
    far_in = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    far_out = cv2.distanceTransform(255 - inside, cv2.DIST_L2, 3)
    ring = (np.maximum(far_in, far_out) <= max(1.5, _RING * size)).astype(np.float32)
    apart = face.astype(np.float32) - drawn
    likely = np.exp(-((np.abs(apart).mean(axis=2) / _OUTLIER) ** 2)) + np.float32(1e-3)
    weight = ring * likely
    sigma = _SMOOTH * size
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    moved = cv2.GaussianBlur(apart * weight[..., None], (0, 0), sigma)
    by = moved / np.maximum(total, 1e-7)[..., None]
    return np.asarray(np.clip(drawn + by, 0, 255), np.float32)


def _mask(corners: NDArray[np.float64], shape: tuple[int, int], sigma: float) -> Floats:
    """The soft mask (h, w) of an outline, in [0, 1]."""
    mask = np.zeros(shape, np.uint8)
    _fill(mask, corners - 0.5)  # pixel centres lie at whole numbers in OpenCV
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(sigma, 0.5))
    soft[soft < 1 / 512] = 0
    return np.asarray(soft, np.float32)


def _fill(mask: NDArray[np.uint8], corners: NDArray[np.floating]) -> None:
    whole = np.round(corners * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillConvexPoly(mask, whole, 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL)


def _warped(
    drawn: Floats, place: Placement, corner: tuple[int, int], shape: tuple[int, int]
) -> Floats:
    """The crop as it lies in a window of the frame, (h, w, 3)."""
    size = len(drawn)
    scale = size / place.side
    cos, sin = math.cos(place.angle) * scale, math.sin(place.angle) * scale
    turn = np.array([[cos, sin], [-sin, cos]])
    # From the centre of a window's pixel to that of the crop's.
    shift = turn @ (np.array(corner) + 0.5 - (place.cx, place.cy)) + size / 2 - 0.5
    enlarged = place.side > size
    warped = cv2.warpAffine(
        drawn,
        np.column_stack([turn, shift]),
        shape[::-1],
        flags=(cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.float32)
