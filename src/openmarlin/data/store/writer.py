"""Writing a store so that it can be killed at any moment and gone on with.

A finished video is a part (its tracks, one after the other) and a line in the journal; what has no
line does not exist. Only when all videos are finished do the parts become shards with an index, in
the order of the inputs: the same bytes whatever was interrupted and however many processes worked.

    journal.jsonl       a line for every video that is finished, or no longer is, and every shard
    parts/KEY.bin       the tracks of a video until its shard is written
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import key_of
from openmarlin.data.store.index import (
    INDEX_FILE,
    PARTS,
    TRACKS_FILE,
    Index,
    Shard,
    Track,
    write_index,
)
from openmarlin.data.store.journal import Journal
from openmarlin.data.store.shards import (
    TrackBytes,
    encode_points,
    encode_sound,
    shard_name,
    write_shard,
)
from openmarlin.errors import InputError
from openmarlin.face.mesh import N_POINTS
from openmarlin.files import atomic, file_sha256
from openmarlin.output import OutputFolder
from openmarlin.regions import CELL_PX
from openmarlin.settings import Settings

JOURNAL_FILE = "journal.jsonl"
STORE_FILES = (JOURNAL_FILE, INDEX_FILE, TRACKS_FILE, "shard-*.bin", PARTS)
"""What a store consists of, see `OutputFolder`."""

SHARD_BYTES = 256_000_000
"""A shard is closed by the video that takes it over this."""


class StoreWriter:
    """Makes a store of videos that are finished one by one, in any order.

    Args:
        out: a folder to make the store in, or one that is open and begun already.
        size: side of the crops in pixels, a multiple of 8.
        settings: JSON values that decide the content; a writer that goes on must have the same.
        shard_bytes: see `SHARD_BYTES`.
        resume: go on with what an earlier writer left, finished or not.
        overwrite: remove an earlier store first (only files that a writer makes).

    Raises:
        InputError: the folder is not empty, not a store, in use, or made with other settings.
    """

    def __init__(
        self,
        out: str | Path | OutputFolder,
        *,
        size: int,
        settings: Mapping[str, Any] | None = None,
        shard_bytes: int = SHARD_BYTES,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        if size < CELL_PX or size % CELL_PX:
            raise InputError(f"size {size}: crops must have a multiple of {CELL_PX} pixels a side")
        self.size, self.settings, self._shard_bytes = size, dict(settings or {}), shard_bytes
        self._videos: dict[str, dict[str, Any]] = {}  # key -> its line of the journal
        self._shards: list[dict[str, Any]] = []  # their lines
        self._packed: dict[str, dict[str, Any]] = {}  # key -> its line, whose part lies in a shard
        self._placed: list[tuple[int, str, list[Any]]] = []  # shard, key, tracks: as they lie
        with ExitStack() as stack:
            if not isinstance(out, OutputFolder):
                identity = {"crop_px": size, **self.settings}
                out = stack.enter_context(
                    OutputFolder(
                        Path(out),
                        verb="prepare",
                        settings=Settings(),
                        files=STORE_FILES,
                        identity=identity,
                        resume=resume,
                        overwrite=overwrite,
                    )
                )
                out.begin()
            self.path = out.path
            self._journal = Journal(self.path / JOURNAL_FILE)
            stack.callback(self._journal.close)
            self._replay()
            if out.is_copy:
                self._forget_others()
            (self.path / PARTS).mkdir(exist_ok=True)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            if kind is None:
                self.close()

    def __contains__(self, key: str) -> bool:
        """Whether the video `key` is finished."""
        return key in self._videos

    @property
    def n_tracks(self) -> int:
        """Tracks of all videos finished so far."""
        return sum(len(line["tracks"]) for line in self._videos.values())

    def note(self, key: str) -> dict[str, Any]:
        """What `commit` was told about a finished video."""
        return dict(self._videos[key]["note"])

    def part(self, key: str) -> Path:
        """The file of a video's tracks, one after the other."""
        return self.path / PARTS / f"{key}.bin"

    def commit(
        self, key: str, tracks: Sequence[Track], note: Mapping[str, Any] | None = None
    ) -> None:
        """A video is finished: `tracks` stand in its part in this order, or it has none.

        One that is finished already was read again: what it gave before no longer counts, also
        where it lies in a shard, whose bytes stay as they are.
        """
        line = {
            "video": key,
            "tracks": [_values(track) for track in tracks],
            "sha256": file_sha256(self.part(key)) if tracks else "",
            "note": dict(note or {}),
        }
        self._journal.append(line)
        self._take(line)
        if key in self._packed:  # nothing new: the part is not needed
            self.part(key).unlink(missing_ok=True)

    def reopen(self, key: str) -> None:
        """Take back that a video is finished, before its part is written anew.

        A process that is killed meanwhile would leave lines of the journal that tell of other
        bytes. What lies in a shard stays as it is, and counts until the video is committed again.
        """
        if key in self and key not in self._packed:
            self.forget(key)

    def forget(self, key: str) -> None:
        """A finished video is finished no longer, and what it gave does not count."""
        line = {"forget": key}
        self._journal.append(line)
        self._take(line)

    def add(
        self,
        name: str,
        images: NDArray[np.uint8],
        cells: NDArray[np.uint16],
        *,
        fps: float = 25.0,
        group: str = "",
        video: str = "",
        start_s: float = 0.0,
        points: NDArray[np.float32] | None = None,
        sound: NDArray[np.int16] | None = None,
    ) -> None:
        """Add one track that is in memory: a video of its own.

        Args:
            name: unique in the store.
            images: uint8 RGB (F, S, S, 3).
            cells: class bits (F, S/8, S/8), see `openmarlin.regions`.
            fps: frames a second.
            group: whom it shows; default the video.
            video: where it comes from; default the name.
            start_s: presentation time of the first frame.
            points: mesh points (F, 478, 2) in pixels of the images, NaN in frames without; None
                where there are none.
            sound: int16 (n,), 16 kHz mono, as long as the frames; None where there is none.
        """
        side, data = self.size // CELL_PX, TrackBytes()
        if images.shape != (len(images), self.size, self.size, 3) or not len(images):
            raise ValueError(f"images {images.shape} are not frames of {self.size} px")
        if cells.shape != (len(images), side, side):
            raise ValueError(f"cells {cells.shape} do not fit images {images.shape}")
        if points is not None and points.shape != (len(images), N_POINTS, 2):
            raise ValueError(f"points {points.shape} do not fit images {images.shape}")
        key = key_of(name)
        if key in self:
            raise ValueError(f"{name!r} is in the store already")
        for image, frame_cells in zip(images, cells, strict=True):
            data.add(image, frame_cells)
        meshes = b"" if points is None else encode_points(points)
        tail = b"" if sound is None else encode_sound(sound)
        with atomic(self.part(key)) as part:
            n_bytes = part.write_bytes(data.take() + meshes + tail)
        video = video or name
        track = Track(name, video, group or video, len(images), fps, start_s)
        track = track._replace(n_bytes=n_bytes, sound_bytes=len(tail), point_bytes=len(meshes))
        self.commit(key, [track])

    def close(
        self,
        order: Iterable[str] | None = None,
        columns: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Join the parts to shards, and write the index; does nothing the second time.

        Args:
            order: keys of videos in the order they are to have in the store, by default the order
                in which they were finished. Shards written earlier stay, and stay first.
            columns: name -> {key: value}: what the manifest says of videos. A finished store that
                gets more videos keeps what it says of the earlier ones.
        """
        if self._journal.closed:
            return
        keys = self._videos if order is None else order
        for batch in self._batches(
            [k for k in keys if k in self._videos and k not in self._packed]
        ):
            name = shard_name(len(self._shards))
            parts = (self.part(key) for key in batch)
            line = {"shard": asdict(write_shard(self.path / name, parts)), "videos": batch}
            self._journal.append(line)
            self._take(line)
            for key in batch:
                self.part(key).unlink()
        info = {
            "settings": self.settings,
            "videos": len(self._videos),
            "openmarlin": version("openmarlin"),
        }
        shards = [Shard(**line["shard"]) for line in self._shards]
        placed = list(self._tracks())
        by_name = self._columns(columns or {}, [key for key, _ in placed])
        index = Index(self.size, shards, [track for _, track in placed], info, by_name)
        write_index(self.path, index)
        shutil.rmtree(self.path / PARTS)
        self._open.close()

    def _columns(
        self, columns: Mapping[str, Mapping[str, Any]], keys: Sequence[str]
    ) -> dict[str, list[Any]]:
        """The values of columns for every track, those of an earlier sitting included."""
        self._label(columns)
        lines = [self._videos[key].get("columns", {}) for key in keys]
        names = dict.fromkeys(name for line in lines for name in line)
        if columns:  # kept for a writer that adds videos later
            self._journal.append({"columns": {k: v for k, v in columns.items() if v}})
        return {name: _whole([line.get(name) for line in lines]) for name in names}

    def _batches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The videos of each shard; those without tracks have no part and are in none."""
        batch: list[str] = []
        n_bytes = 0
        for key in keys:
            size = sum(Track(*values).n_bytes for values in self._videos[key]["tracks"])
            batch += [key] if size else []
            n_bytes += size
            if n_bytes >= self._shard_bytes:
                yield batch
                batch, n_bytes = [], 0
        if batch:
            yield batch

    def _tracks(self) -> Iterator[tuple[str, Track]]:
        """All tracks that count with their places in the shards, and the keys of their videos."""
        offsets = [0] * len(self._shards)
        for shard, key, tracks in self._placed:
            for values in tracks:
                track = Track(*values)
                if key in self and tracks is self._videos[key]["tracks"]:
                    yield key, track._replace(shard=shard, offset=offsets[shard])
                offsets[shard] += track.n_bytes

    def _replay(self) -> None:
        """Take over what the journal says."""
        for line in self._journal.lines():
            if "columns" in line:
                self._label(line["columns"])
            else:
                self._take(line)

    def _forget_others(self) -> None:
        """Videos whose parts are not those that the journal tells of: a writer was killed between
        the two uploads."""
        for key in [key for key in self._videos if key not in self._packed]:
            line, part = self._videos[key], self.part(key)
            if line["tracks"] and not (part.is_file() and file_sha256(part) == line["sha256"]):
                self.forget(key)

    def _label(self, columns: Mapping[str, Mapping[str, Any]]) -> None:
        """Give finished videos their values; the manifest also tells of those that failed."""
        for name, values in columns.items():
            for key, value in values.items():
                if key in self:
                    self._videos[key].setdefault("columns", {})[name] = value

    def _take(self, line: dict[str, Any]) -> None:
        """A line of the journal holds: a video, its end, or a shard of videos as they were then."""
        if "forget" in line:
            del self._videos[line["forget"]]
            return
        if "video" in line:
            key, before = line["video"], self._packed.get(line["video"], {})
            # Equal rows are not enough: other pictures may be compressed to as many bytes.
            if all(before.get(name) == line.get(name) for name in ("tracks", "sha256")):
                line["tracks"] = before["tracks"]  # they lie in a shard
            else:
                self._packed.pop(key, None)
            self._videos[key] = {**self._videos.get(key, {}), **line}
            return
        for key in line["videos"]:
            self._packed[key] = self._videos[key]
            self._placed.append((len(self._shards), key, self._videos[key]["tracks"]))
        self._shards.append(line)


def _values(track: Track) -> list[Any]:
    """A track as the journal has it: without points as before there were any."""
    return list(track if track.point_bytes else track[:-1])


def _whole(values: list[Any]) -> list[Any]:
    """A column without gaps: nothing is NaN among numbers and empty among text."""
    if not any(value is None for value in values):
        return values
    text = any(isinstance(value, str) for value in values)
    gap = "" if text else math.nan
    return [gap if value is None else value for value in values]
