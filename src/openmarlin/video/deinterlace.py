"""Interlaced frames made whole by FFmpeg's bwdif filter, one picture a frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph

Timed = tuple[av.VideoFrame, float | None]
"""A picture and its raw presentation time in seconds, None where the file tells none."""


def timed(frame: av.VideoFrame, time_base: Fraction) -> Timed:
    """A frame with the time it carries."""
    return frame, None if frame.pts is None else float(frame.pts * time_base)


class Deinterlacer:
    """Works on the frames that are flagged interlaced; the others pass untouched.

    The filter looks one frame ahead, so frames come out one push later, at their own times.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[Timed]:
        """Add one frame; yields what is finished."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
            self._shape, self._graph = shape, self._build(frame)
        if self._graph is None:
            yield timed(frame, self._time_base)
            return
        self._graph.vpush(frame)
        yield from self._finished(self._graph)

    def flush(self) -> Iterator[Timed]:
        """Yield what is still inside."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._finished(self._graph)
            self._graph = None

    def _build(self, frame: av.VideoFrame) -> Graph | None:
        graph = Graph()
        graph.threads = 1
        try:
            graph.link_nodes(
                graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=self._time_base,
                ),
                graph.add("bwdif", "mode=send_frame:deint=interlaced"),
                graph.add("buffersink"),
            ).configure()
        except av.FFmpegError:  # too small to have two fields, or not a format of the filter
            return None
        return graph

    def _finished(self, graph: Graph) -> Iterator[Timed]:
        while True:
            try:
                frame = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield timed(frame, frame.time_base or self._time_base)
