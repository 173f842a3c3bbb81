"""The bytes of a store: compressed frames, tracks, shards, and the index over them.

A shard is one file, tracks one after the other. A track is a table of its frames and then the
frames; a frame is a JPEG of the crop and the zlib-compressed cells of its regions:

    shard-00000.bin     track | track | ...
    track               FRAME x n_frames | jpeg cells | jpeg cells | ...
    tracks.parquet      a row a track: `Track`
    index.json          size of the crops, shards and tracks.parquet with length and sha256

index.json is written last: a folder that has one is a whole store.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.output import atomic
from openmarlin.regions import CELL_PX

INDEX_FILE, TRACKS_FILE, PARTS = "index.json", "tracks.parquet", "parts"
FORMAT, VERSION = "openmarlin-store", 1
JPEG_QUALITY = 90
"""45 to 47 dB against the crop, 8 to 11 kB a frame of 256 px (benchmarks/store.py)."""

FRAME = np.dtype([("jpeg", "<u4"), ("cells", "<u4"), ("crc", "<u4")])
"""One row of a track's table: bytes of the JPEG and of the cells, crc32 of both together."""

_CHUNK_BYTES = 1 << 20
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("name", "video", "group")]
    + [("n_frames", pa.int64())]
    + [(name, pa.float64()) for name in ("fps", "start_s", "face_px", "seen")]
    + [(name, pa.int64()) for name in ("shard", "offset", "n_bytes")]
)


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
    """

    size: int
    shards: list[Shard]
    tracks: list[Track]
    info: dict[str, Any]


class TrackBytes:
    """Compresses the frames of one track as they come."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int]] = []
        self._frames: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, image: NDArray[np.uint8], cells: NDArray[np.uint16]) -> None:
        """Append a frame: uint8 RGB (S, S, 3) and its cells (S/8, S/8)."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        packed = zlib.compress(cells.astype("<u2").tobytes(), 9)
        self._rows.append((len(jpeg), len(packed), zlib.crc32(packed, zlib.crc32(jpeg))))
        self._frames += [jpeg, packed]

    def take(self, n_frames: int | None = None) -> bytes:
        """Take off the first frames (by default all), as a track stands in a shard."""
        n = len(self) if n_frames is None else n_frames
        table = np.array(self._rows[:n], FRAME).tobytes()
        data = b"".join([table, *self._frames[: 2 * n]])
        del self._rows[:n], self._frames[: 2 * n]
        return data


def decode_frame(
    data: memoryview, row: np.void, image: NDArray[np.uint8], cells: NDArray[np.uint16]
) -> bool:
    """Decompress one frame into `image` (S, S, 3) and `cells` (S/8, S/8); False if it is damaged.

    Args:
        data: the bytes of the frame, JPEG and cells.
        row: its row of the track's table.
        image: filled with uint8 RGB.
        cells: filled with class bits.
    """
    if zlib.crc32(data) != row["crc"]:
        return False
    split = int(row["jpeg"])
    pixels = cv2.imdecode(np.frombuffer(data[:split], np.uint8), cv2.IMREAD_COLOR_RGB)
    image[:] = np.asarray(pixels)
    cells[:] = np.frombuffer(zlib.decompress(data[split:]), "<u2").reshape(cells.shape)
    return True


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.bin"


def write_shard(path: Path, parts: Iterable[Path]) -> Shard:
    """Join the files `parts` to one shard (atomically)."""
    sha, n_bytes = hashlib.sha256(), 0
    with atomic(path) as unfinished, unfinished.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                while block := file.read(_CHUNK_BYTES):
                    sha.update(block)
                    n_bytes += out.write(block)
    return Shard(path.name, n_bytes, sha.hexdigest())


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_index(folder: Path, index: Index) -> None:
    """Write tracks.parquet and then index.json, which makes the folder a store."""
    (folder / INDEX_FILE).unlink(missing_ok=True)  # an older one would not fit the new tracks
    columns = list(zip(*index.tracks, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)]
    table = pa.table(arrays, schema=_SCHEMA)
    with atomic(folder / TRACKS_FILE) as part:
        pq.write_table(table, part)
        tracks = {"rows": len(index.tracks), "sha256": sha256_of(part)}
    head = {
        "format": FORMAT,
        "version": VERSION,
        "size": index.size,
        "cell_px": CELL_PX,
        "tracks": tracks,
        "shards": [asdict(shard) for shard in index.shards],
        "info": index.info,
    }
    with atomic(folder / INDEX_FILE) as part:
        part.write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")


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
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise InputError(
                f"{head_file}: {head['format']} version {head['version']}, this openmarlin reads "
                f"{FORMAT} version {VERSION}; prepare the videos again"
            )
        if sha256_of(tracks_file) != head["tracks"]["sha256"]:
            raise InputError(
                f"{tracks_file}: does not agree with {INDEX_FILE} (its sha256 differs); copy the "
                "store again"
            )
        shards = [Shard(**shard) for shard in head["shards"]]
        tracks = _read_tracks(tracks_file)
        return Index(int(head["size"]), shards, tracks, dict(head["info"]))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error}); copy the store again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{head_file}: damaged ({type(error).__name__}: {error}); copy the store again"
        ) from None


def _read_tracks(file: Path) -> list[Track]:
    with pq.ParquetFile(file) as parquet:
        table = parquet.read()
    if table.schema != _SCHEMA:
        raise ValueError("columns of tracks.parquet")
    columns = [column.to_pylist() for column in table.columns]
    return list(map(Track._make, zip(*columns, strict=True)))


def _why_no_store(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder; give the folder that `openmarlin prepare` wrote"
    if (folder / PARTS).is_dir():
        return "not finished yet; run `openmarlin prepare` with --resume to the end"
    return f"no store (no {INDEX_FILE} there); make one with `openmarlin prepare`"
