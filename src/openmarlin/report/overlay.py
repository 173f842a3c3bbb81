"""Boxes, meshes and text on the pictures of a video, legible on any ground and at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from openmarlin.report.figure import DISTINCT, face_colours
from openmarlin.video.picture import Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 22.0  # height of a capital letter at scale 1
_TEXT = 1 / 42  # of the picture's height, of a capital letter ...
_LEAST_TEXT_PX = 7.0  # ... at least
_LINE = 1 / 300  # thickness of a line, of the picture's height
_GROUND = 0.35  # what shines through the ground of a label
_WHITE = (255, 255, 255)
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FaceLabel:
    """What is drawn of one face.

    Attributes:
        track: whose face; each has a colour of its own.
        box: x1, y1, x2, y2 in pixels of the picture.
        lines: text beside the box, a line each; the first one is the title.
        points: mesh points (P, 2+) in pixels of the picture; None for no mesh.
    """

    track: int
    box: NDArray[np.floating]
    lines: Sequence[str] = field(default_factory=list)
    points: NDArray[np.floating] | None = None


def draw_labels(image: Image, labels: Sequence[FaceLabel]) -> Image:
    """A copy of the picture, uint8 RGB (H, W, 3), with all faces drawn on it.

    Sizes follow the picture's height. Letters that OpenCV's font lacks become question marks.
    """
    image = np.ascontiguousarray(image).copy()
    for label in labels:
        if label.points is not None:
            _draw_points(image, label.points, colour_of(label.track))
        _draw_box(image, label)
    for label in labels:  # text over everything else
        _draw_text(image, label)
    return image


@cache
def colour_of(track: int) -> Colour:
    """RGB of a track; after twelve the colours come again."""
    red, green, blue = to_rgb(face_colours(DISTINCT)[track % DISTINCT])
    return round(255 * red), round(255 * green), round(255 * blue)


def _thickness(image: Image) -> int:
    return max(1, round(_LINE * len(image)))


def _draw_points(image: Image, points: NDArray[np.floating], colour: Colour) -> None:
    """Dots: light ones in the face's colour, so that a face can still be seen."""
    light = tuple((part + 255) // 2 for part in colour)
    size = max(1, _thickness(image) // 2)
    height, width = image.shape[:2]
    for x, y in np.floor(points[:, :2]).astype(int).tolist():
        if 0 <= x < width and 0 <= y < height:
            image[y : y + size, x : x + size] = light


def _draw_box(image: Image, label: FaceLabel) -> None:
    """The box in its colour within a dark rim."""
    x1, y1, x2, y2 = np.clip(np.round(label.box), -30_000, 30_000).astype(int).tolist()
    thickness = _thickness(image)
    for colour, width in (((0, 0, 0), thickness + 2), (colour_of(label.track), thickness)):
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)


def _draw_text(image: Image, label: FaceLabel) -> None:
    """Lines on a dark ground above the box, or below where there is no room, within the picture."""
    lines = [line.encode("ascii", "replace").decode() for line in label.lines]
    if not lines:
        return
    height, width = image.shape[:2]
    capital = max(_LEAST_TEXT_PX, _TEXT * height)
    scale, weight = capital / _FONT_PX, max(1, round(capital / 10))
    step, pad = round(1.75 * capital), round(0.6 * capital)
    text_width = max(cv2.getTextSize(line, _FONT, scale, weight)[0][0] for line in lines)
    block_width, block_height = text_width + 3 * pad, len(lines) * step + pad
    x1, y1, _, y2 = (float(side) for side in np.clip(label.box, -30_000, 30_000))
    gap = _thickness(image) + 1
    top = y1 - gap - block_height if y1 - gap - block_height >= 0 else y2 + gap
    left = round(min(max(x1, 0), max(width - block_width, 0)))
    top = round(min(max(top, 0), max(height - block_height, 0)))
    ground = image[top : top + block_height, left : left + block_width]
    ground[:] = (ground * _GROUND).astype(np.uint8)
    ground[:, : max(2, pad // 2)] = colour_of(label.track)
    for number, line in enumerate(lines):
        base = top + pad // 2 + number * step + round(1.3 * capital)
        place = (left + round(1.5 * pad), base)
        cv2.putText(image, line, place, _FONT, scale, _WHITE, weight, cv2.LINE_AA)
