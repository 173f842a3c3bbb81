"""Writing a store so that it can be killed at any moment and gone on with.

A finished video is a part (its tracks, one after the other) and a line in the journal; what has no
line does not exist. Only when all videos are finished do the parts become shards with an index, in
the order of the inputs: the same bytes whatever was interrupted and however many processes worked.

    journal.jsonl       settings; then a line for every finished video and every shard
    parts/KEY.bin       the tracks of a video until its shard is written
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.shards import (
    INDEX_FILE,
    PARTS,
    TRACKS_FILE,
    Index,
    Shard,
    Track,
    TrackBytes,
    shard_name,
    write_index,
    write_shard,
)
from openmarlin.errors import InputError
from openmarlin.output import atomic
from openmarlin.regions import CELL_PX

try:
    import fcntl
except ImportError:  # Windows: nobody watches for two writers of one folder
    fcntl = None  # type: ignore[assignment]

JOURNAL_FILE = "journal.jsonl"
SHARD_BYTES = 256_000_000
"""A shard is closed by the video that takes it over this."""


def key_of(name: str) -> str:
    """A short name, fit for files, of a video or track."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class StoreWriter:
    """Makes a store of videos that are finished one by one, in any order.

    Args:
        path: the folder; only one writer at a time may use it.
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
        path: str | Path,
        *,
        size: int,
        settings: Mapping[str, Any] | None = None,
        shard_bytes: int = SHARD_BYTES,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        if size < CELL_PX or size % CELL_PX:
            raise InputError(f"size {size}: crops must have a multiple of {CELL_PX} pixels a side")
        self.path, self.size = Path(path), size
        self.settings = dict(settings or {})
        self._shard_bytes = shard_bytes
        self._videos: dict[str, dict[str, Any]] = {}  # key -> its line of the journal
        self._shards: list[dict[str, Any]] = []  # their lines
        _claim(self.path, resume=resume, overwrite=overwrite)
        self._journal = _Journal(self.path / JOURNAL_FILE)
        try:
            if overwrite:
                self._journal.clear()
                _remove_store(self.path)
            self._replay()
            for unfinished in self.path.glob(".*.part"):  # of a writer that was killed
                unfinished.unlink()
            (self.path / PARTS).mkdir(exist_ok=True)
        except BaseException:
            self._journal.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        self._journal.close()

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
        """A video is finished: `tracks` stand in its part in this order, or it has none."""
        line = {"video": key, "tracks": [list(track) for track in tracks], "note": dict(note or {})}
        self._journal.append(line)
        self._videos[key] = line

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
        """
        side, key, data = self.size // CELL_PX, key_of(name), TrackBytes()
        if images.shape != (len(images), self.size, self.size, 3) or not len(images):
            raise ValueError(f"images {images.shape} are not frames of {self.size} px")
        if cells.shape != (len(images), side, side):
            raise ValueError(f"cells {cells.shape} do not fit images {images.shape}")
        if key in self:
            raise ValueError(f"{name!r} is in the store already")
        for image, frame_cells in zip(images, cells, strict=True):
            data.add(image, frame_cells)
        with atomic(self.part(key)) as part:
            n_bytes = part.write_bytes(data.take())
        video = video or name
        self.commit(
            key,
            [Track(name, video, group or video, len(images), fps, start_s, n_bytes=n_bytes)],
        )

    def close(self, order: Iterable[str] | None = None) -> None:
        """Join the parts to shards, and write the index; does nothing the second time.

        Args:
            order: keys of videos in the order they are to have in the store, by default the order
                in which they were finished. Shards written earlier stay, and stay first.
        """
        if self._journal.closed:
            return
        packed = {key for line in self._shards for key in line["videos"]}
        keys = self._videos if order is None else order
        todo = [key for key in keys if key in self._videos and key not in packed]
        for batch in self._batches(todo):
            name = shard_name(len(self._shards))
            parts = (self.part(key) for key in batch)
            line = {"shard": asdict(write_shard(self.path / name, parts)), "videos": batch}
            self._journal.append(line)
            self._shards.append(line)
            for key in batch:
                self.part(key).unlink()
        shards = [Shard(**line["shard"]) for line in self._shards]
        info = {
            "settings": self.settings,
            "videos": len(self._videos),
            "openmarlin": version("openmarlin"),
        }
        write_index(self.path, Index(self.size, shards, list(self._placed()), info))
        shutil.rmtree(self.path / PARTS)
        self._journal.close()

    def _batches(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The videos of each shard; those without tracks have no part and are in none."""
        batch: list[str] = []
        n_bytes = 0
        for key in keys:
            size = sum(track.n_bytes for track in self._tracks(key))
            batch += [key] if size else []
            n_bytes += size
            if n_bytes >= self._shard_bytes:
                yield batch
                batch, n_bytes = [], 0
        if batch:
            yield batch

    def _placed(self) -> Iterator[Track]:
        """All tracks with their places in the shards."""
        for number, line in enumerate(self._shards):
            offset = 0
            for key in line["videos"]:
                for track in self._tracks(key):
                    yield track._replace(shard=number, offset=offset)
                    offset += track.n_bytes

    def _tracks(self, key: str) -> list[Track]:
        return [Track(*values) for values in self._videos[key]["tracks"]]

    def _replay(self) -> None:
        """Take over what the journal says; a new one begins with the settings."""
        asked = {"crop_px": self.size, **self.settings}
        lines = self._journal.lines()
        if not lines:
            self._journal.append({"settings": asked})
            return
        made = lines[0]["settings"]
        changed = [name for name in {**made, **asked} if made.get(name) != asked.get(name)]
        if changed:
            told = ", ".join(
                f"{name} was {made.get(name)!r}, is {asked.get(name)!r}" for name in changed
            )
            raise InputError(
                f"{self.path}: made with other settings ({told}); use the same, --overwrite, or "
                "another folder"
            )
        for line in lines[1:]:
            if "video" in line:
                self._videos[line["video"]] = line
            else:
                self._shards.append(line)


class _Journal:
    """Lines of JSON that are on disk when `append` returns; locked against a second writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise InputError(
                    f"{path.parent}: in use by another run; wait for it or name another folder"
                ) from None

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines; what a killed process left of the last one is cut off."""
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise InputError(f"{self.path}: not readable; start anew with --overwrite") from None

    def append(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"cannot write {self.path}: {reason}; make room and run again with --resume"
            ) from None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def clear(self) -> None:
        self._file.truncate(0)

    def close(self) -> None:
        with suppress(OSError):  # the disk is full: what matters was flushed before
            self._file.close()


def _claim(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or see to it that what is there may be gone on with or replaced."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}); name another") from None
    ours = (path / JOURNAL_FILE).is_file()
    if not any(path.iterdir()):
        if resume:
            raise InputError(f"{path}: no earlier run to resume (no {JOURNAL_FILE} there)")
    elif overwrite and not ours:
        raise InputError(
            f"{path}: not empty and not made by openmarlin, so it is not overwritten; name another "
            "folder"
        )
    elif resume and not ours:
        raise InputError(f"{path}: no earlier run to resume (no {JOURNAL_FILE} there)")
    elif not (resume or overwrite):
        raise InputError(
            f"{path}: not empty; add --resume to go on there, --overwrite to start anew, or name "
            "another folder"
        )


def _remove_store(path: Path) -> None:
    for name in (INDEX_FILE, TRACKS_FILE):
        (path / name).unlink(missing_ok=True)
    for shard in path.glob("shard-*.bin"):
        shard.unlink()
    shutil.rmtree(path / PARTS, ignore_errors=True)
