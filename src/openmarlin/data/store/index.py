"""What a store holds: tracks, the shards they lie in, and what is known of them.

    tracks.parquet      a row a track: `Track`, and the columns of the manifest
    index.json          size of the crops, shards and tracks.parquet with length and sha256

index.json is written last: a folder that has one is a whole store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from openmarlin.errors import InputError
from openmarlin.files import atomic, file_sha256, write_json
from openmarlin.regions import CELL_PX

INDEX_FILE, TRACKS_FILE, PARTS = "index.json", "tracks.parquet", "parts"
FORMAT, VERSIONS = "openmarlin-store", (1, 2, 3)
"""Version 2 has sound, version 3 mesh points. Without either a store is of version 1, so that older
readers open all that they understand."""

_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("name", "video", "group"), pa.string()),
    "n_frames": pa.int64(),
    **dict.fromkeys(("fps", "start_s", "face_px", "seen"), pa.float64()),
    **dict.fromkeys(("shard", "offset", "n_bytes"), pa.int64()),
}
_MOST_PX = 65_535  # a side of a JPEG
_OPTIONAL = ("sound_bytes", "point_bytes")  # columns of stores in which a track has some


class Track(NamedTuple):  # built ten times faster than a frozen dataclass
    """A stretch of one face, at most some hundred frames: a row of the index.

    Attributes:
        name: unique in the store.
        video: where it comes from.
        group: whom it shows; clips of one group never stand on both sides of a split.
        n_frames: frames, consecutive ticks of the video.
        fps: ticks a second.
        start_s: presentation time of the first frame.
        face_px: median side of the MARLIN square, pixels of the source.
        seen: share of the frames in which the face was seen; in the others it was interpolated.
        shard: number of the shard in the index.
        offset: first byte in the shard.
        n_bytes: length there.
        sound_bytes: how many of them, the last ones, are sound; 0 without.
        point_bytes: how many before those are mesh points; 0 without.
    """

    name: str
    video: str
    group: str
    n_frames: int
    fps: float
    start_s: float = 0.0
    face_px: float = 0.0
    seen: float = 1.0
    shard: int = 0
    offset: int = 0
    n_bytes: int = 0
    sound_bytes: int = 0
    point_bytes: int = 0

    @property
    def face(self) -> str:
        """Whose stretch it is: the pieces of one face in one video have the same."""
        return self.name.rpartition("@")[0] or self.name


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard as the index knows it."""

    file: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What a store holds.

    Attributes:
        size: side of the crops, pixels.
        shards: the files.
        tracks: sorted by shard and offset.
        info: how the store was made.
        columns: of the manifest, a value a track by name.
    """

    size: int
    shards: list[Shard]
    tracks: list[Track]
    info: dict[str, Any]
    columns: dict[str, list[Any]] = field(default_factory=dict)


def write_index(folder: Path, index: Index) -> None:
    """Write tracks.parquet and then index.json, which makes the folder a store."""
    (folder / INDEX_FILE).unlink(missing_ok=True)  # an older one would not fit the new tracks
    optional = [name for name in _OPTIONAL if any(getattr(t, name) for t in index.tracks)]
    with atomic(folder / TRACKS_FILE) as part:
        with part.open("wb") as file:
            pq.write_table(_table(index, optional), file)
        tracks = {"rows": len(index.tracks), "sha256": file_sha256(part)}
    head = {
        "format": FORMAT,
        "version": 3 if "point_bytes" in optional else 2 if optional else 1,
        "size": index.size,
        "cell_px": CELL_PX,
        "tracks": tracks,
        "shards": [asdict(shard) for shard in index.shards],
        "info": index.info,
    }
    write_json(folder / INDEX_FILE, head)


def _table(index: Index, optional: Sequence[str]) -> pa.Table:
    kinds = {**_COLUMNS, **dict.fromkeys(optional, pa.int64())}
    places = {name: i for i, name in enumerate(Track._fields)}
    arrays = {
        name: pa.array([track[places[name]] for track in index.tracks], kind)
        for name, kind in kinds.items()
    }
    return pa.table({**arrays, **{name: pa.array(v) for name, v in index.columns.items()}})


def check_columns(names: Sequence[str]) -> None:
    """Columns of a manifest must not be called as those of a track.

    Raises:
        InputError: one is.
    """
    taken = [name for name in names if name in Track._fields and name != "group"]
    if taken:
        raise InputError(
            f"the store has a column '{taken[0]}' of its own; rename the one in the table of videos"
        )


def read_index(folder: Path) -> Index:
    """Read what `write_index` wrote.

    Raises:
        InputError: no store there, one that is not finished, or an index that is damaged.
    """
    head_file, tracks_file = folder / INDEX_FILE, folder / TRACKS_FILE
    if not head_file.is_file():
        raise InputError(f"{folder}: {_why_no_store(folder)}")
    try:
        head = json.loads(head_file.read_text(encoding="utf-8"))
        if head["format"] != FORMAT or head["version"] not in VERSIONS:
            raise InputError(
                f"{head_file}: {head['format']} version {head['version']}, this openmarlin reads "
                f"{FORMAT} up to version {max(VERSIONS)}; prepare the videos again"
            )
        if file_sha256(tracks_file) != head["tracks"]["sha256"]:
            raise InputError(
                f"{tracks_file}: does not agree with {INDEX_FILE} (its sha256 differs); copy the "
                "store again"
            )
        _check_values(head)
        shards = [Shard(**shard) for shard in head["shards"]]
        tracks, columns = _read_tracks(tracks_file)
        return Index(head["size"], shards, tracks, head["info"], columns)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error}); copy the store again") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{head_file}: damaged ({type(error).__name__}: {error}); copy the store again"
        ) from None


def _check_values(head: Mapping[str, Any]) -> None:
    """What index.json says must be of its kind: whoever reads a store computes with it.

    Raises:
        ValueError: something is not.
    """
    size = head["size"]
    if type(size) is not int or not CELL_PX <= size <= _MOST_PX or size % CELL_PX:
        raise ValueError(f"size {size!r}")
    settings = head["info"].get("settings", {}) if isinstance(head["info"], dict) else None
    margin = settings.get("margin", 0) if isinstance(settings, dict) else None
    if type(margin) is not int or not 0 <= 2 * margin < size:
        raise ValueError("info")
    for shard in head["shards"]:
        file, n_bytes = shard["file"], shard["n_bytes"]
        if not isinstance(file, str) or Path(file).name != file or type(n_bytes) is not int:
            raise ValueError(f"shard {file!r} of {n_bytes!r} bytes")


def _read_tracks(path: Path) -> tuple[list[Track], dict[str, list[Any]]]:
    with path.open("rb") as file, pq.ParquetFile(file) as parquet:
        table = parquet.read()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if any(table.schema.field(name).type != kind for name, kind in _COLUMNS.items()):
        raise ValueError("columns of tracks.parquet")
    none = [0] * len(table)
    own = [columns.pop(name, none if name in _OPTIONAL else None) for name in Track._fields]
    return list(map(Track._make, zip(*own, strict=True))), columns


def _why_no_store(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder; give the folder that `openmarlin prepare` wrote"
    if (folder / PARTS).is_dir():
        return "not finished yet; run `openmarlin prepare` with --resume to the end"
    return f"no store (no {INDEX_FILE} there); make one with `openmarlin prepare`"
