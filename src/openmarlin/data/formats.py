"""Files a features table can live in: parquet, npz and csv, each written whole or not at all.

The formats know a table with an `embedding` column (fixed-size list of float32) and a dictionary of
JSON; which other columns there are is settled in features.py.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from openmarlin.errors import InputError
from openmarlin.files import atomic

Meta = dict[str, Any]

# What reading a damaged or foreign file can raise.
_UNREADABLE = (pa.ArrowException, BadZipFile, EOFError, KeyError, OSError, ValueError, zlib.error)
_META_KEY = b"openmarlin"


def write(path: Path, table: pa.Table, meta: Meta) -> None:
    """Writes `table` and `meta` to `path` in the format of its suffix; a CSV holds no `meta`."""
    writer, _ = _format(path)
    with atomic(path) as part:
        writer(part, table, meta)


def read(path: Path) -> tuple[pa.Table, Meta]:
    """The table and `meta` of a file that `write` made.

    Raises:
        InputError: there is no such file, or it is not a table of this kind.
    """
    _, reader = _format(path)
    if not path.is_file():
        raise InputError(f"no features at {path}: the file does not exist")
    try:
        return reader(path)
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a features table: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def to_json(meta: Mapping[str, Any], indent: int | None = None) -> str:
    """`meta` as strict JSON: numbers that are not finite become null, foreign types their text."""
    return json.dumps(_plain(meta), indent=indent, ensure_ascii=False, allow_nan=False)


def embedding_column(values: npt.NDArray[np.float32]) -> pa.Array[Any]:
    """An arrow fixed-size list column from embeddings float32 (W, D)."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def embedding_values(table: pa.Table) -> npt.NDArray[np.float32]:
    """The embedding column as float32 (W, D); read-only, no copy when it is in one piece."""
    pieces: list[Any] = table.column("embedding").chunks
    flats = [piece.flatten().to_numpy(zero_copy_only=True) for piece in pieces]
    flat = flats[0] if len(flats) == 1 else np.concatenate([np.empty(0, np.float32), *flats])
    width = table.schema.field("embedding").type.list_size
    return np.asarray(flat, np.float32).reshape(table.num_rows, width)


def _format(path: Path) -> tuple[_Writer, _Reader]:
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path} is no features file: use .parquet, .npz, .csv or a folder")
    return _FORMATS[path.suffix.lower()]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def _write_parquet(path: Path, table: pa.Table, meta: Meta) -> None:
    table = table.replace_schema_metadata({_META_KEY: to_json(meta).encode()})
    with path.open("wb") as file:  # arrow cannot spell names where the locale is C
        pq.write_table(table, file, compression="zstd")


def _read_parquet(path: Path) -> tuple[pa.Table, Meta]:
    with path.open("rb") as data, pq.ParquetFile(data) as file:
        table = file.read(use_threads=False)  # read_table would bring in all of arrow's data sets
    meta = json.loads((table.schema.metadata or {}).get(_META_KEY, b"{}"))
    return table.replace_schema_metadata(None), meta


def _write_npz(path: Path, table: pa.Table, meta: Meta) -> None:
    plain = table.drop_columns(["embedding"])
    arrays: dict[str, Any] = {name: plain.column(name).to_numpy() for name in plain.column_names}
    # Fixed-width text instead of objects: the file opens without unpickling anything.
    arrays = {n: a.astype(np.str_) if a.dtype == object else a for n, a in arrays.items()}
    arrays |= {
        "embedding": embedding_values(table),
        "meta": np.array(to_json(meta)),
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _read_npz(path: Path) -> tuple[pa.Table, Meta]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays.pop("meta", "{}")))
    embedding = embedding_column(arrays.pop("embedding"))
    columns = {name: pa.array(values) for name, values in arrays.items()}
    return pa.table(columns | {"embedding": embedding}), meta


def _write_csv(path: Path, table: pa.Table, _: Meta) -> None:
    values = embedding_values(table)
    table = table.drop_columns(["embedding"])
    for i in range(values.shape[1]):
        table = table.append_column(f"e{i}", pa.array(values[:, i]))
    with path.open("wb") as file:
        pyarrow.csv.write_csv(table, file)


def _read_csv(path: Path) -> tuple[pa.Table, Meta]:
    convert = pyarrow.csv.ConvertOptions(
        column_types={"video": pa.string()},
        null_values=[],  # "nan" is a number here, and a video may be called NA
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with path.open("rb") as file:
        table = pyarrow.csv.read_csv(file, parse_options=parse, convert_options=convert)
    names = [name for name in table.column_names if re.fullmatch(r"e\d+", name)]
    names.sort(key=lambda name: int(name[1:]))
    values = np.stack([table.column(name).to_numpy().astype(np.float32) for name in names], axis=1)
    return table.drop_columns(names).append_column("embedding", embedding_column(values)), {}


_Writer = Callable[[Path, pa.Table, Meta], None]
_Reader = Callable[[Path], tuple[pa.Table, Meta]]
_FORMATS: dict[str, tuple[_Writer, _Reader]] = {
    ".parquet": (_write_parquet, _read_parquet),
    ".npz": (_write_npz, _read_npz),
    ".csv": (_write_csv, _read_csv),
}
SUFFIXES = frozenset(_FORMATS)
