"""The report of an evaluation: one HTML file, and the same numbers as JSON and CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from openmarlin.output import part_name
from openmarlin.report import metric_words as words
from openmarlin.report.evaluation_plots import draw
from openmarlin.report.page import write_page
from openmarlin.report.strips import Strip, make_strip
from openmarlin.report.words import Pairs
from openmarlin.tasks.caveats import SEEN
from openmarlin.tasks.evaluation import UNCALIBRATED, Evaluation
from openmarlin.tasks.metrics import name_of, split_name
from openmarlin.tasks.mistakes import Mistake, worst_mistakes
from openmarlin.tasks.resampling import Score
from openmarlin.tasks.scorecard import write_metrics
from openmarlin.video.picture import Image

REPORT_FILE = "report.html"
MAX_MISTAKES = 24

_MAX_LISTED = 200
_CROPS = 4  # of a mistake
_LEVEL_COLUMNS = 5


@dataclass(frozen=True)
class Section:
    """A part of the page that a verb adds.

    Attributes:
        heading: of it.
        body: a plot as SVG or a table, safe to be set into a page.
        note: a sentence below the heading.
    """

    heading: str
    body: Markup
    note: str = ""


@dataclass(frozen=True)
class EvaluationAbout:
    """What a report says of an evaluation beside its numbers.

    Attributes:
        title: the headline.
        facts: name and value of what was judged and how.
        sections: what a verb adds.
        details: settings and the like, titled groups of name and value; see `words.settings`.
        verb: that made it.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = ()
    details: Sequence[tuple[str, Pairs]] = ()
    verb: str = "evaluate"


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    about: EvaluationAbout,
    pictures: Mapping[int, Sequence[Image]] = {},
) -> Path:
    """Write report.html, metrics.json and metrics.csv.

    Args:
        folder: for the files.
        evaluation: what is known.
        about: what the page says beside it.
        pictures: crops, of one size, by the position of a row in `evaluation.predictions.rows`.
    """
    write_metrics(folder, evaluation)
    e, main = evaluation, evaluation.scores[evaluation.main]
    content = {
        "headline": about.title,
        "about": about,
        "evaluation": e,
        "main_title": words.title(e.main),
        "main_value": words.number(main.value),
        "main_note": _main_note(e),
        "facts": _facts(e, about),
        "metrics": [_line(e, name) for name in _overall(e)],
        "levels": _levels(e),
        "outputs": _outputs(e),
        "figures": draw(e),
        "subgroups": _subgroups(e),
        "mistakes": [
            _shown(mistake, pictures) for mistake in worst_mistakes(e.predictions, MAX_MISTAKES)
        ],
        "unseen": list(_unseen(e)),
        "max_listed": _MAX_LISTED,
        "compared": bool(e.differences),
    }
    return write_page(folder / REPORT_FILE, "evaluation.html", content)


def _main_note(e: Evaluation) -> str:
    score, prior = e.scores[e.main], e.prior.get(e.main, math.nan)
    parts = []
    if words.interval(score):
        parts.append(f"95 % interval {words.interval(score)}")
    if math.isfinite(prior):
        parts.append(f"prior {words.number(prior)}")
    return ", ".join(parts) or score.note


def _facts(e: Evaluation, about: EvaluationAbout) -> list[tuple[str, str, str]]:
    counts = e.counts
    rows = [
        ("Rows judged", f"{counts.labelled:,}", f"of {counts.rows:,}"),
        ("Groups", f"{counts.groups:,}", ""),
    ]
    for name, n in (
        ("Without a face", counts.no_face),
        ("Unreadable", counts.unreadable),
        ("Without a prediction", counts.no_answer),
    ):
        if n:
            rows.append((name, f"{n:,}", "they count"))
    return [*rows, *((name, value, "") for name, value in about.facts)]


def _overall(e: Evaluation) -> list[str]:
    """Metrics of no single output, the main one first."""
    names = [name for name in e.scores if not split_name(name)[1]]
    return sorted(names, key=lambda name: name != e.main)


def _line(e: Evaluation, name: str) -> dict[str, Any]:
    score, difference = e.scores[name], e.differences.get(name)
    prior = e.prior.get(name, math.nan)
    return {
        "title": words.title(name),
        "meaning": words.meaning(name),
        "value": words.number(score.value),
        "interval": words.interval(score),
        "prior": words.number(prior),
        "note": score.note,
        "bar": _bar(name, score, prior),
        "other": words.number(e.other[name].value) if name in e.other else "",
        "difference": words.signed(difference) if difference else "",
        "difference_interval": words.interval(difference) if difference else "",
        "certain": difference is not None and _is_certain(difference),
    }


def _is_certain(difference: Score) -> bool:
    return difference.low > 0 or difference.high < 0


def _bar(name: str, score: Score, prior: float = math.nan) -> dict[str, float] | None:
    """Places on a rail, in per cent: the interval, the value, the prior."""
    metric = split_name(name)[0]
    if metric in words.UNBOUNDED or not math.isfinite(score.value):
        return None
    low = -1.0 if metric in words.SIGNED else 0.0

    def place(value: float) -> float:
        return float(np.clip(100 * (value - low) / (1 - low), 0, 100))

    has_interval = math.isfinite(score.low)
    begin, end = (
        (place(score.low), place(score.high)) if has_interval else (place(score.value),) * 2
    )
    bar = {"left": begin, "width": end - begin, "value": place(score.value)}
    return bar | ({"prior": place(prior)} if math.isfinite(prior) else {})


def _levels(e: Evaluation) -> dict[str, Any] | None:
    levels = [level for level in e.levels if level.name != UNCALIBRATED]
    if not levels:
        return None
    names = _overall(e)[:_LEVEL_COLUMNS]
    rows = [("video", len(e.predictions), e.scores), *((v.name, v.n, v.scores) for v in levels)]
    order = {"window": 0, "video": 1, "subject": 2}
    rows.sort(key=lambda row: order.get(row[0], 3))
    return {
        "columns": [words.title(name) for name in names],
        "rows": [(level, n, [_cell(scores[name]) for name in names]) for level, n, scores in rows],
    }


def _cell(score: Score | None) -> tuple[str, str]:
    if score is None:
        return "–", ""
    return words.number(score.value), words.interval(score)


def _outputs(e: Evaluation) -> dict[str, Any] | None:
    """The table of classes, labels or columns."""
    metrics = list(dict.fromkeys(metric for metric, output in map(split_name, e.scores) if output))
    if not metrics:
        return None
    rows = []
    for output in e.target.classes:
        scores = [e.scores.get(name_of(metric, output)) for metric in metrics]
        note = next((s.note for s in scores if s and not math.isfinite(s.value)), "")
        rows.append((output, e.counts.of_class[output], [_cell(s) for s in scores], note))
    names = {"multilabel": "label", "regression": "column"}
    return {
        "what": names.get(e.target.kind, "class"),
        "columns": [words.title(metric) for metric in metrics],
        "rows": rows,
    }


def _subgroups(e: Evaluation) -> list[dict[str, Any]]:
    second = next((name for name in _overall(e) if name.startswith("accuracy")), e.main)
    names = list(dict.fromkeys([e.main, second]))
    tables: dict[str, list[dict[str, Any]]] = {}
    for part in e.subgroups:
        shown = [name for name in names if name in part.scores]
        tables.setdefault(part.column, []).append(
            {
                "value": part.value,
                "n": part.n,
                "n_groups": part.n_groups,
                "cells": [
                    {
                        "score": _cell(part.scores[name]),
                        "bar": _bar(name, part.scores[name]),
                        "difference": words.signed(part.differences[name])
                        if name in part.differences
                        else "",
                        "interval": words.interval(part.differences[name])
                        if name in part.differences
                        else "",
                        "certain": name in part.differences and _is_certain(part.differences[name]),
                        "note": part.scores[name].note,
                    }
                    for name in shown
                ],
            }
        )
    titles = [words.title(name) for name in names]
    return [{"column": column, "titles": titles, "rows": rows} for column, rows in tables.items()]


def _shown(
    mistake: Mistake, pictures: Mapping[int, Sequence[Image]]
) -> tuple[Mistake, Strip | None]:
    crops = pictures.get(mistake.place, ())
    return mistake, make_strip(np.stack(crops), None, _CROPS) if len(crops) else None


def _unseen(e: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Rows that were not judged by a face: title, state, reason."""
    for row, state in zip(e.predictions.rows, e.states, strict=True):
        if state != SEEN:
            reason = e.predictions.problems.get(part_name(str(row.video), row.part), "")
            yield row.title, state, reason
