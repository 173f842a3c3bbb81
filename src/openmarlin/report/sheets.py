"""Pictures of crops, regions and masks, as PNG: what a store holds, what each masking hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from openmarlin.files import atomic
from openmarlin.lapa import BACKGROUND, CLASSES, COLORS, SKIN

Image = NDArray[np.uint8]

_DPI = 100
_INK, _FAINT, _PAPER = "#1b1f24", "#5c6672", "#ffffff"
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
    sheet = _Sheet(width, top + rows * (side + label + gap // 2) + bottom)
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
        sheet.text(x - 2 * side, y + side + 15, clip.title, size=8.5, colour=_FAINT)
    sheet.legend()
    sheet.save(path)


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
    sheet = _Sheet(width, top + (len(masks) + 1) * (side + gap) + bottom)
    sheet.text(14, 30, title, size=15, weight="bold")
    names = [("regions", "of the face, as cells of 8 px"), *((m.name, m.note) for m in masks)]
    for row, (name, note) in enumerate(names):
        y = top + row * (side + gap)
        sheet.text(14, y + side / 2 - 4, name, size=12.5, weight="bold")
        for i, line in enumerate(wrap(note, 32)):
            sheet.text(14, y + side / 2 + 14 + 15 * i, line, size=9, colour=_FAINT)
        for step in range(steps):
            x, image = label + step * (side + gap), images[step * a_step]
            if row == 0:
                sheet.text(x, top - 9, f"frame {step * a_step + 1}", size=9, colour=_FAINT)
                sheet.picture(x, y, side, overlay(image, cells[step * a_step]))
            else:
                sheet.picture(x, y, side, shade(image, masks[row - 1].mask[step]))
    sheet.legend()
    sheet.save(path)


class _Sheet:
    """A white page measured in pixels from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._height = height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self._figure)
        self._axes: Axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")

    def picture(self, x: float, y: float, side: int, image: Image) -> None:
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        extent = (x, x + side, y + side, y)
        self._axes.imshow(small, extent=extent, interpolation="nearest", aspect="auto", zorder=1)

    def frame(self, x: float, y: float, side: float) -> None:
        line = Rectangle((x, y), side, side, fill=False, edgecolor="white", linewidth=0.6, zorder=2)
        line.set(linestyle=(0, (4, 3)), alpha=0.7)
        self._axes.add_patch(line)

    def text(
        self, x: float, y: float, text: str, *, size: float, colour: str = _INK, weight: str = ""
    ) -> None:
        label = self._axes.text(x, y, text, va="baseline", parse_math=False, clip_on=True)
        label.set(size=size * 72 / _DPI * 1.25, color=colour, weight=weight or "normal")

    def legend(self) -> None:
        patches = [
            Patch(color=COLORS[i] / 255, label=name.replace("_", " "))
            for i, name in enumerate(CLASSES)
        ]
        self._axes.legend(
            handles=patches,
            loc="lower left",
            bbox_to_anchor=(0.004, 0.0),
            ncols=len(CLASSES),
            frameon=False,
            fontsize=8.5,
            handlelength=1.0,
            handleheight=1.0,
            columnspacing=1.4,
            handletextpad=0.5,
        )

    def save(self, path: Path) -> None:
        with atomic(path) as part:
            self._figure.savefig(part, format="png", dpi=_DPI, metadata={"Software": None})
