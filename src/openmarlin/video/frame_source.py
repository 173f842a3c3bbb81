"""The frames of a video by number, in any order, without holding the video.

with FrameSource("talk.mp4", times_s) as source:
    source.images(100, 116)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import VideoError
from openmarlin.video.picture import Image
from openmarlin.video.reader import Frame, VideoReader

_SKIP_S = 4.0  # frames so far ahead are reached by reading on, further ones by a jump
_BEFORE_S = 0.5  # jumps go so far further back: some codecs need a little of what comes before
_SAME_S = 1e-4


class FrameSource:
    """Reads frames by number: on from the last ones, or by a jump in the file.

    After a jump, frames are told by their times. Where these are not those of the first reading, as
    in files with broken time stamps, the file is read again from its beginning.

    Args:
        path: the video.
        times_s: (N,) presentation time of every frame, as `VideoReader` gave them.
    """

    def __init__(self, path: str | Path, times_s: NDArray[np.float64]) -> None:
        self._path, self._times_s = Path(path), times_s
        self._reader = VideoReader(path)
        self._frames: Iterator[tuple[int, Frame]] = iter(())
        self._next = len(times_s)  # the frame that comes next; nothing is being read

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first picture."""
        return self._reader.info.height, self._reader.info.width

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def images(self, first: int, stop: int) -> list[Image]:
        """The pictures of frames `first` to `stop` - 1, uint8 RGB (H, W, 3).

        Raises:
            VideoError: the file has changed, or cannot be read.
        """
        ahead_s = self._times_s[first] - self._times_s[min(self._next, len(self._times_s) - 1)]
        if first < self._next or ahead_s > _SKIP_S:
            self._jump(first)
        result: list[Image] = []
        while len(result) < stop - first:
            number, frame = next(self._frames, (-1, None))
            if frame is None or number > first + len(result):
                raise VideoError(f"{self._path}: has changed while it was read; run again")
            self._next = number + 1
            if number >= first:
                result.append(frame.image)
        return result

    def _jump(self, first: int) -> None:
        """Let the next frame be `first`, or one shortly before it."""
        start_s = float(self._times_s[first]) - _BEFORE_S
        if start_s > self._times_s[0]:
            frames = self._reader.since(start_s)
            head = next(frames, None)
            number = None if head is None else self._number(head.time_s)
            if head is not None and number is not None and number <= first:
                self._frames, self._next = self._numbered(head, number, frames), number
                return
        self._frames, self._next = ((f.index, f) for f in iter(self._reader)), 0

    def _number(self, time_s: float) -> int | None:
        near = int(np.abs(self._times_s - time_s).argmin())
        return near if abs(self._times_s[near] - time_s) < _SAME_S else None

    def _numbered(
        self, head: Frame, number: int, frames: Iterator[Frame]
    ) -> Iterator[tuple[int, Frame]]:
        yield number, head
        for frame in frames:
            number += 1
            yield number, frame
