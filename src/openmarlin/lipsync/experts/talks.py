"""Mouths and sound of a store's tracks on the clock of experts, 25 ticks a second.

Pictures of mouths are cut once and kept in a file beside the run, so that no epoch decodes crops:

    talks = Talks(store, folder)
    talks.views(3)      (T,) of type `VIEW`
    talks.mel(3)        (80, 4 T + 1) columns, 100 a second, column 0 at the first tick
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.console import job_progress
from openmarlin.data.store import Store, Track
from openmarlin.data.store.index import INDEX_FILE
from openmarlin.errors import InputError
from openmarlin.face.mesh import fill_gaps
from openmarlin.files import atomic, file_sha256
from openmarlin.lipsync.experts.mouth_view import VIEW, mouth_view
from openmarlin.lipsync.experts.network import SOUND_RATE, WINDOW
from openmarlin.lipsync.mel import mel_spectrogram
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.store_tracks import track_sound

VIEWS = ("views.npy", "views.sha256")
"""Files of the pictures of mouths, and of which store they are."""

MIN_TICKS = WINDOW + 9
"""Shorter tracks have too few windows to tell apart."""


class Talks:
    """Tracks of a store that have sound, mesh points and some length.

    Args:
        store: to read from.
        folder: gets the file of views, or has it already.
        progress: show a bar while views are made.

    Raises:
        InputError: the store was made without `sound` or `points`, or no track is long enough.
    """

    def __init__(self, store: Store, folder: Path, *, progress: bool = False) -> None:
        self.store = store
        self.numbers = [i for i, track in enumerate(store.tracks) if _is_usable(track)]
        if not self.numbers:
            raise InputError(
                f"{store.path}: no track of {MIN_TICKS / TICK_RATE:g} s has sound and mesh points; "
                "make the store with `openmarlin prepare --sound --points`"
            )
        self.n_ticks = [_count_ticks(store.tracks[number]) for number in self.numbers]
        self._starts = np.concatenate([[0], np.cumsum(self.n_ticks)])
        self._views = self._open(folder, progress=progress)

    def __len__(self) -> int:
        return len(self.numbers)

    def track(self, index: int) -> Track:
        """The track of a talk."""
        return self.store.tracks[self.numbers[index]]

    def views(self, index: int) -> NDArray[np.void]:
        """What experts see of a talk, (T,) of type `VIEW`."""
        return np.asarray(self._views[self._starts[index] : self._starts[index + 1]])

    def mel(self, index: int) -> NDArray[np.float32]:
        """What they hear: (80, 4 T + 1), 100 columns a second, the first at the first tick."""
        sound = track_sound(self.store, self.numbers[index])
        return mel_spectrogram(sound.between(0, self.n_ticks[index] / TICK_RATE), SOUND_RATE)

    def _open(self, folder: Path, *, progress: bool) -> NDArray[np.void]:
        n_ticks = int(self._starts[-1])
        stamp = file_sha256(self.store.path / INDEX_FILE)
        file, note = (folder / name for name in VIEWS)
        if not (file.is_file() and note.is_file() and note.read_text() == stamp):
            with atomic(file) as part:
                views = np.lib.format.open_memmap(part, "w+", VIEW, (n_ticks,))
                self._fill(views, progress=progress)
                views.flush()
                del views
            note.write_text(stamp)
        result: NDArray[np.void] = np.load(file, mmap_mode="r")
        return result

    def _fill(self, views: NDArray[np.void], *, progress: bool) -> None:
        with job_progress("tracks") as bar:
            bar.disable = bar.disable or not progress
            task = bar.add_task("mouths", total=len(self), note="")
            for index, number in enumerate(self.numbers):
                track = self.track(index)
                frames = np.arange(self.n_ticks[index]) * track.fps / TICK_RATE
                frames = np.minimum(np.round(frames).astype(int), track.n_frames - 1)
                views[self._starts[index] : self._starts[index + 1]] = self._cut(number, frames)
                bar.update(task, advance=1, note="")

    def _cut(self, number: int, frames: NDArray[np.int64]) -> NDArray[np.void]:
        images, _ = self.store.read(number, frames.tolist())
        points = self.store.points(number, frames.tolist())
        assert points is not None
        meshes = fill_gaps([None if np.isnan(mesh).any() else mesh for mesh in points])
        if meshes is None:  # nobody was seen: nothing to learn, but a place all the same
            return np.zeros(len(frames), VIEW)
        return np.array([mouth_view(*each) for each in zip(images, meshes, strict=True)], VIEW)


def _is_usable(track: Track) -> bool:
    whole = track.sound_bytes > 0 and track.point_bytes > 0 and track.seen > 0
    return whole and _count_ticks(track) >= MIN_TICKS


def _count_ticks(track: Track) -> int:
    return int(track.n_frames / track.fps * TICK_RATE + 1e-6)
