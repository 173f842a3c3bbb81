"""The table of `faces`: a row a frame and face; its columns, and how it is written and read.

Every column, its unit and its meaning stand in docs/measure-faces.md. An hour of video has a
hundred thousand rows, so tables are written and joined piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmarlin.data.features import NO_FACE
from openmarlin.data.formats import first_line
from openmarlin.errors import InputError
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.files import atomic
from openmarlin.storage import exists, fetched, locate

TABLE_FILE = "faces.parquet"
SUFFIXES = frozenset({".parquet", ".csv"})
POINTS = 478
POSE = ("yaw", "pitch", "roll")

_FLOAT = pa.float32()
_COLUMNS: dict[str, pa.DataType] = {
    "video": pa.string(),
    "frame": pa.int32(),
    "time_s": pa.float64(),
    "face": pa.int32(),
    "ok": pa.bool_(),
    "interpolated": pa.bool_(),
    "score": _FLOAT,
    **dict.fromkeys(("x1", "y1", "x2", "y2", *POSE, *BLENDSHAPE_NAMES), _FLOAT),
}
_POINTS_TYPE = pa.list_(pa.field("item", _FLOAT, nullable=False), 3 * POINTS)


def schema(*, points: bool) -> pa.Schema:
    """Of a table without columns of a manifest."""
    columns = {**_COLUMNS, **({"points": _POINTS_TYPE} if points else {})}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def check_columns(names: Iterable[str]) -> None:
    """Columns of a manifest must not be called as those of the table.

    Raises:
        InputError: one is.
    """
    for name in names:
        if name in _COLUMNS or name == "points":
            raise InputError(
                f"the table of faces has a column '{name}' of its own; rename the one in the table "
                "of videos"
            )


@dataclass(slots=True)
class FaceRow:
    """One face (or nobody) in one frame.

    Attributes:
        frame: number of the frame in its file.
        time_s: presentation time.
        face: number of the track; -1 where nobody is there.
        score: see `TrackedFace`; NaN without a face.
        box: of the mesh, None without a face.
        points: (478, 3) source pixels; None where the face was not seen in this very frame.
    """

    frame: int
    time_s: float
    face: int = NO_FACE
    score: float = math.nan
    box: NDArray[np.float32] | None = None
    points: NDArray[np.float32] | None = None


def rows_to_table(
    video: str,
    rows: list[FaceRow],
    pose: NDArray[np.floating],
    expression: NDArray[np.floating],
    *,
    points: bool,
) -> pa.Table:
    """The table of some rows.

    Args:
        video: as text.
        rows: in order.
        pose: (M, 3) yaw, pitch, roll of the M rows that have points.
        expression: (M, 52) blendshapes of the same.
        points: also write the points.
    """
    seen = np.array([row.points is not None for row in rows], bool)
    measured = np.full((len(rows), 4 + len(POSE) + len(BLENDSHAPE_NAMES)), np.nan, np.float32)
    for values, row in zip(measured, rows, strict=True):
        if row.box is not None:
            values[:4] = row.box
    measured[seen, 4:] = np.concatenate([pose, expression], axis=1)
    arrays = [
        pa.array([video] * len(rows), pa.string()),
        pa.array([row.frame for row in rows], pa.int32()),
        pa.array([row.time_s for row in rows], pa.float64()),
        pa.array([row.face for row in rows], pa.int32()),
        pa.array(seen),
        pa.array([row.points is None and row.face != NO_FACE for row in rows], pa.bool_()),
        pa.array([row.score for row in rows], _FLOAT),
        *(pa.array(column) for column in np.ascontiguousarray(measured.T)),
    ]
    if points:
        meshes = np.full((len(rows), 3 * POINTS), np.nan, np.float32)
        if seen.any():
            meshes[seen] = [row.points.ravel() for row in rows if row.points is not None]
        lists = pa.FixedSizeListArray.from_arrays(pa.array(meshes.ravel()), 3 * POINTS)
        arrays.append(lists.cast(_POINTS_TYPE))
    return pa.Table.from_arrays(arrays, schema=schema(points=points))


class TableWriter(Protocol):
    """A file that tables of one schema are added to."""

    def write_table(self, table: pa.Table) -> None: ...


@contextmanager
def open_table(path: Path, kind: pa.Schema) -> Iterator[TableWriter]:
    """A new .parquet or .csv that grows piece by piece and appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with atomic(path) as part, part.open("wb") as file:
        if path.suffix.lower() == ".csv":
            with pyarrow.csv.CSVWriter(file, kind) as csv:
                yield csv
        else:
            with pq.ParquetWriter(file, kind, compression="zstd") as parquet:
                yield parquet


def pieces(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The tables in a .parquet as they were added.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as data, pq.ParquetFile(data) as file:
            for i in range(file.num_row_groups):
                yield file.read_row_group(i, columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None


def read_faces(path: str | Path) -> pa.Table:
    """The table that `faces` wrote: its folder (or the URL of that), or the .parquet or .csv.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = locate(path)
    path = path / TABLE_FILE if exists(path) == "folder" else path
    if exists(path) is None:
        raise InputError(f"no table of faces at {path}: the file does not exist")
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    try:
        with fetched(path) as local, local.open("rb") as data, pq.ParquetFile(data) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is not a table of faces: {first_line(error)}") from None


def _read_csv(path: Path) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(column_types=_COLUMNS, null_values=[])
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    try:
        with path.open("rb") as file:
            return pyarrow.csv.read_csv(file, parse_options=parse, convert_options=convert)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is not a table of faces: {first_line(error)}") from None


def points_of(table: pa.Table) -> NDArray[np.float32]:
    """The mesh points (rows, 478, 3), NaN where a row is not ok.

    Raises:
        InputError: the table was made without them.
    """
    if "points" not in table.column_names:
        raise InputError("the table has no points: make it with points=True (--points)")
    lists: Any = table.column("points").combine_chunks()
    flat = lists.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(-1, POINTS, 3)


def with_columns(table: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """A table with columns besides, behind the video, of one value (an arrow scalar) each."""
    for place, (name, value) in enumerate(columns.items(), start=1):
        values = pa.repeat(value, len(table))
        table = table.add_column(place, pa.field(name, value.type, nullable=False), values)
    return table
