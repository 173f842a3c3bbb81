"""A video with something drawn on every picture, at its own times and with its sound.

    write_overlay(Path("talk.mp4"), Path("drawn.mp4"), lambda image, time_s: image // 2)

Pictures are encoded anew, each shown when it was shown before, so a variable frame rate stays one.
Sound of a kind that mp4 players know is copied packet by packet, other sound becomes AAC.
Everything streams: memory does not grow with the length of the video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import chain, takewhile
from pathlib import Path

import av
import cv2
import numpy as np

from openmarlin.errors import VideoError
from openmarlin.files import atomic
from openmarlin.video.picture import Image
from openmarlin.video.reader import Frame, VideoReader
from openmarlin.video.sound_track import Cut, sound_track
from openmarlin.video.writer import add_h264, to_yuv

Draw = Callable[[Image, float], Image]
"""From a picture, uint8 RGB (H, W, 3), and its time in seconds to the picture that is written."""

TICK = Fraction(1, 90_000)
"""Of the times in the file, seconds; the clock of broadcasts, too."""

_LATE_S = 10.0
"""A recording whose clock starts later (broadcasts run for hours) begins at 0 in the copy: players
would show nothing until then."""


def write_overlay(
    source: Path,
    target: Path,
    draw: Draw,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
) -> None:
    """Draw on all pictures of a video, or of a part of it, and write an mp4 of them.

    Times stay those of the source; a part, and a recording whose clock starts beyond 10 s, begins
    at 0. Of several sound tracks the first is kept. The file appears whole or not at all.

    Args:
        source: the video.
        target: the .mp4.
        draw: called with every picture (upright, pixels square, the caller's own) and its time in
            the source. What it returns may have another size, but one size for all; where the
            source itself changes size, later pictures are fitted into the first one's.
        start_s: first time that is shown; None from the beginning.
        end_s: time from which on nothing is shown; None to the end.

    Raises:
        VideoError: the source cannot be read, or shows nothing in the part.
        InputError: the target cannot be written.
    """
    begin_s = -math.inf if start_s is None else start_s
    stop_s = math.inf if end_s is None else end_s
    with VideoReader(source) as reader, ExitStack() as stack:
        until = takewhile(lambda frame: frame.time_s < stop_s, reader)
        frames = (frame for frame in until if frame.time_s >= begin_s)
        first = next(frames, None)
        if first is None:
            raise VideoError(f"{source}: no picture from {start_s} s to {end_s} s")
        zero_s = first.time_s if start_s is not None or first.time_s > _LATE_S else 0.0
        part = stack.enter_context(atomic(target))
        file = stack.enter_context(part.open("wb"))  # which reports a full disk
        container = stack.enter_context(av.open(file, "w", format="mp4"))
        drawn = _drawn(chain([first], frames), draw)
        head = next(drawn)
        stream = add_h264(container, head[0], reader.info.fps)
        stream.codec_context.time_base = TICK
        cut = Cut(begin_s, stop_s, zero_s)
        sound = stack.enter_context(closing(sound_track(source, container, cut)))
        heard = next(sound, None)
        for image, time_s in chain([head], drawn):
            while heard is not None and heard[0] <= time_s:  # as far as the pictures have come
                container.mux(heard[1])
                heard = next(sound, None)
            picture = to_yuv(image)
            picture.pts, picture.time_base = round((time_s - zero_s) / TICK), TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        for _, packets in chain([heard] if heard else [], sound):
            container.mux(packets)


def _drawn(frames: Iterable[Frame], draw: Draw) -> Iterator[tuple[Image, float]]:
    shape: tuple[int, ...] | None = None
    for frame in frames:
        image = draw(frame.image, frame.time_s)
        shape = shape or image.shape
        yield (image if image.shape == shape else fitted(image, shape)), frame.time_s


def fitted(image: Image, shape: tuple[int, ...]) -> Image:
    """A picture as large as fits, in the middle of a black one."""
    scale = min(shape[0] / image.shape[0], shape[1] / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    canvas = np.zeros(shape, np.uint8)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(image, (width, height))
    return canvas
