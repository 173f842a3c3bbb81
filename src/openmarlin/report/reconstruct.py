"""Reconstructed clips as a picture: what was, what the model saw, what it made of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import patchify, unpatchify
from openmarlin.report.image_grid import FAINT, Sheet
from openmarlin.report.strips import spread
from openmarlin.video.picture import Image

Video = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""

_GREY, _GAP_PX, _FRAMES = 96, 4, 8
_ROWS = (
    ("original", ""),
    ("seen by the model", "grey: masked"),
    ("reconstruction", "with the seen tokens pasted in"),
)
_SIDE_PX = 168  # of a frame on a sheet
_LEAST_SIDE_PX = 224  # of a frame of the film; smaller ones are enlarged
_LINE_PX = 17  # from one line of notes to the next


def paste(
    video: Video, mask: NDArray[np.bool_], values: NDArray[np.float32], config: ModelConfig
) -> tuple[Video, Video]:
    """What the model saw, grey where masked, and that with its predictions in the masked places.

    Args:
        video: (T, H, W, 3).
        mask: (N,), True = masked.
        values: (M, P), the masked tokens as predicted, pixels in [0, 1].
        config: of the model.
    """
    pixels = torch.from_numpy(video).permute(3, 0, 1, 2)[None]
    tokens = patchify(pixels, config.tubelet, config.patch)[0]
    hidden = torch.from_numpy(mask)
    predicted = torch.from_numpy(values).mul(255).round().clamp(0, 255).to(torch.uint8)
    pictures = []
    for content in (torch.tensor(_GREY, dtype=torch.uint8), predicted):
        filled = tokens.clone()
        filled[hidden] = content
        whole = unpatchify(filled[None], config.grid, config.tubelet, config.patch)[0]
        pictures.append(whole.permute(1, 2, 3, 0).contiguous().numpy())
    return pictures[0], pictures[1]


def strip(video: Video, frames: int = _FRAMES) -> Image:
    """Some frames of a video side by side."""
    return np.hstack(list(video[spread(len(video), frames)]))


@dataclass(frozen=True, slots=True)
class Shown:
    """A clip to show: a line on it, and its original, masked and reconstructed video."""

    title: str
    videos: tuple[Video, Video, Video]


def strips_sheet(path: Path, clips: Sequence[Shown], *, title: str, notes: Sequence[str]) -> None:
    """A PNG of clips below each other: some frames side by side, a row for each of its videos.

    Args:
        path: to write.
        clips: of one size.
        title: the line on top.
        notes: sentences below it.

    Raises:
        InputError: it cannot be written.
    """
    label, gap, head, side = 190, _GAP_PX, 52, _SIDE_PX
    top, block = 44 + _LINE_PX * len(notes), head + 3 * (side + gap)
    columns = max(4, *(min(_FRAMES, len(clip.videos[0])) for clip in clips), 0)
    sheet = Sheet(label + columns * (side + gap) + 12, top + len(clips) * block + 12)
    sheet.text(14, 30, title, size=15, weight="bold")
    for i, note in enumerate(notes):
        sheet.text(14, 50 + _LINE_PX * i, note, size=9.5, colour=FAINT)
    for number, clip in enumerate(clips):
        y = top + number * block
        sheet.text(14, y + 26, clip.title, size=12.5, weight="bold")
        for column, frame in enumerate(spread(len(clip.videos[0]), _FRAMES)):
            x = label + column * (side + gap)
            sheet.text(x, y + head - 7, f"frame {frame + 1}", size=9, colour=FAINT)
            for row, video in enumerate(clip.videos):
                sheet.picture(x, y + head + row * (side + gap), side, video[frame])
        for row, (name, remark) in enumerate(_ROWS):
            middle = y + head + row * (side + gap) + side // 2
            sheet.text(14, middle, name, size=12.5, weight="bold")
            for i, line in enumerate(wrap(remark, 22)):
                sheet.text(14, middle + 17 + 15 * i, line, size=9, colour=FAINT)
    sheet.save(path)


def film(clips: Sequence[Shown], *, title: str, notes: Sequence[str]) -> Iterator[Image]:
    """The same to be played: the videos of each clip side by side, one clip after the other.

    Args:
        clips: of one size.
        title: the line on top.
        notes: sentences at the bottom.

    Yields:
        The frames, uint8 RGB (height, width, 3), all of one size.
    """
    size = clips[0].videos[0].shape[1]
    side = size * -(-_LEAST_SIDE_PX // size)
    lines = [line for note in notes for line in wrap(note, (3 * side) // 7)]
    x = [_GAP_PX + i * (side + _GAP_PX) for i in range(3)]
    y = 76
    for clip in clips:
        sheet = Sheet(x[2] + side + _GAP_PX, y + side + 10 + _LINE_PX * len(lines))
        sheet.text(x[0] + 4, 24, title, size=11, weight="bold")
        sheet.text(x[0] + 4, 44, clip.title, size=9.5, colour=FAINT)
        for place, (name, _) in zip(x, _ROWS, strict=True):
            sheet.text(place + 4, y - 8, name, size=11, weight="bold")
        for i, line in enumerate(lines):
            sheet.text(x[0] + 4, y + side + 18 + _LINE_PX * i, line, size=9, colour=FAINT)
        blank = sheet.image()
        for frames in zip(*clip.videos, strict=True):
            picture = blank.copy()
            for place, frame in zip(x, frames, strict=True):
                large = cv2.resize(frame, (side, side), interpolation=cv2.INTER_NEAREST)
                picture[y : y + side, place : place + side] = large
            yield picture
