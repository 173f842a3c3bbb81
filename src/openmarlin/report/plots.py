"""Pictures drawn with matplotlib, as SVG to be set into a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from openmarlin.report.figure import (
    DASHES,
    DISTINCT,
    FEW_POINTS,
    INK,
    PALETTE,
    Curve,
    Values,
    as_svg,
    draw_grid,
    draw_legend,
    draw_line,
    dress,
    legend_columns,
    new_figure,
)
from openmarlin.report.stats import Plane

_MARKERS = "os^Dv"
_POSITIVE, _NEGATIVE = "#3b82c4", "#e07b39"
_STRONGEST = 0.72  # opacity of a cosine of 1: numbers on it stay readable
_VECTOR_POINTS = 1500  # beyond it points are drawn as one image
_CURVE_POINTS = 500
_LEAST_SPAN = 10.0  # of an axis of degrees: noise shall look like noise
_FEW_PLACES = 8
_LEVEL_NAMES = 5  # below a matrix; more are turned


def map_svg(plane: Plane, faces: npt.NDArray[np.intp], colours: Sequence[str]) -> str:
    """The windows on their principal plane: a point a window, faces (W,) index `colours`.

    A few faces are told apart by marker and number too, and a line follows each through time.
    """
    figure, axes = new_figure(4.4, 4.0)
    tint = np.array(colours)[faces]
    x, y = plane.xy.T
    if len(colours) > DISTINCT:
        axes.scatter(x, y, s=9, c=tint, linewidths=0, rasterized=len(x) > _VECTOR_POINTS)
    else:
        _draw_paths(axes, x, y, faces, colours)
    for name, axis, share in zip("xy", (axes.xaxis, axes.yaxis), plane.explained, strict=True):
        number = 1 if name == "x" else 2
        axis.set_label_text(f"component {number} ({percent(share)} of variance)")
    axes.margins(0.08)
    draw_grid(axes)
    return as_svg(figure, "map")


def percent(share: float) -> str:
    """A share of the whole, with a decimal where it is small: 34 %, 0.6 %."""
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def _draw_paths(
    axes: Axes,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    faces: npt.NDArray[np.intp],
    colours: Sequence[str],
) -> None:
    vector = len(x) <= _VECTOR_POINTS
    for face in np.unique(faces):
        px, py = x[faces == face], y[faces == face]
        style = {"color": colours[face], "rasterized": not vector}
        axes.plot(px, py, linewidth=0.8, alpha=0.35, **style)
        marker = _MARKERS[face % len(_MARKERS)]
        axes.plot(px, py, marker, markersize=5.5, markeredgewidth=0, alpha=0.9, **style)
    for face in np.unique(faces):
        rows = np.flatnonzero(faces == face)
        axes.annotate(
            str(face + 1),
            (x[rows[0]], y[rows[0]]),
            (5, 4),
            textcoords="offset points",
            color=INK,
            weight="bold",
            size=8,
        )


def similarity_svg(
    matrix: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]
) -> str:
    """A cosine matrix (F, F) with its labels; the values are written while they fit."""
    tints = [
        mpl.colors.to_rgba(_POSITIVE if value >= 0 else _NEGATIVE, abs(value) * _STRONGEST)
        for value in matrix.flat
    ]
    figure, axes = new_figure(4.4, 4.0)
    _draw_cells(axes, tints, [_cosine(value) for value in matrix.flat], rows, columns)
    axes.xaxis.tick_top()
    return as_svg(figure, "similarity")


def confusion_svg(counts: npt.NDArray[np.float64], names: Sequence[str], name: str) -> str:
    """How often each class (a row) was answered with which (a column), counts (C, C).

    Tinted by the share of the row; the counts are written while they fit.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(counts), dtype=bool)
    tints = [
        mpl.colors.to_rgba(_POSITIVE if is_right else _NEGATIVE, share * _STRONGEST)
        for share, is_right in zip(shares.flat, right.flat, strict=True)
    ]
    figure, axes = new_figure(4.4, 4.2)
    _draw_cells(axes, tints, [f"{count:,.0f}" for count in counts.flat], names, names)
    if len(names) > _LEVEL_NAMES:
        axes.tick_params(axis="x", labelrotation=60)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set(xlabel="answered", ylabel="true")
    return as_svg(figure, name)


def _draw_cells(
    axes: Axes,
    tints: Sequence[Any],
    texts: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """A square of tinted cells, row by row, with what they say while it fits."""
    count = len(rows)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.47
    cells = [corners + np.array([column, row]) for row in range(count) for column in range(count)]
    axes.add_collection(PolyCollection(cells, facecolors=tints, linewidths=0))
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    if count <= DISTINCT:
        digits = 9.0 if count <= 3 else 7.5 if count <= 8 else 6.0
        for (row, column), text in zip(np.ndindex(count, count), texts, strict=True):
            axes.text(column, row, text, ha="center", va="center", size=digits, color=INK)
    size = 8.0 if count <= DISTINCT else 6.0
    axes.set_yticks(range(count), rows, size=size, parse_math=False)
    axes.set_xticks(range(count), columns, size=size, rotation=0 if count <= DISTINCT else 90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def scatter_svg(x: Values, y: Values, name: str, *, x_label: str, y_label: str) -> str:
    """Points on one scale for both axes, and the line on which both are equal."""
    figure, axes = new_figure(4.4, 4.0)
    style: Any = {"markersize": 4, "markeredgewidth": 0, "alpha": 0.45, "color": PALETTE[0]}
    axes.plot(x, y, "o", rasterized=len(x) > _VECTOR_POINTS, **style)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    axes.margins(0.05)
    axes.axline((low, low), slope=1, color=INK, alpha=0.4, linewidth=0.8, linestyle="--")
    room = 0.04 * (high - low) or 1.0
    axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room), aspect="equal")
    axes.set(xlabel=x_label, ylabel=y_label)
    draw_grid(axes)
    return as_svg(figure, name)


def curves_svg(
    curves: Mapping[str, Curve],
    name: str,
    *,
    x: str = "step",
    y: str = "",
    logarithmic: bool = False,
    share: bool = False,
    x_logarithmic: bool = False,
    spreads: Mapping[str, Values] = {},
) -> str:
    """Values over steps or another quantity, a line each; long ones as means of neighbours.

    Args:
        curves: label -> places (n,) and values (n,); what is not finite is left out.
        name: keeps the ids of several pictures on one page apart.
        x: what the places are; steps are whole numbers.
        y: what the values are.
        logarithmic: where all values are positive.
        share: the values are parts of a whole, shown from 0 to 100 %.
        x_logarithmic: the places are positive, and shown by their magnitude.
        spreads: label -> (n,) how far values reach up and down.
    """
    figure, axes = new_figure(4.4, 2.9)
    for number, (label, (steps, values)) in enumerate(curves.items()):
        finite = np.isfinite(values)
        if label in spreads:
            style: Any = {"ecolor": PALETTE[number % DISTINCT], "elinewidth": 1, "capsize": 3}
            axes.errorbar(steps, values, spreads[label], fmt="none", **style)
        draw_line(axes, number, label, _thinned(steps[finite], values[finite]), dots=True)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    if share:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel=x, ylabel=y)
    if x_logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        places = np.unique(np.concatenate([places for places, _ in curves.values()]))
        if len(places) <= _FEW_PLACES:  # a few quantities, not a grid over many magnitudes
            axes.set_xticks(places, [f"{place:g}" for place in places])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=x == "step"))
    draw_grid(axes)
    draw_legend(axes, len(curves))
    return as_svg(figure, name)


def square_svg(
    curves: Mapping[str, Curve],
    name: str,
    *,
    x: str,
    y: str,
    diagonal: bool = False,
    dots: bool = False,
    marks: Sequence[tuple[float, float]] = (),
) -> str:
    """Curves of two shares of a whole, such as a ROC curve, in a square from 0 to 1.

    Args:
        curves: label -> places (n,) and values (n,); what is not finite is left out.
        name: keeps the ids of several pictures on one page apart.
        x: what the places are.
        y: what the values are.
        diagonal: draw the line on which both are equal.
        dots: mark the points of a curve, while they are few.
        marks: points of note.
    """
    rows_of_names = 0 if len(curves) == 1 else -(-len(curves) // legend_columns(len(curves)))
    figure, axes = new_figure(4.4, 4.1 + 0.17 * rows_of_names)
    if diagonal:
        axes.plot((0, 1), (0, 1), color=INK, alpha=0.4, linewidth=0.8, linestyle="--")
    for number, (label, curve) in enumerate(curves.items()):
        places, values = curve
        finite = np.flatnonzero(np.isfinite(values) & np.isfinite(places))
        kept = finite[:: max(1, len(finite) // _CURVE_POINTS)]
        kept = np.union1d(kept, finite[-1:])
        draw_line(axes, number, label, (places[kept], values[kept]), dots=dots)
    for place, value in marks:
        axes.plot(place, value, "o", color=INK, markersize=6, fillstyle="none", clip_on=False)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x, ylabel=y)
    draw_grid(axes)
    draw_legend(axes, len(curves))
    return as_svg(figure, name)


def time_svg(
    times_s: Values, panels: Mapping[str, Mapping[str, Values]], name: str, *, share: str = ""
) -> str:
    """Panels below each other over one axis of time; where nothing was measured, lines break.

    Args:
        times_s: (n,) ascending, one at least.
        panels: title of the value axis -> label -> values (n,), NaN for what is missing.
        name: keeps the ids of several pictures on one page apart.
        share: the panel whose values lie between 0 and 1.
    """
    figure = Figure(figsize=(8.4, 1.75 * len(panels)), layout="constrained")
    figure.patch.set_alpha(0)
    every: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, curves) in zip(every, panels.items(), strict=True):
        dress(axes)
        for number, (label, values) in enumerate(curves.items()):
            x, y = _thinned(times_s, values)
            colour, dash = PALETTE[number % DISTINCT], DASHES[number % len(DASHES)]
            style: Any = {"color": colour, "linestyle": dash, "markersize": 3}
            marker = "." if len(x) <= FEW_POINTS else ""
            axes.plot(x, y, linewidth=1.2, marker=marker, label=label, **style)
        axes.set_ylabel(title)
        low, high = axes.get_ylim()
        middle, half = (low + high) / 2, max((high - low) / 2, _LEAST_SPAN / 2)
        axes.set_ylim((0, max(0.25, high)) if title == share else (middle - half, middle + half))
        axes.set_xlim(times_s[0], max(times_s[-1], times_s[0] + 1e-3))
        draw_grid(axes)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        beside: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "borderaxespad": 0.4}
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.8, **beside)
    every[-1].set_xlabel("time (s)")
    return as_svg(figure, name)


def _thinned(x: Values, y: Values) -> Curve:
    """At most `_CURVE_POINTS` points, means of as many neighbours each; NaN where all are."""
    size = -(-len(x) // _CURVE_POINTS)
    if size <= 1:
        return x, y
    starts, finite = np.arange(0, len(x), size), np.isfinite(y)
    counts = np.diff(np.append(starts, len(x)))
    sums, known = np.add.reduceat(np.where(finite, y, 0), starts), np.add.reduceat(finite, starts)
    means = np.divide(sums, known, out=np.full(len(starts), np.nan), where=known > 0)
    return np.add.reduceat(x, starts) / counts, means


def _cosine(value: float) -> str:
    """Two places, without a leading zero or a minus before nothing: .83, -.07, 0, 1."""
    text = f"{value:.2f}".replace("0.", ".").replace("-", "−")
    return {"1.00": "1", "−1.00": "−1", ".00": "0", "−.00": "0"}.get(text, text)
