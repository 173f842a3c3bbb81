"""Answers over time, ready for a page: curves, or strips of classes, along a time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openmarlin.report.answers import MOST_OUTPUTS, Wording
from openmarlin.report.figure import face_colours
from openmarlin.report.timeline import Axis, clock
from openmarlin.tasks.labels import Values

MAX_BLOCKS = 200  # of more windows, neighbours are averaged
MAX_CLASSES = 10  # strips under one another
HEIGHT = 100  # of a chart's own units
_TOUCH = 0.05  # of a window: times in a container are rounded


@dataclass(frozen=True, slots=True)
class Curve:
    """One output over time.

    Attributes:
        name: of the output.
        colour: hex.
        path: SVG path in units of 0.1 % of the axis and `HEIGHT` from top to bottom.
        area: the same, closed along the bottom; empty where several curves share a chart.
        limit: height at which a yes begins, in the same units; None for no such thing.
    """

    name: str
    colour: str
    path: str
    area: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A box on the axis, percent; `share` is the probability, `decided` that it won."""

    left: float
    width: float
    share: float
    decided: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """One class over time."""

    name: str
    colour: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Hint:
    """What a pointer over a block is told."""

    left: float
    width: float
    text: str


@dataclass(slots=True)
class Chart:
    """The answers to one face over time.

    Attributes:
        curves, strips: one of them is empty.
        hints: one a block.
        ticks: (percent from the top, label) of the values.
        outputs: positions of those on show.
        share: windows in one block.
    """

    outputs: list[int]
    hints: list[Hint]
    curves: list[Curve] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    share: int = 1


@dataclass(frozen=True)
class _Blocks:
    """Windows in the order of time, neighbours averaged where there are many.

    Attributes:
        starts, ends: percent of the axis (n,).
        answers: (n, C).
        times: as they are said.
    """

    starts: Values
    ends: Values
    answers: Values
    times: list[str]


def shown_outputs(wording: Wording, answers: Values) -> list[int]:
    """Which outputs are drawn of a video's windows (n, C): all, or those of the largest mean.

    Of probabilities over classes that have an order, the order stays.
    """
    most = MAX_CLASSES if wording.target.is_one_of else MOST_OUTPUTS
    means = answers.mean(axis=0) if len(answers) else np.zeros(len(wording.outputs))
    return sorted(np.argsort(-means, kind="stable")[:most].tolist())


def make_chart(
    wording: Wording,
    outputs: Sequence[int],
    windows: Values,
    answers: Values,
    axis: Axis,
    colour: str,
    extent: tuple[float, float] = (0.0, 1.0),
) -> Chart:
    """The chart of one face.

    Args:
        wording: of the answers.
        outputs: positions of those to draw.
        windows: start and end (n, 2) in seconds, in the order of time.
        answers: (n, C), finite.
        axis: of the video.
        colour: of the face; outputs have colours of their own where there are several.
        extent: lowest and highest value, where that is not 0 and 1.
    """
    share = max(1, -(-len(answers) // MAX_BLOCKS))
    blocks = _blocks(windows, answers, axis, share)
    hints = [
        Hint(left, right - left, _hint(wording, outputs, answer, time))
        for left, right, answer, time in zip(
            blocks.starts.tolist(), blocks.ends.tolist(), blocks.answers, blocks.times, strict=True
        )
    ]
    chart = Chart(list(outputs), hints, share=share)
    colours = [colour] if len(wording.outputs) == 1 else face_colours(len(outputs))
    if wording.target.is_one_of:
        decided = [wording.decided(answer) for answer in blocks.answers]
        chart.strips = [
            Strip(wording.outputs[i], tint, _cells(blocks, i, decided))
            for i, tint in zip(outputs, colours, strict=True)
        ]
        return chart
    low, high = extent
    middle = (low + high) / 2
    is_share = wording.target.kind != "regression"
    for top, value in ((0, high), (50, middle), (100, low)):
        chart.ticks.append((top, wording.number(value) if is_share else f"{value:.2g}"))
    for i, tint in zip(outputs, colours, strict=True):
        heights = HEIGHT * (1 - (blocks.answers[:, i] - low) / (high - low))
        limit = wording.limit(i)
        height = HEIGHT * (1 - limit) if np.isfinite(limit) else None
        path = _steps(blocks, heights)
        area = _area(path) if len(outputs) == 1 else ""
        chart.curves.append(Curve(wording.outputs[i], tint, path, area, height))
    return chart


def _blocks(windows: Values, answers: Values, axis: Axis, share: int) -> _Blocks:
    """A window that overlaps the next ends where that begins: what is drawn does not overlap."""
    firsts = np.arange(0, len(answers), share)
    lasts = np.minimum(firsts + share, len(answers)) - 1
    starts_s, ends_s = windows[firsts, 0], windows[lasts, 1]
    nearly_s = _TOUCH * (ends_s - starts_s)
    following_s = np.append(starts_s[1:], np.inf)
    ends_s = np.where(ends_s > following_s - nearly_s, following_s, ends_s)
    if len(ends_s):
        ends_s[-1] = windows[lasts[-1], 1]
    means = np.add.reduceat(answers, firsts) / (lasts - firsts + 1)[:, None]
    times = [
        f"{clock(a)}–{clock(b)} s" for a, b in zip(starts_s.tolist(), ends_s.tolist(), strict=True)
    ]
    percents = [np.array([axis.percent(t) for t in array.tolist()]) for array in (starts_s, ends_s)]
    return _Blocks(percents[0], percents[1], means, times)


def _hint(wording: Wording, outputs: Sequence[int], answer: Values, time: str) -> str:
    said = [f"{wording.outputs[i]} {wording.number(float(answer[i]))}" for i in outputs]
    return f"{time}: {', '.join(said)}"


def _cells(blocks: _Blocks, output: int, decided: Sequence[int]) -> list[Cell]:
    return [
        Cell(left, max(right - left, 0.15), round(share, 4), won == output)
        for left, right, share, won in zip(
            blocks.starts.tolist(),
            blocks.ends.tolist(),
            blocks.answers[:, output].tolist(),
            decided,
            strict=True,
        )
    ]


def _steps(blocks: _Blocks, heights: Values) -> str:
    """A level line for every block, joined where one follows on the other."""
    path = ""
    before = -1.0
    for left, right, height in zip(blocks.starts, blocks.ends, heights, strict=True):
        joined = path and left == before
        path += f"{'L' if joined else 'M'}{10 * left:.0f} {height:.1f}H{10 * right:.0f}"
        before = right
    return path


def _area(path: str) -> str:
    """What lies under a path of `_steps`."""
    runs = (run for run in path.split("M") if run)
    return "".join(f"M{run.split()[0]} {HEIGHT}L{run}V{HEIGHT}Z" for run in runs)
