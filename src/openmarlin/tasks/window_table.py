"""The answers to windows as a table: a row a window and face. Columns: docs/predict.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from openmarlin.data.formats import write
from openmarlin.data.manifest import Manifest, display
from openmarlin.errors import InputError
from openmarlin.files import atomic
from openmarlin.tasks.inference import Answers
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.predictions import answer_columns

PARQUET_FILE, CSV_FILE = "windows.parquet", "windows.csv"

_WINDOW = ("window", "start_s", "end_s", "face", "face_score", "x1", "y1", "x2", "y2", "ok")
"""As in a features table."""


def window_table(model: TaskModel, manifest: Manifest, answers: Answers) -> pa.Table:
    """All windows in the order of the rows, windows and faces.

    Numbers that are not there (of windows without a face) are NaN, words are empty.
    """
    features, row_of = answers.extracted.features.table, answers.extracted.row_of
    names = pa.array([display(row.video.absolute()) for row in manifest.rows], pa.string())
    columns: dict[str, Any] = {"video": names.take(row_of)}
    columns |= {name: values.take(row_of) for name, values in manifest.columns().items()}
    columns |= {name: features.column(name) for name in _WINDOW}
    said = answer_columns(model.target, answers.windows, model.config.thresholds)
    columns |= {name: _array(values) for name, values in said.items()}
    return pa.table(columns)


def check_columns(names: Iterable[str], target: Target) -> None:
    """Columns of a manifest must not be called as those of the table of windows.

    Raises:
        InputError: one is.
    """
    own = {"video", *_WINDOW, *answer_columns(target, np.empty((0, len(target.outputs))))}
    for name in names:
        if name in own:
            raise InputError(
                f"the table of windows has a column '{name}' of its own; rename the one in the "
                "table of videos"
            )


def save(folder: Path, table: pa.Table, meta: Mapping[str, Any]) -> None:
    """Write the table as parquet and as CSV, in which a number that is not there is empty.

    Args:
        folder: of the run.
        table: of `window_table`.
        meta: how it was made; the parquet file holds it as JSON.

    Raises:
        InputError: it cannot be written.
    """
    write(folder / PARQUET_FILE, table, dict(meta))
    columns: Any = {name: _without_nan(table.column(name)) for name in table.column_names}
    plain = pa.table(columns)
    with atomic(folder / CSV_FILE) as part, part.open("wb") as file:
        pyarrow.csv.write_csv(plain, file)


def _array(values: Sequence[str | float | None]) -> pa.Array[Any]:
    """Words, or numbers that are NaN where there is none."""
    if any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string())
    return pa.array(np.array(values, np.float32))


def _without_nan(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    if not pa.types.is_floating(column.type):
        return column
    empty: pa.ChunkedArray[Any] = pc.if_else(
        pc.is_nan(column), pa.scalar(None, column.type), column
    )
    return empty
