"""Reading a store at random."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store.index import INDEX_FILE, Shard, Track, read_index
from openmarlin.data.store.shards import FRAME, MESH, decode_frame, decode_points, decode_sound
from openmarlin.errors import InputError
from openmarlin.files import file_sha256
from openmarlin.regions import CELL_PX

_HEAL = "copy it again, or leave it out with damaged=skip"


class Store:
    """Opens a store.

    Reading keeps no file open and changes nothing in the object, so one store serves any number of
    threads and of processes, forked or spawned.

    Args:
        path: the folder that `prepare` or a `StoreWriter` made.
        damaged: what to do about shards that are missing or damaged. `fatal` looks at their
            lengths; `skip` reads them all, compares checksums, and leaves out the tracks of those
            that are not as they were written.

    Attributes:
        size: side of the crops, pixels.
        tracks: what can be read.
        columns: what the table of videos said of each track, by name: split, labels.
        info: how the store was made.
        problems: shards that are left out, a line each.

    Raises:
        InputError: no store there, nothing in it, damage, or shards that are not the index's.
    """

    def __init__(self, path: str | Path, damaged: Literal["fatal", "skip"] = "fatal") -> None:
        self.path = Path(path)
        index = read_index(self.path)
        self.size, self.info = index.size, index.info
        self._shards = index.shards
        if not index.tracks:
            raise InputError(f"{path}: the store is empty; prepare videos that show faces")
        bad = self._damaged(thorough=damaged == "skip")
        if bad and damaged == "fatal":
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise InputError(f"{next(iter(bad.values()))}{more}; {_HEAL}")
        self.problems = list(bad.values())
        kept = [i for i, track in enumerate(index.tracks) if track.shard not in bad]
        self.tracks = [index.tracks[i] for i in kept]
        self.columns = {n: [values[i] for i in kept] for n, values in index.columns.items()}
        if not self.tracks:
            raise InputError(f"{path}: all shards are damaged, first {self.problems[0]}; {_HEAL}")
        self._check_places()

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def margin(self) -> int:
        """Pixels around the square of the face, on each side of a crop."""
        return int(self.info.get("settings", {}).get("margin", 0))

    def read(
        self, track_index: int, frames: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Read frames of a track, in any order, also repeatedly.

        One stretch of the file is read, from the first to the last of them.

        Args:
            track_index: position in `tracks`.
            frames: T frame numbers, from 0 to n_frames - 1.

        Returns:
            Crops, uint8 RGB (T, S, S, 3), and class bits of their cells, uint16 (T, S/8, S/8).

        Raises:
            IndexError: there is no such frame.
            InputError: the shard is damaged there.
        """
        track = self.tracks[track_index]
        numbers = _numbers(track, frames)
        side = self.size // CELL_PX
        images = np.empty((len(numbers), self.size, self.size, 3), np.uint8)
        cells = np.empty((len(numbers), side, side), np.uint16)
        table, starts, data = self._bytes(track, int(numbers.min()), int(numbers.max()) + 1)
        for i, frame in enumerate(numbers):
            begin, end = starts[frame], starts[frame + 1]
            if not decode_frame(data[begin:end], table[frame], images[i], cells[i]):
                raise self._broken(track, f"frame {frame} of {track.name} is not as it was written")
        return images, cells

    def points(self, track_index: int, frames: Sequence[int]) -> NDArray[np.float32] | None:
        """The mesh points of frames of a track, in any order, also repeatedly.

        Args:
            track_index: position in `tracks`.
            frames: T frame numbers, from 0 to n_frames - 1.

        Returns:
            float32 (T, 478, 2): x and y in pixels of the stored crops, to a sixteenth; NaN in
            frames in which the face was not seen. None if no points were kept.

        Raises:
            IndexError: there is no such frame.
            InputError: the shard is damaged there.
        """
        track = self.tracks[track_index]
        numbers = _numbers(track, frames)
        if not track.point_bytes:
            return None
        first, stop = int(numbers.min()), int(numbers.max()) + 1
        start = track.n_bytes - track.sound_bytes - track.point_bytes + first * MESH.itemsize
        data = self._read(track, start, (stop - first) * MESH.itemsize)
        meshes = np.frombuffer(data, MESH, len(data) // MESH.itemsize)
        points = decode_points(meshes[numbers - first]) if len(meshes) == stop - first else None
        if points is None:
            raise self._broken(track, f"the points of {track.name} are not as they were written")
        return points

    def sound(self, track_index: int) -> NDArray[np.int16] | None:
        """The sound of a track, from the first frame to the end of the last.

        Args:
            track_index: position in `tracks`.

        Returns:
            int16 (n,), 16 kHz mono, zeros where the video has none; None if none was kept.

        Raises:
            InputError: the shard is damaged there.
        """
        track = self.tracks[track_index]
        if not track.sound_bytes:
            return None
        data = self._read(track, track.n_bytes - track.sound_bytes, track.sound_bytes)
        samples = decode_sound(data)
        if samples is None:
            raise self._broken(track, f"the sound of {track.name} is not as it was written")
        return samples

    def verify(self) -> list[str]:
        """Read everything and compare checksums: a line for every shard that is damaged."""
        return list(self._damaged(thorough=True).values())

    def __getstate__(self) -> dict[str, Any]:
        """Columns pickle four times faster than tracks: a spawned loader worker starts at once."""
        return {**self.__dict__, "tracks": list(zip(*self.tracks, strict=True))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state["tracks"] = list(map(Track._make, zip(*state["tracks"], strict=True)))
        self.__dict__.update(state)

    def _read(self, track: Track, start: int, n_bytes: int) -> bytes:
        """Bytes of a track from the start-th on."""
        try:
            with (self.path / self._shards[track.shard].file).open("rb", buffering=0) as file:
                file.seek(track.offset + start)
                return file.read(n_bytes)
        except OSError as error:
            raise self._broken(track, error.strerror or str(error)) from None

    def _bytes(
        self, track: Track, first: int, stop: int
    ) -> tuple[NDArray[np.void], NDArray[np.int64], memoryview]:
        """The table of a track, and the bytes of its frames first .. stop - 1.

        In between: where each frame starts in those bytes (n_frames + 1,).
        """
        try:
            with (self.path / self._shards[track.shard].file).open("rb", buffering=0) as file:
                file.seek(track.offset)
                raw = file.read(track.n_frames * FRAME.itemsize)
                table = np.frombuffer(raw, FRAME, len(raw) // FRAME.itemsize)
                sizes = table["jpeg"].astype(np.int64) + table["cells"]
                starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
                n_bytes = len(raw) + starts[-1] + track.point_bytes + track.sound_bytes
                if len(table) < track.n_frames or n_bytes != track.n_bytes:
                    raise self._broken(track, f"the table of {track.name} is not as it was written")
                file.seek(starts[first], os.SEEK_CUR)
                data = file.read(starts[stop] - starts[first])
        except OSError as error:
            raise self._broken(track, error.strerror or str(error)) from None
        return table, starts - starts[first], memoryview(data)

    def _broken(self, track: Track, what: str) -> InputError:
        return InputError(
            f"{self.path / self._shards[track.shard].file}: damaged ({what}); {_HEAL}"
        )

    def _damaged(self, *, thorough: bool) -> dict[int, str]:
        """Shard number -> what is wrong with it."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            faults = pool.map(lambda shard: self._fault(shard, thorough), self._shards)
            return {number: fault for number, fault in enumerate(faults) if fault}

    def _fault(self, shard: Shard, thorough: bool) -> str | None:
        file = self.path / shard.file
        try:
            n_bytes = file.stat().st_size
            if n_bytes != shard.n_bytes:
                return f"{file}: has {n_bytes:,} bytes, {INDEX_FILE} says {shard.n_bytes:,}"
            if thorough and file_sha256(file) != shard.sha256:
                return f"{file}: damaged, its sha256 is not the one in {INDEX_FILE}"
        except OSError as error:
            return f"{file}: {(error.strerror or str(error)).lower()}"
        return None

    def _check_places(self) -> None:
        """Every track must lie within its shard."""
        for track in self.tracks:
            there = track.shard < len(self._shards)
            if not there or track.offset + track.n_bytes > self._shards[track.shard].n_bytes:
                raise InputError(
                    f"{self.path}: index and shards disagree ({track.name} lies outside shard "
                    f"{track.shard}); copy the store again"
                )


def _numbers(track: Track, frames: Sequence[int]) -> NDArray[np.int64]:
    """Frame numbers as an array.

    Raises:
        IndexError: none, or one that the track does not have.
    """
    numbers = np.asarray(frames, np.int64)
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= track.n_frames:
        raise IndexError(f"{track.name}: frames {frames} of {track.n_frames}")
    return numbers
