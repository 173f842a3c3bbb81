"""Pictures of crops, regions and masks, as PNG: what a store holds, what each masking hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.regions import BACKGROUND, CLASSES, COLORS, SKIN
from openmarlin.report.page import FAINT, Page

Image = NDArray[np.uint8]

_OVERLAY = 0.55  # opacity of region colours
_HAIR = CLASSES.index("hair")
# What a cell of several classes is drawn as: small parts before what surrounds them.
_ORDER = (*(c for c in range(len(CLASSES)) if c not in (BACKGROUND, SKIN, _HAIR)), SKIN, _HAIR, 0)


@dataclass(frozen=True, slots=True)
class SheetClip:
    """One frame of a clip for the contact sheet: uint8 (S, S, 3), its cells, a title."""

    image: Image
    cells: NDArray[np.uint16]
    title: str


@dataclass(frozen=True, slots=True)
class MaskRow:
    """One strategy: its name, a note, and its mask (t, h, w), True = masked."""

    name: str
    note: str
    mask: NDArray[np.bool_]


def overlay(image: Image, cells: NDArray[np.uint16]) -> Image:
    """Tint an image (S, S, 3) by the region of each cell (S/8, S/8); unknown cells stay clear."""
    bits = (cells[..., None] >> np.array(_ORDER, np.uint16)) & 1
    label = np.array(_ORDER)[bits.argmax(axis=-1)]
    size = image.shape[1::-1]
    tint = cv2.resize(COLORS[label], size, interpolation=cv2.INTER_NEAREST)
    known = cv2.resize((cells != 0).astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    part = _OVERLAY * known[..., None]
    return np.asarray(image * (1 - part) + tint * part, np.uint8)


def shade(image: Image, mask: NDArray[np.bool_]) -> Image:
    """Fade the masked patches (h, w) of an image (S, S, 3)."""
    size = image.shape[1::-1]
    hidden = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    grey = image.mean(axis=-1, keepdims=True)
    faded = 0.36 * grey + 0.64 * np.array([208, 215, 223])
    return np.asarray(np.where(hidden[..., None] > 0.5, faded, image), np.uint8)


def contact_sheet(
    path: Path, clips: Sequence[SheetClip], *, title: str, margin: int = 0, columns: int = 6
) -> None:
    """Crops beside their regions, a tile a clip.

    Args:
        path: the PNG.
        clips: what to show; all of one size.
        title: the line on top.
        margin: pixels around the MARLIN framing, which is marked.
        columns: tiles a row.
    """
    side, gap, label = 160, 14, 22
    rows = -(-len(clips) // columns)
    width, top, bottom = columns * (2 * side + gap) + gap, 52, 46
    page = Page(width, top + rows * (side + label + gap // 2) + bottom)
    page.text(gap, 32, title, size=15, weight="bold")
    for i, clip in enumerate(clips):
        x = gap + (i % columns) * (2 * side + gap)
        y = top + (i // columns) * (side + label + gap // 2)
        for image in (clip.image, overlay(clip.image, clip.cells)):
            page.picture(x, y, side, image)
            inset = margin * side / clip.image.shape[0]
            if margin:
                page.frame(x + inset, y + inset, side - 2 * inset)
            x += side
        left, under = x - 2 * side, y + side + 15
        page.text(left, under, clip.title, size=8.5, colour=FAINT, room=2 * side)
    page.legend()
    page.save(path)


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
    page = Page(width, top + (len(masks) + 1) * (side + gap) + bottom)
    page.text(14, 30, title, size=15, weight="bold")
    names = [("regions", "of the face, as cells of 8 px"), *((m.name, m.note) for m in masks)]
    for row, (name, note) in enumerate(names):
        y = top + row * (side + gap)
        page.text(14, y + side / 2 - 4, name, size=12.5, weight="bold")
        for i, line in enumerate(wrap(note, 32)):
            page.text(14, y + side / 2 + 14 + 15 * i, line, size=9, colour=FAINT)
        for step in range(steps):
            x, image = label + step * (side + gap), images[step * a_step]
            if row == 0:
                page.text(x, top - 9, f"frame {step * a_step + 1}", size=9, colour=FAINT)
                page.picture(x, y, side, overlay(image, cells[step * a_step]))
            else:
                page.picture(x, y, side, shade(image, masks[row - 1].mask[step]))
    page.legend()
    page.save(path)
