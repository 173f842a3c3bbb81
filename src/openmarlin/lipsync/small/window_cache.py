"""The windows of a store's frames in one file: what the renderer learns from, ready to use.

RUN/windows.u8    uint8 (frames, S, S, 3), frame after frame, track after track

A frame of a store is a JPEG of the whole face; to decode two for each sample would take as long as
half a step of the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store
from openmarlin.files import atomic
from openmarlin.lipsync.small.mouth_shape import Floats, ShapeBasis
from openmarlin.lipsync.small.tracks import MouthTrack
from openmarlin.lipsync.small.window import (
    Framing,
    Image,
    View,
    move_camera,
    move_points,
    warp,
)

CACHE_FILE = "windows.u8"
_ROOM = 12  # the windows have 1/12 more on every side, for augmentation


class WindowTrack:
    """Some frames of a track, evenly spread.

    Args:
        mouth: of the track.
        most: frames.
        basis: of shapes.
        matrix: from pixels of stored crops to those of the cached windows (2, 3).
        first: place of the first frame in the file.

    Attributes:
        name, group: of the track.
        frames: (n,) numbers in the track.
        times_s: (n,) from its first frame on.
        cameras: (n, 2, 4) to pixels of the cached windows.
        points: (n, M, 2) mouth points there.
        shapes: (n, K) deviations from the neutral shape.
        neutral: (M, 2) of the track.
        opening: (n,) of the lips.
    """

    def __init__(
        self,
        mouth: MouthTrack,
        most: int,
        basis: ShapeBasis,
        matrix: NDArray[np.float64],
        first: int,
    ) -> None:
        self.name, self.group, self.number, self.first = (
            mouth.name,
            mouth.group,
            mouth.number,
            first,
        )
        count = min(most, len(mouth))
        self.frames = np.linspace(0, len(mouth) - 1, count).round().astype(int)
        self.times_s = self.frames / mouth.fps
        plane, self.neutral = mouth.plane(basis)
        self.shapes = basis.encode(plane[self.frames] - self.neutral)
        self.cameras = move_camera(mouth.cameras[self.frames], matrix)
        self.points: Floats = move_points(mouth.points[self.frames], matrix)
        self.opening = mouth.opening[self.frames]

    def __len__(self) -> int:
        return len(self.frames)


class WindowCache:
    """The windows of some tracks.

    Args:
        path: the file.
        size: side of the renderer's window, pixels.
        stored: side of the stored crops, and `margin` around the face in them.
        mouths: of the tracks.
        most: frames of a track.
        basis: of shapes.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        stored: int,
        margin: int,
        mouths: Sequence[MouthTrack],
        most: int,
        basis: ShapeBasis,
    ) -> None:
        self.path, self.framing = path, Framing(size)
        self.room = size // _ROOM
        self.side = size + 2 * self.room
        scale = self.framing.face_px / (stored - 2 * margin)
        left, top = self.framing.left - self.room, self.framing.top - self.room
        shift = [[-scale * margin - left], [-scale * margin - top]]
        self.matrix = np.hstack([scale * np.eye(2), shift])
        self.tracks: list[WindowTrack] = []
        for mouth in mouths:
            self.tracks.append(WindowTrack(mouth, most, basis, self.matrix, len(self)))

    def __len__(self) -> int:
        """Frames in the file."""
        return self.tracks[-1].first + len(self.tracks[-1]) if self.tracks else 0

    @property
    def n_bytes(self) -> int:
        return len(self) * self.side * self.side * 3

    def make(self, store: Store, advance: Callable[[int], None]) -> None:
        """Write the file unless it is there; `advance` hears of finished tracks.

        Raises:
            InputError: the store is damaged, or the disk full.
        """
        if self.path.is_file() and self.path.stat().st_size == self.n_bytes:
            return
        pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
        with atomic(self.path) as part, part.open("wb") as file, pool:
            for images in pool.map(lambda track: self._windows(store, track), self.tracks):
                file.write(images.tobytes())
                advance(1)

    def view(self, track: WindowTrack, i: int) -> View:
        """The i-th frame of a track."""
        n_bytes = self.side * self.side * 3
        with self.path.open("rb", buffering=0) as file:
            file.seek((track.first + i) * n_bytes)
            image = np.frombuffer(file.read(n_bytes), np.uint8)
        return View(image.reshape(self.side, self.side, 3), track.cameras[i], track.points[i])

    def _windows(self, store: Store, track: WindowTrack) -> Image:
        images, _ = store.read(track.number, track.frames.tolist())
        return np.stack([warp(image, self.matrix, self.side) for image in images])
