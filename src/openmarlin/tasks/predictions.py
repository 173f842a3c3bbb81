"""Predictions beside the labels they should match: in memory, and as predictions.csv.

A row a video (or part of one): `video, start_s, end_s, split, group`, the label columns, what is
predicted (`predicted_NAME`), the probabilities (`p_OUTPUT`), and whether a face was seen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row, display, read_manifest
from openmarlin.errors import InputError
from openmarlin.output import atomic
from openmarlin.settings import nearest
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.model import decide

PREDICTIONS_FILE = "predictions.csv"
SEEN_COLUMN = "face_seen"
_ROW_COLUMNS = ("start_s", "end_s", "split", "group")


@dataclass(frozen=True)
class Predictions:
    """What was said of rows, and what is true of them.

    Attributes:
        target: what was to be predicted.
        rows: N rows of the manifest.
        labels: (N, K), see `Target.encode`; NaN where a row has none.
        scores: (N, C) probabilities, or values of a regression. Rows without a face have the score
            they are counted with: the prior.
        seen: (N,) whether there was a face to judge by.
        thresholds: from which probability on a yes is a yes, one an output.
        problems: (video, reason) of what could not be read.
    """

    target: Target
    rows: Sequence[Row]
    labels: Values
    scores: Values
    seen: NDArray[np.bool_]
    thresholds: tuple[float, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def decisions(self) -> Values:
        """(N, K) predicted labels."""
        return decide(self.scores, self.target, self.thresholds)

    def part(self, split: str) -> Predictions:
        """Those of the rows of one part."""
        return self.take(np.flatnonzero([row.split == split for row in self.rows]))

    def take(self, places: NDArray[np.intp]) -> Predictions:
        """Those of some rows."""
        rows = [self.rows[i] for i in places]
        return Predictions(
            self.target,
            rows,
            self.labels[places],
            self.scores[places],
            self.seen[places],
            self.thresholds,
            self.problems,
        )

    def columns(self) -> dict[str, list[Any]]:
        """Those of predictions.csv by name, N values each; None where there is none."""
        rows, target = self.rows, self.target
        return {
            "video": [display(row.video.absolute()) for row in rows],
            **{name: [getattr(row, name) for row in rows] for name in _ROW_COLUMNS},
            **{name: [row.labels.get(name, "") for row in rows] for name in target.columns},
            **answer_columns(target, self.scores, self.thresholds),
            SEEN_COLUMN: [int(seen) for seen in self.seen],
        }

    def write(self, path: Path, more: Mapping[str, Sequence[Any]] | None = None) -> Path:
        """predictions.csv, whole or not at all; paths of videos are absolute.

        Args:
            path: of the file.
            more: columns to stand behind the others, N values each.
        """
        columns = self.columns()
        for name in answer_columns(self.target, self.scores, self.thresholds):
            columns[name] = [_text(value) for value in columns[name]]
        columns |= {name: list(values) for name, values in (more or {}).items()}
        with (
            atomic(path) as part,
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))
        return path


def answer_columns(
    target: Target, scores: Values, thresholds: Sequence[float] = ()
) -> dict[str, list[Any]]:
    """Answers (n, C) as columns of a table, by name.

    `predicted_NAME` holds what is decided, in the words of the labels and empty where there is no
    answer, and `p_OUTPUT` the probabilities. Of a regression `predicted_NAME` holds the quantities.
    Where there is no answer, numbers are None.
    """
    numbers = [[float(x) if math.isfinite(x) else None for x in column] for column in scores.T]
    if target.kind == "regression":
        return {f"predicted_{name}": n for name, n in zip(target.outputs, numbers, strict=True)}
    words = [target.words(label) for label in decide(scores, target, thresholds)]
    names = target.values if len(target.values) > 1 else target.columns
    columns: dict[str, list[Any]] = {
        f"predicted_{name}": [word[k] for word in words] for k, name in enumerate(names)
    }
    return columns | {f"p_{name}": n for name, n in zip(target.outputs, numbers, strict=True)}


def _text(value: str | float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def read_predictions(path: Path, target: Target, rows: Sequence[Row]) -> Predictions:
    """Anybody's predictions for the rows of a manifest.

    Args:
        path: a CSV with a `video` column and `p_OUTPUT` (or, for a regression, `predicted_NAME`)
            for every output; for a single output also `score` or `p`.
        target: what they predict.
        rows: with labels; each is looked up by its video (and part).

    Raises:
        InputError: a column is missing, a value is none, or no row of the manifest is predicted.
    """
    table = read_manifest(path).rows
    columns = _score_columns(path, target, table)
    by_key = {row.key: row for row in table}
    scores = np.full((len(rows), len(columns)), np.nan)
    seen = np.zeros(len(rows), bool)
    for i, row in enumerate(rows):
        said = by_key.get(row.key)
        if said is None:
            continue
        seen[i] = said.labels.get(SEEN_COLUMN, "1") not in ("0", "false", "False")
        scores[i] = [_score(path, said, column, target) for column in columns]
    if not np.isfinite(scores).any():
        raise InputError(
            f"{path}: predicts none of the {len(rows)} videos of the labels; paths are compared as "
            "files, from the folder of each table"
        )
    return Predictions(target, rows, target.encode(rows), scores, seen)


def _score_columns(path: Path, target: Target, table: Sequence[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in table for name in row.labels))
    prefix = "predicted_" if target.kind == "regression" else "p_"
    columns = [prefix + name for name in target.outputs]
    if len(columns) == 1 and columns[0] not in names:
        columns = next(([name] for name in ("score", "p") if name in names), columns)
    for column in columns:
        if column not in names:
            raise InputError(f"{path}: no column '{column}'{nearest(column, names)}")
    return columns


def _score(path: Path, row: Row, column: str, target: Target) -> float:
    text = row.labels.get(column, "")
    try:
        value = float(text) if text else np.nan
    except ValueError:
        raise InputError(
            f"{path}: {column} of {row.title} is '{text}', which is no number"
        ) from None
    if target.kind != "regression" and not (np.isnan(value) or 0 <= value <= 1):
        raise InputError(f"{path}: {column} of {row.title} is {text}: a probability is 0 to 1")
    return value
