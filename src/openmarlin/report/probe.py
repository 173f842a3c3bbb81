"""What the report of a probe says beside its evaluation: what was tried, and fewer labels."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from openmarlin.files import atomic
from openmarlin.report import metric_words
from openmarlin.report.evaluation import Section
from openmarlin.report.figure import Curve
from openmarlin.report.plots import curves_svg, percent
from openmarlin.tasks.labels import Target
from openmarlin.tasks.metrics import MAIN_METRIC, split_name
from openmarlin.tasks.probe import Draw
from openmarlin.tasks.selection import Fitted, Trial

SHARES_FILE = "shares.csv"

_AXES = {"C": "C, the inverse of the penalty", "alpha": "alpha, the penalty", "epoch": "epoch"}


def sections(fitted: Fitted, draws: Sequence[Draw], target: Target) -> list[Section]:
    """The sections of a probe's report."""
    shown = [tried_section(fitted, target)]
    return [*shown, shares_section(draws, target)] if len(draws) > 1 else shown


def tried_section(fitted: Fitted, target: Target) -> Section:
    """How well every setting did on validation."""
    metric = metric_words.title(MAIN_METRIC[target.kind])
    settings = fitted.settings.items()
    chosen = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in settings)
    note = (
        f"{metric} on the validation rows of {len(fitted.trials)} settings. Chosen: {chosen}, "
        f"{metric_words.number(fitted.score)}. Of equal ones the one with the least loss is "
        "taken. That number is the best of many and flatters; those of test above do not."
    )
    numbers = [name for name in _AXES if name in fitted.settings]
    if not numbers:
        return Section("Tried on validation", _trial_table(fitted, metric), note)
    (name,) = numbers
    svg = curves_svg(
        _trial_curves(fitted.trials, name),
        "tried",
        x=_AXES[name],
        y=metric,
        x_logarithmic=name != "epoch",
    )
    return Section("Tried on validation", figure(svg, f"{metric} over {_AXES[name]}"), note)


def _trial_curves(trials: Sequence[Trial], name: str) -> dict[str, Curve]:
    """A curve for each combination of the other settings."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        others = [str(value) for key, value in trial.settings.items() if key != name]
        lines.setdefault(", ".join(others), []).append((trial.settings[name], trial.score))
    curves = {}
    for label, points in lines.items():
        x, y = np.array(points, float).T
        curves[label] = (x, y)
    return curves


def _trial_table(fitted: Fitted, metric: str) -> Markup:
    """A column for each value of the last setting; a row for each of the others."""
    *first, last = fitted.settings
    columns = list(dict.fromkeys(trial.settings[last] for trial in fitted.trials))
    cells: dict[str, dict[Any, Markup]] = {}
    for i, trial in enumerate(fitted.trials):
        name = ", ".join(f"{key} {_text(trial.settings[key])}" for key in first) or metric
        mark = Markup("<b>{}</b>" if i == fitted.best else "{}")
        cells.setdefault(name, {})[trial.settings[last]] = mark.format(
            metric_words.number(trial.score)
        )
    rows = [[name, *(row.get(column, "") for column in columns)] for name, row in cells.items()]
    words = last.replace("_", " ")
    return table(["", *(f"{words} {_text(column)}" for column in columns)], rows)


def shares_section(draws: Sequence[Draw], target: Target) -> Section:
    """How well it does with fewer labels: a curve with its spread, and a table."""
    main = MAIN_METRIC[target.kind]
    title = metric_words.title(main)
    summary = list(summarise(draws, main))
    body = Markup("")
    finite = [row for row in summary if math.isfinite(row["mean"])]
    if finite:
        x = np.array([row["rows"] for row in finite], float)
        y = np.array([row["mean"] for row in finite])
        spread = np.array([row["deviation"] for row in finite])
        svg = curves_svg(
            {title: (x, y)},
            "shares",
            x="training videos",
            y=title,
            x_logarithmic=True,
            spreads={title: np.nan_to_num(spread)},
        )
        body += figure(svg, f"{title} over the number of training videos")
    rows = [
        [
            percent(row["share"]),
            f"{row['rows']:,}",
            f"{row['draws']}" + (f" ({row['failed']} failed)" if row["failed"] else ""),
            *(metric_words.number(row[key]) for key in ("mean", "deviation", "lowest", "highest")),
        ]
        for row in summary
    ]
    head = ["Share", "Training videos", "Draws", title, "Deviation", "Lowest", "Highest"]
    note = (
        f"{title} on the same test videos; each draw chooses its settings on validation anew. A "
        "draw of a smaller share lies within that of a larger one. Bars are one standard deviation "
        "over draws. Validation stays whole, so small shares have more help than their name says."
    )
    problems = {f"{percent(d.share)}, draw {d.draw + 1}": d.problem for d in draws if d.problem}
    failed = [[name, problem] for name, problem in problems.items()]
    body += table(head, rows)
    if failed:
        body += table(["Failed", "Why"], failed)
    return Section("With fewer labels", body, note)


def summarise(draws: Sequence[Draw], metric: str) -> Iterator[dict[str, Any]]:
    """Mean and spread of a metric for every share, large ones first; NaN where no draw has it."""
    for share in dict.fromkeys(draw.share for draw in draws):
        some = [draw for draw in draws if draw.share == share]
        values = np.array([draw.metrics.get(metric, math.nan) for draw in some])
        values = values[np.isfinite(values)]
        yield {
            "share": share,
            "rows": some[0].rows,
            "draws": len(some),
            "failed": sum(bool(draw.problem) for draw in some),
            "metric": metric,
            "mean": float(values.mean()) if len(values) else math.nan,
            "deviation": float(values.std(ddof=1)) if len(values) > 1 else math.nan,
            "lowest": float(values.min()) if len(values) else math.nan,
            "highest": float(values.max()) if len(values) else math.nan,
        }


def write_shares(path: Path, draws: Sequence[Draw]) -> None:
    """A row a draw: share, rows, what was chosen, all metrics of no single output."""
    metrics = list(dict.fromkeys(n for d in draws for n in d.metrics if not split_name(n)[1]))
    settings = list(dict.fromkeys(name for draw in draws for name in draw.settings))
    with (
        atomic(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["share", "draw", "rows", *settings, *metrics, "problem"])
        for draw in draws:
            numbers = [draw.metrics.get(name, math.nan) for name in metrics]
            cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
            chosen = [draw.settings.get(name, "") for name in settings]
            rows.writerow([draw.share, draw.draw, draw.rows, *chosen, *cells, draw.problem])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table for a page."""
    cells = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in head)
    lines = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(value) for value in row)
        )
        for row in rows
    )
    return Markup(
        '<div class="scroll"><table class="numbers"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(cells, lines)


def figure(svg: str, label: str) -> Markup:
    """A plot for a page."""
    return Markup('<div class="plot" role="img" aria-label="{}">{}</div>').format(
        label, Markup(svg)
    )


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def as_json(fitted: Fitted, draws: Sequence[Draw], target: Target) -> Mapping[str, Any]:
    """What metrics.json says of a probe beside its evaluation; what is not defined is null."""
    metric = MAIN_METRIC[target.kind]
    shares = [
        {key: None if _is_nan(value) else value for key, value in row.items()}
        for row in summarise(draws, metric)
    ]
    return {
        "chosen": fitted.settings,
        "validation": {"metric": metric, "value": fitted.score, "tried": len(fitted.trials)},
        "shares": shares,
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
