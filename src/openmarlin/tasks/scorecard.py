"""An evaluation as JSON and as a table: the same numbers, each with where it belongs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openmarlin.files import atomic, write_json
from openmarlin.tasks.evaluation import Evaluation
from openmarlin.tasks.metrics import split_name
from openmarlin.tasks.resampling import Score

METRICS_JSON, METRICS_CSV = "metrics.json", "metrics.csv"

_COLUMNS = (
    "level", "column", "group", "output", "metric", "n", "value", "low", "high", "prior", "other",
    "difference", "difference_low", "difference_high", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One number of an evaluation.

    Attributes:
        level: video, window, subject; or subgroup.
        column: of a subgroup; or empty.
        group: the value of the column; or empty.
        name: of the metric.
        n: rows, windows or subjects behind it.
        score: the number.
        prior: what the answer that knows nothing scores; NaN where it was not asked.
        other: what the other model scores.
        difference: from the other model or, of a subgroup, from all other rows.
    """

    level: str
    column: str
    group: str
    name: str
    n: int
    score: Score
    prior: float = math.nan
    other: Score | None = None
    difference: Score | None = None


def entries(evaluation: Evaluation) -> Iterator[Entry]:
    """All numbers of an evaluation."""
    e, n = evaluation, len(evaluation.predictions)
    for name, score in e.scores.items():
        prior, other = e.prior.get(name, math.nan), e.other.get(name)
        yield Entry("video", "", "", name, n, score, prior, other, e.differences.get(name))
    for level in e.levels:
        for name, score in level.scores.items():
            yield Entry(level.name, "", "", name, level.n, score)
    for part in e.subgroups:
        for name, score in part.scores.items():
            difference = part.differences.get(name)
            where = ("subgroup", part.column, part.value)
            yield Entry(*where, name, part.n, score, difference=difference)


def write_metrics(folder: Path, evaluation: Evaluation) -> None:
    """metrics.json and metrics.csv."""
    write_json(folder / METRICS_JSON, as_json(evaluation))
    with (
        atomic(folder / METRICS_CSV) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        table.writerows(_cells(entry) for entry in entries(evaluation))


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """JSON values; a number that is not defined is null, and its note says why."""
    e = evaluation
    content: dict[str, Any] = {
        "target": e.target.as_dict(),
        "main": e.main,
        "counts": asdict(e.counts),
        "prior_source": e.prior_source,
        "resamples": e.resamples,
        "seed": e.seed,
        "thresholds": list(e.predictions.thresholds),
        "notes": list(e.notes),
        "metrics": {},
        "outputs": {},
        "levels": {level.name: {"n": level.n, "metrics": {}, "outputs": {}} for level in e.levels},
        "subgroups": {},
    }
    for entry in entries(e):
        place = content
        if entry.level == "subgroup":
            values = content["subgroups"].setdefault(entry.column, {})
            place = values.setdefault(entry.group, {"n": entry.n, "metrics": {}, "outputs": {}})
        elif entry.level != "video":
            place = content["levels"][entry.level]
        metric, output = split_name(entry.name)
        table = place["outputs"].setdefault(output, {}) if output else place["metrics"]
        table[metric] = _values(entry)
    return content


def _values(entry: Entry) -> dict[str, Any]:
    """The numbers of an entry that there are."""
    score = entry.score
    values: dict[str, Any] = {
        "value": score.value, "low": score.low, "high": score.high, "prior": entry.prior
    }  # fmt: skip
    if entry.other is not None:
        values["other"] = entry.other.value
    if entry.difference is not None:
        values["difference"] = entry.difference.value
        values["difference_low"] = entry.difference.low
        values["difference_high"] = entry.difference.high
    values = {key: value if math.isfinite(value) else None for key, value in values.items()}
    values = {k: v for k, v in values.items() if v is not None or k in ("value", "low", "high")}
    return values | ({"note": score.note} if score.note else {})


def _cells(entry: Entry) -> list[Any]:
    metric, output = split_name(entry.name)
    values: Mapping[str, Any] = _values(entry)
    numbers = [values.get(name) for name in _COLUMNS[6:]]
    where = [entry.level, entry.column, entry.group, output, metric, entry.n]
    return [*where, *("" if value is None else value for value in numbers)]
