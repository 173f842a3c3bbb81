"""Which frames make which window: arithmetic on frame numbers, no pixels.

A video is first put on a constant clock of `fps` ticks a second (`ticks`): tick j stands at
t_0 + j / fps, where t_0 is the time of the first frame, and shows the latest frame that starts no
later than half a tick after that. At a constant frame rate tick j is frame j; at a variable one
frames are repeated or skipped so that speed is kept.

Every `rate`-th tick is a sample: with n ticks there are m = ceil(n / rate) samples. A window is
`length` samples and the next one starts `stride` samples later:

    tick(i, j) = rate * (stride * i + j)        window i = 0, 1, ...    position j = 0 .. length - 1

    tail        windows
    pad         1 + max(0, ceil((m - length) / stride))     every sample is in a window;
                                                            tick(i, j) = min(..., rate * (m - 1))
    drop        1 + floor((m - length) / stride)            full windows only, none if m < length
    reference   as marlin-pytorch 0.3.4 counts (below)

With `pad` the last window repeats the last sample, and n_real = min(length, m - stride * i) tells
how many of its positions are real. With `reference`

    n <= length                 one window: ticks 0 .. n - 1, the last one repeated
    length < n <= length * rate one window: ticks 0 .. length - 1, so at another speed
    n > length * rate           ceil((n - length * rate) / (stride * rate)) windows: those that
                                end before the last tick, so the tail of the video is not seen

A video without frames has no windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, get_args

from openmarlin.errors import InputError

if TYPE_CHECKING:
    from openmarlin.video.reader import Frame

CLIP_FRAMES = 16
"""Frames a clip (MARLIN, section 4.1: 16 frames of 224x224)."""

Tail = Literal["pad", "drop", "reference"]
"""What happens to the last, incomplete window, see above."""


def ticks(frames: Iterable[Frame], fps: float) -> Iterator[tuple[int, Frame]]:
    """Resample frames, whose times must increase, to a constant clock: (tick, frame) pairs.

    Ticks count 0, 1, 2, ... without a gap; a frame may come repeatedly or not at all. Holds one
    frame. The last frame is shown for one tick, as its duration is unknown.

    Args:
        frames: frames in presentation order.
        fps: ticks a second, usually `VideoInfo.fps`.
    """
    if not fps > 0:
        raise InputError(f"fps is {fps}; give a positive rate")
    tick, start_s = 0, 0.0
    current: Frame | None = None
    for frame in frames:
        if current is None:
            start_s = frame.time_s
        else:
            # The first tick that shows the new frame; the one before stays until then.
            first = ceil((frame.time_s - start_s) * fps - 0.5)
            while tick < first:
                yield tick, current
                tick += 1
        current = frame
    if current is not None:
        yield tick, current


@dataclass(frozen=True)
class Window:
    """One window.

    Attributes:
        index: 0, 1, ... in the order of time.
        ticks: `length` tick numbers; padded positions repeat the last real one.
        n_real: positions that are not padding.
    """

    index: int
    ticks: tuple[int, ...]
    n_real: int


def plan_windows(
    n_ticks: int,
    *,
    length: int = CLIP_FRAMES,
    rate: int = 2,
    stride: int = CLIP_FRAMES,
    tail: Tail = "pad",
) -> list[Window]:
    """All windows of a video of n_ticks ticks (the formula stands at the top of this module)."""
    _check(length, rate, stride, tail)
    if n_ticks < 0:
        raise InputError(f"n_ticks is {n_ticks}; give 0 or more")
    if n_ticks == 0:
        return []
    if tail == "reference":
        return _reference(n_ticks, length, rate, stride)
    samples = ceil(n_ticks / rate)
    over = samples - length
    count = 1 + (max(0, ceil(over / stride)) if tail == "pad" else over // stride)
    return [_window(i, length, rate, stride, samples) for i in range(count)]


def needs_tick(tick: int, *, length: int = CLIP_FRAMES, rate: int = 2, tail: Tail = "pad") -> bool:
    """Whether a window may hold this tick; the pixels of all others are never looked at."""
    return tick % rate == 0 or (tail == "reference" and tick < length)


class WindowStream:
    """`plan_windows` for a video whose end is not known yet: the same windows, as early as can be.

    Push every tick in order; `finish` gives the windows that only the end decides.
    """

    def __init__(
        self,
        *,
        length: int = CLIP_FRAMES,
        rate: int = 2,
        stride: int = CLIP_FRAMES,
        tail: Tail = "pad",
    ) -> None:
        _check(length, rate, stride, tail)
        self._length, self._rate, self._stride, self._tail = length, rate, stride, tail
        self._pushed = 0
        self._n_windows = 0

    @property
    def keep_from(self) -> int:
        """The windows still to come hold no tick before this one."""
        return self._n_windows * self._stride * self._rate

    def push(self, tick: int) -> list[Window]:
        """Take the next tick; returns the windows it completes (one at most)."""
        if tick != self._pushed:
            raise InputError(f"tick {tick} was pushed where {self._pushed} is due; push every tick")
        self._pushed += 1
        # The reference gives a window only once it knows that the video goes on behind it.
        span = self._length if self._tail == "reference" else self._length - 1
        if tick < self.keep_from + span * self._rate:
            return []
        window = _window(self._n_windows, self._length, self._rate, self._stride, self._pushed)
        self._n_windows += 1
        return [window]

    def finish(self) -> list[Window]:
        """The end of the video: the remaining windows."""
        plan = plan_windows(
            self._pushed,
            length=self._length,
            rate=self._rate,
            stride=self._stride,
            tail=self._tail,
        )
        remaining, self._n_windows = plan[self._n_windows :], len(plan)
        return remaining


def _check(length: int, rate: int, stride: int, tail: str) -> None:
    for name, value in (("length", length), ("rate", rate), ("stride", stride)):
        if value < 1:
            raise InputError(f"{name} is {value}; give 1 or more")
    if tail not in get_args(Tail):
        raise InputError(f"tail is {tail!r}; give one of {', '.join(get_args(Tail))}")
    if tail == "pad" and stride > length:
        raise InputError(
            f"stride {stride} is more than the window length {length}, so frames would be left"
            " out; give a smaller stride, or tail drop"
        )


def _window(index: int, length: int, rate: int, stride: int, samples: int) -> Window:
    first = index * stride
    numbers = range(first, first + length)
    return Window(
        index,
        tuple(rate * min(sample, samples - 1) for sample in numbers),
        min(length, samples - first),
    )


def _reference(n_ticks: int, length: int, rate: int, stride: int) -> list[Window]:
    """MARLIN's own rules, defects included, so that its numbers can be compared."""
    if n_ticks <= length * rate:
        return [_window(0, length, 1, stride, min(n_ticks, length))]
    starts = range(0, n_ticks - length * rate, stride * rate)
    return [_window(i, length, rate, stride, n_ticks) for i in range(len(starts))]
