"""The contact sheet of a store: crops beside their regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.report.image_grid import FAINT, Sheet, overlay
from openmarlin.video.picture import Image


@dataclass(frozen=True, slots=True)
class SheetClip:
    """One frame of a clip for the contact sheet: uint8 (S, S, 3), its cells, a title."""

    image: Image
    cells: NDArray[np.uint16]
    title: str


def contact_sheet(path: Path, clips: Sequence[SheetClip], *, title: str, margin: int = 0) -> None:
    """Crops beside their regions, a tile a clip.

    Args:
        path: the PNG.
        clips: what to show; all of one size.
        title: the line on top.
        margin: pixels around the MARLIN framing, which is marked.
    """
    side, gap, label = 160, 14, 22
    columns = min(max(len(clips), 3), 6)  # three are as wide as the legend
    rows = -(-len(clips) // columns)
    width, top, bottom = columns * (2 * side + gap) + gap, 52, 46
    sheet = Sheet(width, top + rows * (side + label + gap // 2) + bottom)
    sheet.text(gap, 32, title, size=15, weight="bold")
    for i, clip in enumerate(clips):
        x = gap + (i % columns) * (2 * side + gap)
        y = top + (i // columns) * (side + label + gap // 2)
        for image in (clip.image, overlay(clip.image, clip.cells)):
            sheet.picture(x, y, side, image)
            inset = margin * side / clip.image.shape[0]
            if margin:
                sheet.frame(x + inset, y + inset, side - 2 * inset)
            x += side
        left, under = x - 2 * side, y + side + 15
        sheet.text(left, under, clip.title, size=8.5, colour=FAINT, room=2 * side)
    sheet.legend()
    sheet.save(path)
