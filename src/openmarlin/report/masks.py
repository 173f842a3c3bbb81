"""What every masking strategy hides of one face, a row a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.report.image_grid import FAINT, Sheet, overlay
from openmarlin.video.picture import Image


@dataclass(frozen=True, slots=True)
class MaskRow:
    """One strategy: its name, a note, and its mask (t, h, w), True = masked."""

    name: str
    note: str
    mask: NDArray[np.bool_]


def shade(image: Image, mask: NDArray[np.bool_]) -> Image:
    """Fade the masked tokens (h, w) of an image (S, S, 3)."""
    size = image.shape[1::-1]
    hidden = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    grey = image.mean(axis=-1, keepdims=True)
    faded = 0.36 * grey + 0.64 * np.array([208, 215, 223])
    return np.asarray(np.where(hidden[..., None] > 0.5, faded, image), np.uint8)


def masks_sheet(
    path: Path,
    images: NDArray[np.uint8],
    cells: NDArray[np.uint16],
    masks: Sequence[MaskRow],
    *,
    title: str,
) -> None:
    """Strategies side by side: a row each, a column a step in time, regions on top.

    Args:
        path: the PNG.
        images: crops of a clip, uint8 (T, S, S, 3).
        cells: their class bits (T, S/8, S/8).
        masks: what each strategy hides of it.
        title: the line on top.
    """
    side, gap, label, top, bottom = 136, 5, 216, 76, 46
    steps = len(masks[0].mask)
    a_step = len(images) // steps
    width = label + steps * (side + gap) + 12
    sheet = Sheet(width, top + (len(masks) + 1) * (side + gap) + bottom)
    sheet.text(14, 30, title, size=15, weight="bold")
    names = [("regions", "of the face, as cells of 8 px"), *((m.name, m.note) for m in masks)]
    for row, (name, note) in enumerate(names):
        y = top + row * (side + gap)
        sheet.text(14, y + side / 2 - 4, name, size=12.5, weight="bold")
        for i, line in enumerate(wrap(note, 32)):
            sheet.text(14, y + side / 2 + 14 + 15 * i, line, size=9, colour=FAINT)
        for step in range(steps):
            x, image = label + step * (side + gap), images[step * a_step]
            if row == 0:
                sheet.text(x, top - 9, f"frame {step * a_step + 1}", size=9, colour=FAINT)
                sheet.picture(x, y, side, overlay(image, cells[step * a_step]))
            else:
                sheet.picture(x, y, side, shade(image, masks[row - 1].mask[step]))
    sheet.legend()
    sheet.save(path)
