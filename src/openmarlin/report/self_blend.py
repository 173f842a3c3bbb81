"""Self-blended clips as a sheet: the real clip, the fake that was made of it, and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.report.image_grid import FAINT, Sheet
from openmarlin.video.picture import Image


@dataclass(frozen=True, slots=True)
class BlendedClip:
    """One clip: real and fake uint8 (T, S, S, 3), masks (T, S, S) in [0, 1], a title."""

    real: NDArray[np.uint8]
    fake: NDArray[np.uint8]
    masks: NDArray[np.float32]
    title: str


def self_blend_sheet(path: Path, clips: Sequence[BlendedClip], *, title: str) -> None:
    """Three rows a clip: real, fake, mask; five frames from the first to the last.

    Args:
        path: the PNG.
        clips: what to show.
        title: the line on top.
    """
    side, gap, left, count = 224, 14, 80, 5
    height = 3 * side + 40
    sheet = Sheet(left + count * side + gap, 60 + len(clips) * height)
    sheet.text(gap, 32, title, size=15, weight="bold")
    for number, clip in enumerate(clips):
        top = 60 + number * height
        rows = (("real", clip.real), ("fake", clip.fake), ("mask", _grey(clip.masks)))
        for row, (name, images) in enumerate(rows):
            y = top + row * side
            sheet.text(gap, y + side / 2, name, size=11)
            for column, frame in enumerate(np.linspace(0, len(images) - 1, count).round()):
                sheet.picture(left + column * side, y, side, images[int(frame)])
        sheet.text(left, top + 3 * side + 16, clip.title, size=9, colour=FAINT)
    sheet.save(path)


def _grey(masks: NDArray[np.float32]) -> Image:
    return np.repeat((255 * masks).round().astype(np.uint8)[..., None], 3, axis=-1)
