"""Predictions beside the labels they should match: in memory, and as predictions.csv.

A row a video (or part of one): `video, start_s, end_s, split, group`, the label columns, what is
predicted (`predicted_NAME`), the probabilities (`p_OUTPUT`), and whether a face was seen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row, display, read_manifest
from openmarlin.errors import InputError, option
from openmarlin.files import atomic
from openmarlin.settings import nearest
from openmarlin.tasks.labels import Target, Values, infer_target
from openmarlin.tasks.model import decide

PREDICTIONS_FILE = "predictions.csv"
SEEN_COLUMN = "face_seen"
_PREDICTED, _P = "predicted_", "p_"
_SINGLE = ("score", "p")  # names of the probability where there is one
_ROUNDING = 0.02  # of a sum of probabilities that were written with few places
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
        return replace(
            self,
            rows=[self.rows[i] for i in places],
            labels=self.labels[places],
            scores=self.scores[places],
            seen=self.seen[places],
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
        return {_PREDICTED + name: n for name, n in zip(target.outputs, numbers, strict=True)}
    words = [target.words(label) for label in decide(scores, target, thresholds)]
    names = target.values if len(target.values) > 1 else target.columns
    columns: dict[str, list[Any]] = {
        _PREDICTED + name: [word[k] for word in words] for k, name in enumerate(names)
    }
    return columns | {_P + name: n for name, n in zip(target.outputs, numbers, strict=True)}


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
    table = _rows_of(path)
    columns = _score_columns(path, target, table)
    by_key = {row.key: row for row in table}
    said = [by_key.get(row.key) for row in rows]
    scores = np.full((len(rows), len(columns)), np.nan)
    seen = np.zeros(len(rows), bool)
    for i, row in enumerate(said):
        if row is not None:
            seen[i] = row.labels.get(SEEN_COLUMN, "1") not in ("0", "false", "False")
            scores[i] = [_score(path, row, column, target) for column in columns]
    if target.is_one_of:
        _check_sums(path, rows, scores)
    if not np.isfinite(scores).any():
        raise InputError(
            f"{path}: predicts none of the {len(rows)} videos of the labels; paths are compared as "
            "files, from the folder of each table"
        )
    words = [row or Row(rows[i].video) for i, row in enumerate(said)]
    thresholds = _thresholds(target, words, scores)
    return Predictions(target, rows, target.encode(rows), scores, seen, thresholds)


def read_target(path: Path, labels: Sequence[str], rows: Sequence[Row]) -> Target:
    """What a table of predictions predicts.

    Args:
        path: see `read_predictions`.
        labels: columns of the rows, see `infer_target`; without any they are found by the names of
            the predictions.
        rows: with labels.

    Raises:
        InputError: the names do not say it, or the columns cannot be predicted.
    """
    names = _names(_rows_of(path))
    has_probabilities = any(name.startswith(_P) or name in _SINGLE for name in names)
    kind = "" if has_probabilities else ":regression"
    target = infer_target(labels or [name + kind for name in _labels_of(path, names, rows)], rows)
    if not target.is_one_of:
        return target
    said = [name.removeprefix(_P) for name in names if name.startswith(_P)]
    more = [name for name in said if name not in target.classes and name not in _names(rows)]
    return replace(target, classes=(*target.classes, *more))  # classes that no row here has


def _labels_of(path: Path, names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The columns of the rows whose predictions have these names."""
    columns = _names(rows)
    for prefix in (_PREDICTED, _P):
        labels = [name for name in columns if prefix + name in names]
        if labels:
            return labels
    outputs = {name.removeprefix(_P) for name in names if name.startswith(_P)}
    labels = [name for name in columns if _outputs(name, rows) <= outputs]
    if len(labels) == 1:
        return labels
    raise InputError(
        f"{option('label')} is missing: the columns of {path} ({', '.join(names) or 'none'}) do "
        f"not say which column they predict; the labels have {', '.join(columns) or 'none'}"
    )


def _outputs(column: str, rows: Sequence[Row]) -> set[str]:
    """Names of the predictions of a column; one that is none where it cannot be predicted."""
    try:
        return set(infer_target([column], rows).outputs)
    except InputError:
        return {"\0"}


def _thresholds(target: Target, said: Sequence[Row], scores: Values) -> tuple[float, ...]:
    """From which probability on the table itself says yes (`predicted_NAME`), one an output.

    None where it does not say, or its words do not follow from thresholds.
    """
    if target.kind not in ("binary", "multilabel"):
        return ()
    names = target.values if len(target.values) > 1 else target.columns
    thresholds = []
    for name, score in zip(names, scores.T, strict=True):
        column = _PREDICTED + name
        words = [replace(row, labels={column: row.labels.get(column, "")}) for row in said]
        yes_or_no = target.classes if target.kind == "binary" else ("0", "1")
        decided = Target("binary", (column,), yes_or_no).encode(words)[:, 0]
        yes = np.min(score[(decided == 1) & np.isfinite(score)], initial=1.0)
        no = np.max(score[(decided == 0) & np.isfinite(score)], initial=0.0)
        if np.isnan(decided).all() or no >= yes:
            return ()
        thresholds.append(0.5 if no < 0.5 <= yes else float(yes))
    return tuple(thresholds)


def _rows_of(path: Path) -> list[Row]:
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise InputError(f"{path}: not a table of predictions (.csv), nor the folder of a model")
    return read_manifest(path).rows


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.labels))


def _score_columns(path: Path, target: Target, table: Sequence[Row]) -> list[str]:
    names = _names(table)
    prefix = _PREDICTED if target.kind == "regression" else _P
    columns = [prefix + name for name in target.outputs]
    if len(columns) == 1 and columns[0] not in names:
        columns = next(([name] for name in _SINGLE if name in names), columns)
    for column in columns:
        if column not in names:
            raise InputError(f"{path}: no column '{column}'{nearest(column, names)}")
    return columns


def _check_sums(path: Path, rows: Sequence[Row], scores: Values) -> None:
    """Probabilities of classes, of which one is true, sum to 1."""
    for row, total in zip(rows, scores.sum(axis=1), strict=True):
        if abs(total - 1) > _ROUNDING:
            raise InputError(
                f"{path}: the probabilities of {row.title} sum to {total:.4g}: of classes they "
                "sum to 1"
            )


def _score(path: Path, row: Row, column: str, target: Target) -> float:
    text = row.labels.get(column, "")
    try:
        value = float(text) if text else np.nan
    except ValueError:
        raise InputError(
            f"{path}: {column} of {row.title} is '{text}', which is no number"
        ) from None
    if np.isinf(value):
        raise InputError(f"{path}: {column} of {row.title} is {text}, which is no number")
    if target.kind != "regression" and not (np.isnan(value) or 0 <= value <= 1):
        raise InputError(f"{path}: {column} of {row.title} is {text}: a probability is 0 to 1")
    return value
