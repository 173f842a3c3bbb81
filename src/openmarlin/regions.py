"""The parsing classes of a face, the regions made of them, and the cells they are stored in.

The one definition of what a label means. Classes are those of the LaPa face-parsing data set
(Liu et al., AAAI 2020); regions group them as MARLIN does (arXiv 2211.06627).

A label map is large and masking asks one thing of it: which classes does a patch contain? So
regions are kept as cells: for every 8x8 pixels one uint16 whose bit c says that class c is present.
OR-ing 2x2 cells answers for a patch of 16 exactly as max-pooling the pixels would.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError

CLASSES = (
    "background",
    "skin",
    "right_brow",
    "left_brow",
    "right_eye",
    "left_eye",
    "nose",
    "upper_lip",
    "inner_mouth",
    "lower_lip",
    "hair",
)
"""Class names; the position is the class id."""

BACKGROUND, SKIN = 0, 1

REGIONS: dict[str, tuple[int, ...]] = {
    "background": (0,),
    "skin": (1,),
    "right_eye": (2, 4),
    "left_eye": (3, 5),
    "nose": (6,),
    "mouth": (7, 8, 9),
    "hair": (10,),
}
"""Region name -> class ids, in the order MARLIN lists them (an eye includes its brow)."""

COMPONENTS = ("left_eye", "right_eye", "nose", "mouth", "hair")
"""The regions MARLIN calls P and hides first: everything but skin and background."""

COLORS: NDArray[np.uint8] = np.array(
    [
        (40, 40, 48),
        (236, 188, 150),
        (0, 128, 96),
        (120, 214, 72),
        (0, 92, 230),
        (64, 200, 255),
        (255, 150, 0),
        (214, 30, 60),
        (96, 0, 40),
        (255, 120, 190),
        (128, 64, 208),
    ],
    dtype=np.uint8,
)
"""(11, 3) RGB, one colour a class, for overlays: `COLORS[labels]` is a picture."""
COLORS.flags.writeable = False

Cells = NDArray[np.uint16]
"""(T, H/8, W/8) class bits of one clip; 0 = nothing known (no face)."""

CELL_PX = 8
"""Side of a cell in pixels of the face crop."""


def region_bits(regions: Iterable[str]) -> int:
    """The cell bits of all classes in the named regions.

    Raises:
        InputError: a name that is not in `REGIONS`.
    """
    bits = 0
    for name in regions:
        if name not in REGIONS:
            raise InputError(f"unknown face region {name!r}: choose from {', '.join(REGIONS)}")
        for label in REGIONS[name]:
            bits |= 1 << label
    return bits


def to_cells(labels: NDArray[np.integer], cell_px: int = CELL_PX) -> NDArray[np.uint16]:
    """Label maps (..., H, W) of class ids -> cells (..., H/8, W/8) uint16, bit c = class c present.

    Raises:
        ValueError: a label outside 0..10, or a size that cells do not divide.
    """
    if labels.size and (labels.min() < 0 or labels.max() >= len(CLASSES)):
        raise ValueError(f"labels must lie in 0..{len(CLASSES) - 1}")
    return pool_cells(np.left_shift(np.uint16(1), labels.astype(np.uint16)), cell_px)


def unknown_cells(frames: int, size_px: int) -> NDArray[np.uint16]:
    """Cells (frames, size/8, size/8) of pictures in which no face was found: 0, no class at all."""
    return np.zeros((frames, size_px // CELL_PX, size_px // CELL_PX), np.uint16)


def pool_cells(cells: NDArray[np.uint16], factor: int = 2) -> NDArray[np.uint16]:
    """OR together factor x factor neighbours: cells (..., h, w) -> (..., h/factor, w/factor).

    Raises:
        ValueError: a size that the factor does not divide.
    """
    height, width = cells.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"{height}x{width} cells do not divide into blocks of {factor}")
    rows = reduce(np.bitwise_or, [cells[..., i::factor, :] for i in range(factor)])
    return reduce(np.bitwise_or, [rows[..., i::factor] for i in range(factor)])
