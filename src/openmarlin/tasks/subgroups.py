"""Rows divided by a column of their table: by its values or, of a quantity, by its quarters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.errors import InputError, option
from openmarlin.settings import nearest

EMPTY = "(empty)"

_MOST = 30  # values of a column that names subgroups
_FEW = 8  # numbers of more values than this are a quantity


def check_subgroups(columns: Sequence[str], rows: Sequence[Row]) -> None:
    """The rows can be divided by these columns.

    Raises:
        InputError: there is no such column, or it has too many values.
    """
    for column in columns:
        divide(rows, column)


def divide(rows: Sequence[Row], column: str) -> dict[str, NDArray[np.bool_]]:
    """Value of a column (or range of values) -> which rows have it, (N,).

    Raises:
        InputError: there is no such column, or it has too many values.
    """
    cells = _cells(rows, column)
    values = sorted({cell for cell in cells if cell})
    numbers = _numbers(cells)
    if numbers is not None and len(values) > _FEW:
        return _quarters(numbers)
    if len(values) > _MOST:
        raise InputError(
            f"{option('subgroups', column)}: the column has {len(values)} values ('{values[0]}', "
            f"'{values[1]}', ...); take one of at most {_MOST}, or of numbers"
        )
    if numbers is not None:
        values.sort(key=float)
    texts = np.array([cell or EMPTY for cell in cells])
    names = [*values, EMPTY] if "" in cells else values
    return {name: texts == name for name in names}


def _cells(rows: Sequence[Row], column: str) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.labels)
    if column in names:
        return [row.labels.get(column, "") for row in rows]
    if column in ("split", "group"):
        return [getattr(row, column) for row in rows]
    raise InputError(
        f"{option('subgroups', column)}: there is no such column in the table"
        f"{nearest(column, [*names, 'split', 'group'])}"
    )


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The cells as numbers, NaN where one is empty; None where some are none."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None


def _quarters(numbers: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    finite = np.isfinite(numbers)
    inner = np.unique(np.quantile(numbers[finite], [0.25, 0.5, 0.75]))
    place = np.where(finite, np.searchsorted(inner, numbers, side="left"), -1)
    parts = {}
    for i in np.unique(place[finite]):
        mask = place == i
        low, high = numbers[mask].min(), numbers[mask].max()
        parts[f"{low:g} to {high:g}" if low < high else f"{low:g}"] = mask
    return parts if finite.all() else parts | {EMPTY: ~finite}
