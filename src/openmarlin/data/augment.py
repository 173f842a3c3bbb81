"""Augmentation of one clip: its pictures, and the cells of its regions along with them.

Every frame of a clip is treated alike, so that nothing moves that did not move in the video.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.regions import CELL_PX, CLASSES

Images = NDArray[np.uint8]
Cells = NDArray[np.uint16]

_TWINS = [
    (CLASSES.index(name), CLASSES.index(name.replace("right", "left")))
    for name in CLASSES
    if name.startswith("right")
]
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class View:
    """A square of the stored picture, pixels: its upper left corner and its side."""

    x: int
    y: int
    side: int


def face_view(size: int, margin: int) -> View:
    """The crop as MARLIN frames a face: the stored picture without its margin."""
    return View(margin, margin, size - 2 * margin)


def random_view(size: int, margin: int, amount: float, rng: np.random.Generator) -> View:
    """A square of 1 - amount to 1 + amount times the face view's side, anywhere in the picture.

    Where the picture has no room for a larger one, it is as large as the picture.
    """
    scale = rng.uniform(1 - amount, 1 + amount)
    side = min(size, max(1, round(scale * face_view(size, margin).side)))
    x, y = rng.integers(0, size - side + 1, 2).tolist()
    return View(x, y, side)


def crop_images(images: Images, view: View, size: int) -> Images:
    """(T, S, S, 3) -> (T, size, size, 3); what need not be resized is not."""
    cut = images[:, view.y : view.y + view.side, view.x : view.x + view.side]
    if view.side == size:
        return cut
    how = cv2.INTER_AREA if view.side > size else cv2.INTER_LINEAR
    out = np.empty((len(images), size, size, 3), np.uint8)
    for frame, target in zip(cut, out, strict=True):
        cv2.resize(frame, (size, size), dst=target, interpolation=how)
    return out


def crop_cells(cells: Cells, view: View, size: int) -> Cells:
    """(T, S/8, S/8) -> (T, size/8, size/8): the classes of every cell that a new cell touches."""
    count = size // CELL_PX
    rows = _or_between(cells, *_touched(view.y, view.side, count), axis=1)
    return _or_between(rows, *_touched(view.x, view.side, count), axis=2)


def mirror(images: Images, cells: Cells) -> tuple[Images, Cells]:
    """Left and right exchanged, also in the names of eyes and brows."""
    swapped = cells[:, :, ::-1].copy()
    for right, left in _TWINS:
        differ = ((swapped >> right) ^ (swapped >> left)) & 1
        swapped ^= (differ << right) | (differ << left)
    return images[:, :, ::-1], swapped


def random_colours(images: Images, amount: float, rng: np.random.Generator) -> Images:
    """Brightness, contrast and saturation each times 1 - amount to 1 + amount."""
    brightness, contrast, saturation = rng.uniform(1 - amount, 1 + amount, 3)
    mix = saturation * np.eye(3) + (1 - saturation) * _LUMA
    middle = images[:, ::8, ::8].mean()
    matrix = np.empty((3, 4))
    matrix[:, :3] = brightness * contrast * mix
    matrix[:, 3] = brightness * (1 - contrast) * middle
    flat = np.ascontiguousarray(images).reshape(-1, images.shape[2], 3)
    return np.asarray(cv2.transform(flat, matrix), np.uint8).reshape(images.shape)


def _touched(start: int, side: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last old cell under each of `count` new ones along one axis."""
    ends = [start * count + side * i for i in range(count + 1)]  # in pixels times count
    unit = CELL_PX * count
    first = np.array([end // unit for end in ends[:-1]])
    stop = np.array([-(-end // unit) for end in ends[1:]])
    return first, stop


def _or_between(
    cells: Cells, first: NDArray[np.int64], stop: NDArray[np.int64], axis: int
) -> Cells:
    """Cells first[i] .. stop[i] - 1 along the axis OR-ed to one, for every i."""
    if np.array_equal(stop - first, np.ones_like(first)):
        return cells.take(first, axis=axis)
    pad = [(0, int(dim == axis)) for dim in range(cells.ndim)]  # reduceat cannot name the end
    pairs = np.stack([first, stop], axis=1).ravel()
    reduced = np.bitwise_or.reduceat(np.pad(cells, pad), pairs, axis=axis)
    return reduced.take(np.arange(0, len(pairs), 2), axis=axis)
