"""The table and the curves of a model under corruptions, for the report of an evaluation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from openmarlin.files import atomic
from openmarlin.report import metric_words as words
from openmarlin.report.evaluation import Section
from openmarlin.report.plots import curves_svg
from openmarlin.report.probe import figure, table
from openmarlin.tasks.evaluation import Evaluation
from openmarlin.tasks.robustness import Robustness

ROBUSTNESS_FILE = "robustness.csv"


def robustness_section(evaluation: Evaluation, results: Sequence[Robustness]) -> Section:
    """A line a corruption: the main metric at every level, and what is lost."""
    main, clean = evaluation.main, evaluation.scores[evaluation.main].value
    title = words.title(main)
    body = Markup("")
    names = list(dict.fromkeys(r.condition.name for r in results if r.condition.level))
    if names:
        curves = {}
        for name in names:
            own = [r for r in results if r.condition.name == name]
            levels = [0.0, *(float(r.condition.level) for r in own)]
            curves[name] = (np.array(levels), np.array([clean, *(r.score.value for r in own)]))
        body += figure(curves_svg(curves, "robustness", x="level", y=title), f"{title} by level")
    note = (
        f"{title} of the same rows; {words.number(clean)} as they are. Below it the difference, "
        "with its interval on the same resamples."
    )
    return Section("Corrupted videos", body + _table(results), note)


def _table(results: Sequence[Robustness]) -> Markup:
    lines: dict[str, list[Robustness]] = {}
    for result in results:
        lines.setdefault(result.condition.name, []).append(result)
    most = max(len(line) for line in lines.values())
    head = ["Corruption", *(f"Level {i + 1}" if most > 1 else "" for i in range(most))]
    rows = [[name, *map(_cell, line), *[""] * (most - len(line))] for name, line in lines.items()]
    return table(head, rows)


def _cell(result: Robustness) -> Markup:
    difference = words.signed(result.difference)
    interval = words.interval(result.difference)
    return Markup("{}<small>{}{}</small>").format(
        words.number(result.score.value), difference, f" ({interval})" if interval else ""
    )


def write_robustness(path: Path, metric: str, results: Sequence[Robustness]) -> Path:
    """robustness.csv: corruption, level, metric, value, low, high, and those of the difference."""
    head = ["corruption", "level", "metric", "value", "low", "high"]
    head += ["difference", "difference_low", "difference_high"]
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(head)
        for result in results:
            numbers = [
                getattr(score, name)
                for score in (result.score, result.difference)
                for name in ("value", "low", "high")
            ]
            cells = ["" if np.isnan(number) else f"{number:.6g}" for number in numbers]
            rows.writerow([*result.condition, metric, *cells])
    return path
