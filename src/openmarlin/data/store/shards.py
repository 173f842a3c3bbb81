"""The bytes of a store: compressed frames, tracks, shards.

A shard is one file, tracks one after the other. A track is a table of its frames, then the frames,
then its mesh points and its sound where these are kept; a frame is a JPEG of the crop and the
zlib-compressed cells of its regions:

    shard-00000.bin     track | track | ...
    track               FRAME x n_frames | jpeg cells | ... | MESH x n_frames | crc32 samples
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store.index import Shard
from openmarlin.face.mesh import N_POINTS
from openmarlin.files import atomic

JPEG_QUALITY = 90
"""45 to 47 dB against the crop, 8 to 11 kB a frame of 256 px (benchmarks/store.py)."""

FRAME = np.dtype([("jpeg", "<u4"), ("cells", "<u4"), ("crc", "<u4")])
"""One row of a track's table: bytes of the JPEG and of the cells, crc32 of both together."""

MESH = np.dtype([("crc", "<u4"), ("points", "<i2", (N_POINTS, 2))])
"""The mesh of a frame: crc32, and x and y of its points in sixteenths of a crop pixel."""

_UNIT, _NONE = 16, -(1 << 15)  # parts of a pixel; the value where a frame has no mesh
_CHUNK_BYTES = 1 << 20


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


def encode_points(points: NDArray[np.float32]) -> bytes:
    """Mesh points (F, 478, 2), NaN in frames without, as they stand behind a track's frames."""
    rows = np.empty(len(points), MESH)
    units = np.clip(np.rint(points * _UNIT), _NONE + 1, -_NONE - 1)
    rows["points"] = np.where(np.isfinite(units), units, _NONE)
    rows["crc"] = [zlib.crc32(mesh.tobytes()) for mesh in rows["points"]]
    return rows.tobytes()


def decode_points(rows: NDArray[np.void]) -> NDArray[np.float32] | None:
    """Rows of `MESH` (T,) as points (T, 478, 2), NaN in frames without; None if one is damaged."""
    if any(zlib.crc32(row["points"].tobytes()) != row["crc"] for row in rows):
        return None
    units = rows["points"]
    return np.where(units == _NONE, np.nan, units / _UNIT).astype(np.float32)


def encode_sound(samples: NDArray[np.int16]) -> bytes:
    """Sound int16 (n,) as it stands behind the frames of a track."""
    data = samples.astype("<i2").tobytes()
    return zlib.crc32(data).to_bytes(4, "little") + data


def decode_sound(data: bytes) -> NDArray[np.int16] | None:
    """What `encode_sound` made; None if it is damaged."""
    if len(data) < 4 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        return None
    return np.frombuffer(data[4:], "<i2").astype(np.int16)


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
