"""Pictures in rows and columns on a white sheet, with text beside them, as one PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from openmarlin.files import atomic
from openmarlin.regions import BACKGROUND, CLASSES, COLORS, SKIN
from openmarlin.video.picture import Image

INK, FAINT = "#1b1f24", "#5c6672"
"""Colours of text, and of what is said aside."""

_DPI, _PAPER = 100, "#ffffff"
_OVERLAY = 0.55  # opacity of region colours
_HAIR = CLASSES.index("hair")
# What a cell of several classes is drawn as: small parts before what surrounds them.
_ORDER = (*(c for c in range(len(CLASSES)) if c not in (BACKGROUND, SKIN, _HAIR)), SKIN, _HAIR, 0)


class Sheet:
    """A white sheet of `width` x `height` pixels; all places are pixels from its upper left corner.

    What is drawn reaches the file pixel by pixel: a picture of its own size is not resampled.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._axes: Axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")

    def picture(self, x: float, y: float, side: int, image: Image) -> None:
        """A square picture, resized to `side`, its upper left corner at (x, y)."""
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        extent = (x, x + side, y + side, y)
        self._axes.imshow(small, extent=extent, interpolation="nearest", aspect="auto", zorder=1)

    def frame(self, x: float, y: float, side: float) -> None:
        """A dashed square on a picture."""
        line = Rectangle((x, y), side, side, fill=False, edgecolor="white", linewidth=0.6, zorder=2)
        line.set(linestyle=(0, (4, 3)), alpha=0.7)
        self._axes.add_patch(line)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = INK,
        weight: str = "",
        room: float | None = None,
    ) -> None:
        """A line that begins at x, on the base line y.

        Its middle is left out if it is longer than `room`, by default all there is on its right.
        """
        label = self._axes.text(x, y, text, va="baseline", parse_math=False, clip_on=True)
        label.set(size=size * 72 / _DPI * 1.25, color=colour, weight=weight or "normal")
        kept, room = len(text), room or self.width - x
        with _quiet():
            while kept > 1 and label.get_window_extent(self._canvas.get_renderer()).width > room:
                kept = min(kept - 1, int(0.98 * kept))
                label.set_text(f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}")

    def legend(self) -> None:
        """The colours of the face's parts, along the lower edge."""
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

    def image(self) -> Image:
        """The sheet as uint8 RGB (height, width, 3)."""
        with _quiet():
            self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def save(self, path: Path) -> None:
        """The sheet as a PNG.

        Raises:
            InputError: it cannot be written.
        """
        with atomic(path) as part, _quiet():
            self._figure.savefig(part, format="png", dpi=_DPI, metadata={"Software": None})


def overlay(image: Image, cells: NDArray[np.uint16]) -> Image:
    """Tint an image (S, S, 3) by the region of each cell (S/8, S/8); unknown cells stay clear."""
    bits = (cells[..., None] >> np.array(_ORDER, np.uint16)) & 1
    label = np.array(_ORDER)[bits.argmax(axis=-1)]
    size = image.shape[1::-1]
    tint = cv2.resize(COLORS[label], size, interpolation=cv2.INTER_NEAREST)
    certain = cv2.resize((cells != 0).astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    part = _OVERLAY * certain[..., None]
    return np.asarray(image * (1 - part) + tint * part, np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Names of files may have letters that the font lacks; they are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing", category=UserWarning)
        yield
