"""The windows of one face laid along the time axis, as boxes in percent of the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_BLOCKS = 120  # more windows than this share blocks, several neighbours each
_STEPS_S = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30,
    60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """One window in time, or its share of a block of windows.

    Attributes:
        start_s, end_s: times of the first real frame and of the end of the last one.
        n_frames, n_real, n_interpolated: as in the features table.
        ok: whether the window has features.
    """

    window: int
    start_s: float
    end_s: float
    n_frames: int
    n_real: int
    n_interpolated: int
    ok: bool

    @property
    def padded_end_s(self) -> float:
        """Where the window would end if its padding were frames like the others."""
        missing = max(self.n_frames - self.n_real, 0) / max(self.n_real, 1)
        return self.end_s + missing * (self.end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class Block:
    """A box on the axis: left and width in percent, `lane` 0 at the top.

    `used` is the share of windows with features, `interpolated` the share of frames without a
    sighting of their own, `pad` the part of the width that repeats the last frame.
    """

    left: float
    width: float
    lane: int
    used: float
    interpolated: float
    pad: float
    title: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks on one axis, in so many lanes; each block stands for `share` windows."""

    blocks: list[Block]
    lanes: int = 1
    share: int = 1


@dataclass(frozen=True, slots=True)
class Axis:
    """A time axis: where it ends, and its ticks as (percent, label)."""

    start_s: float
    end_s: float
    ticks: list[tuple[float, str]]

    def percent(self, time_s: float) -> float:
        return round(100 * (time_s - self.start_s) / (self.end_s - self.start_s), 3)


def make_axis(start_s: float, end_s: float) -> Axis:
    """An axis over start .. end with four to nine round ticks."""
    end_s = end_s if end_s > start_s else start_s + 1.0
    start_s = 0.0 if 0 < start_s < 0.25 * end_s else start_s
    length = end_s - start_s
    step = next((s for s in _STEPS_S if length / s <= 8), length / 4)
    first, last = np.ceil(start_s / step - 1e-6), np.floor(end_s / step + 1e-6)
    marks = abs(np.arange(first, last + 1)) * step  # abs: no "-0"
    axis = Axis(start_s, end_s, [])
    axis.ticks.extend((axis.percent(mark), clock(mark, step)) for mark in marks.tolist())
    return axis


def clock(time_s: float, step_s: float = 0.01) -> str:
    """A time as people write it: 0.53, 12, 1:05, 1:02:03, with the decimals that `step_s` needs."""
    places = 2 if step_s < 0.1 else 1 if step_s < 1 else 0
    units = round(time_s * 10**places)
    if units < 60 * 10**places:
        return f"{time_s:.{places}f}"
    minutes, rest = divmod(units, 60 * 10**places)
    width = 3 + places if places else 2
    text = f"{rest / 10**places:0{width}.{places}f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"


def lay_out(spans: Sequence[Span], axis: Axis) -> Layout:
    """Blocks of `spans` (in time order); where there are many, neighbours share one."""
    share = max(1, -(-len(spans) // MAX_BLOCKS))
    lanes = _lanes(spans) if share == 1 else 1
    blocks = [
        _block(spans[i : i + share], axis, (i // share) % lanes)
        for i in range(0, len(spans), share)
    ]
    return Layout(blocks, lanes, share)


def _lanes(spans: Sequence[Span]) -> int:
    """Windows overlap when the stride is shorter than the window: up to three lanes part them."""
    depth = 1
    for i, span in enumerate(spans):
        tolerance = 0.05 * (span.end_s - span.start_s)
        later = spans[i + 1 : i + 3]
        depth = max(depth, 1 + sum(other.start_s < span.end_s - tolerance for other in later))
    return depth


def _block(spans: Sequence[Span], axis: Axis, lane: int) -> Block:
    first, last = spans[0], spans[-1]
    left, right = axis.percent(first.start_s), axis.percent(last.end_s)
    frames = _column(spans, "n_real")
    pad = max(axis.percent(min(last.padded_end_s, axis.end_s)) - right, 0.0)
    return Block(
        left=left,
        width=max(right - left, 0.15),
        lane=lane,
        used=float(_column(spans, "ok").mean()),
        interpolated=float(_column(spans, "n_interpolated").sum() / max(frames.sum(), 1)),
        pad=round(pad, 3),
        title=_title(spans),
    )


def _column(spans: Sequence[Span], name: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(span, name) for span in spans], dtype=np.float64)


def _title(spans: Sequence[Span]) -> str:
    first, last = spans[0], spans[-1]
    time = f"{clock(first.start_s)} to {clock(last.end_s)} s"
    if len(spans) > 1:
        used = sum(span.ok for span in spans)
        return f"windows {first.window} to {last.window}: {time}, {used} of {len(spans)} used"
    parts = [f"window {first.window}: {time}"]
    if not first.ok:
        parts.append("not used")
    if first.n_interpolated:
        parts.append(f"{first.n_interpolated} of {first.n_real} frames interpolated")
    if first.n_real < first.n_frames:
        parts.append(f"{first.n_frames - first.n_real} frames of padding")
    return ", ".join(parts)
