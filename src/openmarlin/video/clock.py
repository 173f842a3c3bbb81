"""When a frame is shown: repairing broken time stamps, and the nominal rate of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

Stamp = Literal["good", "broken", "joined"]
"""A time as it came with a frame: used, unusable, or the first that goes on from a new origin."""

MAX_GAP_S = 60.0
"""A longer pause between two frames, beyond what the file states, is a broken time stamp."""

FALLBACK_FPS = 25.0
"""The rate of a stream that states none and has no time stamps (FFmpeg's default, too)."""

_MAX_FPS = 1000.0
_TOLERANCE = 0.05


class Clock:
    """Turns raw presentation times into times that always increase.

    A time is kept as it is while it moves forward, by at most `MAX_GAP_S` or within the duration
    that the file states. A missing, repeated, backward or wildly distant one becomes the previous
    time plus one nominal frame; when the stream then goes on steadily from a new origin (joined
    recordings, a counter that wrapped), that origin is adopted.

    Args:
        fps: nominal rate.
        duration_s: what the file states, None where it does not.
        start_s: the time of the first frame should that carry none.
    """

    def __init__(self, fps: float, duration_s: float | None = None, start_s: float = 0.0) -> None:
        self._start_s = start_s
        self._period_s = 1.0 / fps
        self._duration_s = duration_s or 0.0
        self._end_s = 0.0
        self._offset_s = 0.0
        self._raw_s: float | None = None
        self._last_s: float | None = None

    def time(self, raw_s: float | None) -> tuple[float, Stamp]:
        """The time of the next frame in seconds, and what the one it came with was worth.

        "joined" says that the "broken" one before it was the beginning of another recording.
        """
        time_s, stamp = (None, "good") if raw_s is None else self._judged(raw_s)
        if time_s is None:
            time_s = self._start_s if self._last_s is None else self._last_s + self._period_s
        if self._last_s is None:
            self._end_s = time_s + self._duration_s
        self._raw_s, self._last_s = raw_s, time_s
        return time_s, stamp

    def _judged(self, raw_s: float) -> tuple[float | None, Stamp]:
        last_s, time_s = self._last_s, raw_s + self._offset_s
        if last_s is None or last_s < time_s <= max(last_s + MAX_GAP_S, self._end_s):
            return time_s, "good"
        # A time that fails by the origin so far but follows the raw one before it: two in a row are
        # no accident, so the origin moves to where the first of them was put.
        if self._raw_s is not None and 0 < raw_s - self._raw_s <= MAX_GAP_S:
            self._offset_s = last_s - self._raw_s
            return raw_s + self._offset_s, "joined"
        return None, "broken"


def nominal_fps(
    times_s: Iterable[float], rates: Sequence[Fraction | None], quantum_s: float
) -> float:
    """The constant rate that describes a stream best, in frames a second; always positive.

    Containers often state a wrong rate for a variable stream, and often round times (Matroska to
    milliseconds, GIF to hundredths of a second). So the typical step between frames is measured:
    the mean where all steps are equal but for rounding, else the median. A stated rate that
    agrees with it within 5 % is believed; otherwise the rate is one over the typical step.

    Args:
        times_s: presentation times of the first frames, in any order, in seconds.
        rates: what the container states, the most trusted first.
        quantum_s: the step to which the container rounds times, in seconds.
    """
    stated = [float(rate) for rate in rates if rate and 0 < rate <= _MAX_FPS]
    ordered = sorted(set(times_s))
    steps = [after - before for before, after in pairwise(ordered)]
    if not steps:
        return stated[0] if stated else FALLBACK_FPS
    mean_s = fmean(steps)
    constant = all(abs(step - mean_s) <= 1.001 * quantum_s for step in steps)
    typical_s = mean_s if constant else median(steps)
    for rate in stated:
        if abs(typical_s * rate - 1) <= _TOLERANCE:
            return rate
    return min(1 / typical_s, _MAX_FPS)
