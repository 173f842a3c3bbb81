"""What a model is to predict: which columns of the manifest, of what kind, with what values.

target = infer_target(["smile"], rows)
target.encode(rows)  # (N, 1), 0 or 1, NaN where a row has no label
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.errors import InputError, option
from openmarlin.settings import nearest

Kind = Literal["binary", "class", "multilabel", "regression", "ordinal"]

Values = NDArray[np.float64]

SEPARATOR, NO_NAME = ";", "none"
"""Between the names in a cell of several; and the cell in which no name applies."""

_FORGED = frozenset({"fake", "forged", "spoof"})
_POSITIVE = _FORGED | {"1", "true", "yes", "y", "present", "positive"}
_NEGATIVE = frozenset({"0", "-1", "false", "no", "n", "absent", "negative", "real", "bonafide"})
_MOST_CLASSES = 30  # whole numbers of more values than this are a quantity


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        kind: binary (does it apply), class (one of several), multilabel (which of several apply),
            regression (quantities), ordinal (classes in an order).
        columns: of the manifest.
        classes: what the values mean. binary: the negative and the positive word; class and
            ordinal: the classes, ordinal ones from low to high; multilabel: the names;
            regression: the columns.
    """

    kind: Kind
    columns: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        return ", ".join(self.columns)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what a model gives: C probabilities, or values of a regression.

        Of a binary target the probability of the positive word alone.
        """
        return self.classes[1:] if self.kind == "binary" else self.classes

    @property
    def is_one_of(self) -> bool:
        """Exactly one of the classes applies: their probabilities sum to 1."""
        return self.kind in ("class", "ordinal")

    @property
    def is_forgery(self) -> bool:
        """Whether a video is forged: one forged face makes it so, however many faces it shows."""
        return self.kind == "binary" and self.classes[1].lower() in _FORGED

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the K numbers that a label is: one, but for multilabel and regression."""
        return self.classes if self.kind in ("multilabel", "regression") else self.columns

    def encode(self, rows: Sequence[Row]) -> Values:
        """Labels (N, K) of rows: 0 or 1, the number of the class, or the quantity. NaN: no label.

        Raises:
            InputError: a column is missing, or a value is none of the target's.
        """
        check_columns(self.columns, rows)
        encoded = np.full((len(rows), len(self.values)), np.nan)
        for i, row in enumerate(rows):
            encoded[i] = self._encode(row)
        return encoded

    def _encode(self, row: Row) -> Sequence[float] | float:
        cells = [_cell(row, column) for column in self.columns]
        if self.kind == "regression":
            return [_number(row, *pair) for pair in zip(self.columns, cells, strict=True)]
        if len(cells) > 1:
            return [_flag(row, *pair) for pair in zip(self.columns, cells, strict=True)]
        if not cells[0]:
            return math.nan
        if self.kind == "multilabel":
            places = {self._place(row, name) for name in split_names(cells[0])}
            return [float(place in places) for place in range(len(self.classes))]
        return float(self._place(row, cells[0]))

    @property
    def _says_yes_or_no(self) -> bool:
        """Its words do, so that others may stand for them: 1 for fake, but not for dog."""
        if self.kind != "binary":
            return False
        negative, positive = map(_polarity, self.classes)
        return positive is True or (negative is False and positive is None)

    def _place(self, row: Row, value: str) -> int:
        """The position of a value among the classes."""
        if value in self.classes:
            return self.classes.index(value)
        if self._says_yes_or_no and _polarity(value) is not None:  # 1 where it was "yes"
            return int(bool(_polarity(value)))
        raise InputError(
            f"{row.title}: {self.name} is '{value}', which is none of "
            f"{', '.join(self.classes[:12])}{', ...' if len(self.classes) > 12 else ''}; "
            "correct the table, or leave the cell empty"
        )

    def words(self, label: Sequence[float]) -> list[str]:
        """K numbers as the table would say them; empty where there is no label."""
        if self.kind in ("multilabel", "regression"):
            return ["" if math.isnan(value) else f"{value:.6g}" for value in label]
        return ["" if math.isnan(value) else self.classes[int(value)] for value in label]

    def count(self, labels: Values) -> dict[str, int]:
        """How many of labels (n, K) are of each class; of several labels, to how many each applies;
        of quantities, how many there are in each column."""
        if self.kind == "regression":
            numbers = np.isfinite(labels).sum(axis=0)
        elif self.kind == "multilabel":
            numbers = (labels == 1).sum(axis=0)
        else:
            numbers = (labels == np.arange(len(self.classes))).sum(axis=0)
        return {name: int(n) for name, n in zip(self.classes, numbers, strict=True)}

    def as_dict(self) -> dict[str, Any]:
        """JSON values; see `of`."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Undo `as_dict`."""
        return cls(content["kind"], tuple(content["columns"]), tuple(content["classes"]))


def infer_target(labels: Sequence[str], rows: Sequence[Row]) -> Target:
    """The target that some labels of a manifest make.

    Args:
        labels: names of columns, patterns such as `au_*`, each perhaps with a kind behind a colon:
            `valence:regression`.
        rows: of the manifest.

    Returns:
        One target. Several columns make one multilabel target, or one regression of several
        quantities.

    Raises:
        InputError: a column is missing, empty or of one value, or the columns do not fit together.
    """
    if not labels:
        names = ", ".join(_column_names(rows)) or "none"
        raise InputError(
            f"{option('label')} is missing: name the column to predict; the table has {names}"
        )
    columns, kinds = _columns_of(labels, rows)
    if len(kinds) > 1:
        raise InputError(
            f"{option('label')}: {' and '.join(sorted(kinds))} cannot be predicted together; train "
            "a model for each"
        )
    kind = next(iter(kinds), None)
    cells = {column: _cells_of(column, rows) for column in columns}
    if len(columns) > 1:
        return _of_several(kind, cells)
    (column,) = columns
    return _of_one(kind or _infer_kind(cells[column]), column, cells[column])


def _of_several(kind: Kind | None, cells: Mapping[str, Sequence[str]]) -> Target:
    columns = tuple(cells)
    if kind is None:
        flags = all(_polarity(cell) is not None for values in cells.values() for cell in values)
        numbers = all(_is_number(cell) for values in cells.values() for cell in values)
        if not (flags or numbers):
            raise InputError(
                f"{option('label')}: the columns {', '.join(columns)} are neither all yes or no "
                "nor all numbers; train a model for each"
            )
        kind = "multilabel" if flags else "regression"
    if kind not in ("multilabel", "regression"):
        raise InputError(
            f"{option('label')}: {len(columns)} columns make a multilabel or a regression target, "
            f"not {kind}; train a model for each"
        )
    return Target(kind, columns, columns)


def _of_one(kind: Kind, column: str, cells: Sequence[str]) -> Target:
    values = sorted(set(cells), key=_value_key)
    if kind == "multilabel":
        values = sorted({name for cell in cells for name in split_names(cell)})
    if kind == "regression":
        return Target(kind, (column,), (column,))
    if not values:
        raise InputError(f"the column '{column}' has no name in any cell, only '{NO_NAME}'")
    if len(values) < 2 and kind != "multilabel":
        raise InputError(
            f"the column '{column}' has one value alone ('{values[0]}'); there is nothing to tell "
            "apart"
        )
    if kind == "binary":
        values = _negative_and_positive(column, values)
    return Target(kind, (column,), tuple(values))


def _negative_and_positive(column: str, values: Sequence[str]) -> list[str]:
    """Two words: the one that says yes is last, of numbers the higher, else the later one."""
    if len(values) == 2 and all(map(_is_number, values)):
        return list(values)
    polarities = [_polarity(value) for value in values]
    if len(values) != 2 or (None not in polarities and polarities[0] == polarities[1]):
        raise InputError(
            f"the column '{column}' has the values {', '.join(values[:6])}: a binary label has "
            f"two, such as 0 and 1, or real and fake; try {option('label', column + ':class')}"
        )
    turned = polarities[0] is True or polarities[1] is False
    return list(reversed(values)) if turned else list(values)


def _infer_kind(cells: Sequence[str]) -> Kind:
    values = set(cells)
    if len(values) == 2 and {_polarity(value) for value in values} == {True, False}:
        return "binary"
    if any(SEPARATOR in cell for cell in cells):
        return "multilabel"
    if all(map(_is_number, values)):
        whole = all(float(value).is_integer() for value in values)
        return "class" if whole and len(values) <= _MOST_CLASSES else "regression"
    return "class"


def _columns_of(labels: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], set[Kind]]:
    names = _column_names(rows)
    columns: list[str] = []
    kinds: set[Kind] = set()
    for label in labels:
        pattern, colon, kind = label.rpartition(":")
        if not colon or (label in names):
            pattern, kind = label, ""
        if kind and kind not in get_args(Kind):
            raise InputError(f"there is no kind of label '{kind}'{nearest(kind, get_args(Kind))}")
        matches = [name for name in names if name == pattern or fnmatch.fnmatch(name, pattern)]
        if not matches:
            raise InputError(
                f"there is no column '{pattern}' in the table{nearest(pattern, names)}"
            )
        columns += [name for name in matches if name not in columns]
        if kind:
            kinds.add(kind)  # type: ignore[arg-type]
    return columns, kinds


def check_columns(columns: Sequence[str], rows: Sequence[Row]) -> None:
    """The rows have these columns.

    Raises:
        InputError: they do not.
    """
    names = _column_names(rows)
    for column in columns:
        if column not in names:
            raise InputError(f"there is no column '{column}' in the table{nearest(column, names)}")


def split_names(cell: str) -> list[str]:
    """`a; b` -> a, b; nothing of the word `none`."""
    names = [name.strip() for name in cell.split(SEPARATOR)]
    return [name for name in names if name and name.lower() != NO_NAME]


def _column_names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.labels))


def _cells_of(column: str, rows: Sequence[Row]) -> list[str]:
    cells = [cell for cell in (_cell(row, column) for row in rows) if cell]
    if not cells:
        raise InputError(f"the column '{column}' is empty; there is nothing to learn from")
    return cells


def _cell(row: Row, column: str) -> str:
    """The label of a row as text; empty where there is none.

    3.0 is 3: whole numbers in a column with gaps are often written so.
    """
    text = row.labels.get(column, "").strip()
    if re.fullmatch(r"[+-]?[0-9]+\.0+", text):
        text = text.partition(".")[0]
    return "" if text.lower() == "nan" else text


def _polarity(value: str) -> bool | None:
    word = value.strip().lower()
    return True if word in _POSITIVE else False if word in _NEGATIVE else None


def _flag(row: Row, column: str, cell: str) -> float:
    if not cell:
        return math.nan
    polarity = _polarity(cell)
    if polarity is None:
        raise InputError(f"{row.title}: {column} is '{cell}', which is neither yes (1) nor no (0)")
    return float(polarity)


def _number(row: Row, column: str, cell: str) -> float:
    if not cell:
        return math.nan
    if not _is_number(cell):
        raise InputError(f"{row.title}: {column} is '{cell}', which is no number")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        return not math.isinf(float(cell))
    except ValueError:
        return False


def _value_key(value: str) -> tuple[int, float, str]:
    return (0, float(value), "") if _is_number(value) else (1, 0.0, value)
