"""The features table: one row a window, its columns, and how it is saved and read back.

Every column, its unit and its meaning stand in docs/features.md.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openmarlin.data import formats
from openmarlin.data.manifest import bounds, display
from openmarlin.errors import InputError
from openmarlin.files import atomic

if TYPE_CHECKING:
    import pandas as pd

NO_FACE = -1
TABLE_FILE, META_FILE = "features.parquet", "meta.json"

# Everything but the embedding, whose type depends on the width of the model.
_COLUMNS: dict[str, pa.DataType] = {
    "video": pa.string(),
    "face": pa.int32(),
    "window": pa.int32(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "n_frames": pa.int32(),
    "n_real": pa.int32(),
    "n_repeated": pa.int32(),
    "n_interpolated": pa.int32(),
    "face_score": pa.float32(),
    "x1": pa.float32(),
    "y1": pa.float32(),
    "x2": pa.float32(),
    "y2": pa.float32(),
    "ok": pa.bool_(),
}


@dataclass(slots=True, kw_only=True)
class WindowRow:
    """One row: one face (or nobody) in one window of one video.

    `face` is -1 and the box and score are NaN where the window shows no face. `embedding` is
    float32 (D,), or None where there is none; it is written as NaN wherever `ok` is False.
    """

    video: str
    window: int
    start_s: float
    end_s: float
    n_frames: int
    n_real: int
    n_repeated: int = 0
    face: int = NO_FACE
    n_interpolated: int = 0
    face_score: float = math.nan
    x1: float = math.nan
    y1: float = math.nan
    x2: float = math.nan
    y2: float = math.nan
    ok: bool = False
    embedding: npt.NDArray[np.float32] | None = None


def schema(dim: int) -> pa.Schema:
    """The arrow schema of a features table whose embeddings have `dim` values."""
    embedding = pa.list_(pa.field("item", pa.float32(), nullable=False), dim)
    columns: list[tuple[str, pa.DataType]] = [*_COLUMNS.items(), ("embedding", embedding)]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def rows_to_table(rows: Iterable[WindowRow], dim: int) -> pa.Table:
    """The table of `rows`, in their order; embeddings are (W, dim) with NaN where a row is not ok.

    Raises:
        ValueError: a row that is ok has no embedding, or one of another width.
    """
    rows = list(rows)
    embeddings = np.full((len(rows), dim), np.nan, dtype=np.float32)
    for i, row in enumerate(rows):
        if not row.ok:
            continue
        if row.embedding is None or np.shape(row.embedding) != (dim,):
            shape = None if row.embedding is None else np.shape(row.embedding)
            raise ValueError(f"embedding of {row.video} window {row.window}: {shape}, not ({dim},)")
        embeddings[i] = row.embedding
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    # A file name that is not valid Unicode keeps its odd bytes as visible escapes.
    columns["video"] = [display(video) for video in columns["video"]]
    arrays = {name: pa.array(columns[name], kind) for name, kind in _COLUMNS.items()}
    return _conform(pa.table(arrays | {"embedding": formats.embedding_column(embeddings)}))


def _conform(table: pa.Table) -> pa.Table:
    """`table` with the columns of the schema in its order and types, others before `embedding`.

    Raises:
        InputError: a column is missing, or holds what cannot be of its type.
    """
    if "n_repeated" not in table.column_names:  # older tables do not count them
        table = table.append_column("n_repeated", pa.repeat(pa.scalar(0, pa.int32()), len(table)))
    missing = [name for name in (*_COLUMNS, "embedding") if name not in table.column_names]
    if missing:
        raise InputError(f"not a features table: no column {', '.join(missing)}")
    lists = table.schema.field("embedding").type
    if not pa.types.is_fixed_size_list(lists):
        raise InputError(f"not a features table: embedding is {lists}, not a fixed-size list")
    kind = schema(lists.list_size)
    try:
        own = table.select(kind.names).cast(kind)
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"not a features table: {formats.first_line(error)}") from error
    others = [name for name in table.column_names if name not in kind.names]
    return add_columns(own, {name: table.column(name) for name in others})


def add_columns(table: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """A features table with columns of the manifest besides, before `embedding`.

    Raises:
        InputError: a column is called as one of the table's own.
    """
    check_columns(columns)
    for name, values in columns.items():
        place = table.num_columns - 1
        table = table.add_column(place, pa.field(name, values.type, nullable=False), values)
    return table


def check_columns(names: Iterable[str]) -> None:
    """Columns of a manifest must not be called as those of a features table.

    Raises:
        InputError: one is.
    """
    for name in names:
        if name in _COLUMNS or re.fullmatch(r"embedding|meta|e\d+", name):
            raise InputError(
                f"the features table has a column '{name}' of its own; rename the one in the table "
                "of videos"
            )


def row_titles(table: pa.Table) -> list[str]:
    """Of each row the `Row.title`: numbers of faces and windows start anew in each."""
    nothing = np.full(len(table), math.nan)
    times = [
        table.column(name).to_numpy()
        if name in table.column_names and _is_number(table.schema.field(name).type)
        else nothing
        for name in ("part_start_s", "part_end_s")
    ]
    videos = table.column("video").to_pylist()
    return [video + bounds(*part) for video, *part in zip(videos, *times, strict=True)]


def _is_number(kind: pa.DataType) -> bool:
    """Labels may be called anything."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


@dataclass(frozen=True)
class Features:
    """A features table with the record of how it was made.

    Attributes:
        table: the arrow table, of `schema(dim)`.
        meta: model, settings, versions, counts and throughput; what meta.json holds.
    """

    table: pa.Table
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} windows, {self.dim} values each)"

    @property
    def dim(self) -> int:
        """Width D of the embeddings."""
        return int(self.table.schema.field("embedding").type.list_size)

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """Embeddings float32 (W, D), rows in table order, NaN where not ok; read-only."""
        return formats.embedding_values(self.table)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame; each cell of `embedding` is a float32 array (D,)."""
        if find_spec("pandas") is None:
            raise InputError("to_pandas() needs pandas: pip install 'openmarlin[pandas]'")
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes .parquet, .npz or .csv by suffix, or a folder (features.parquet and meta.json).

        Each file appears whole or not at all. A CSV holds the table only, the others `meta` too.
        """
        path = Path(path)
        if path.is_dir() or not path.suffix:
            formats.write(path / TABLE_FILE, self.table, self.meta)
            with atomic(path / META_FILE) as part:
                part.write_text(formats.to_json(self.meta, indent=2) + "\n", encoding="utf-8")
        else:
            formats.write(path, self.table, self.meta)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote; the order of rows and every float32 value are kept."""
        path = Path(path)
        table, meta = formats.read(path / TABLE_FILE if path.is_dir() else path)
        try:
            table = _conform(table)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if (path / META_FILE).is_file():
            meta = _read_meta(path / META_FILE)
        return cls(table, meta)


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; without that file it works") from error
    return meta if isinstance(meta, dict) else {}
