"""What teachers and mesh say of the frames of a store: measured once, kept beside its shards.

    STORE/measured-1a2b3c4d/tracks-000256-000511.npz

The name of the folder tells store and teachers apart. Every fourth frame is measured. A run that is
interrupted goes on with the tracks that are missing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from openmarlin.console import job_progress
from openmarlin.data.store import INDEX_FILE, Store, Track
from openmarlin.distillation.teachers import TeacherNets, teacher_files
from openmarlin.errors import InputError
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.face.landmarker import Face, Landmarker
from openmarlin.face.mesh import N_POINTS
from openmarlin.face.pose import head_pose
from openmarlin.files import atomic, file_sha256

Floats = NDArray[np.float32]

EVERY = 4
"""Frames of a track from one measured frame to the next: a time step of clips that take every
second frame."""

MESH = "mesh"
"""Measured points (478, 2), pixels of the stored crop."""

BLENDSHAPES, POSE = "blendshapes", "pose"
"""Coefficients (52,), and yaw, pitch, roll in radians (3,)."""

_OWN = {MESH: (N_POINTS, 2), BLENDSHAPES: (len(BLENDSHAPE_NAMES),), POSE: (3,)}
_TRACKS = 256  # in a file
_BATCH = 32  # frames that nets are asked about at once


@dataclass(frozen=True)
class Measurements:
    """Of all measured frames of some tracks, one after the other.

    Attributes:
        values: float32 (frames, ...) by name; NaN where no face was found.
        starts: (tracks + 1,), where each track's frames begin.
    """

    values: dict[str, Floats]
    starts: NDArray[np.int64]


def count_measured(track: Track) -> int:
    """Frames of a track that are measured: 0, 4, 8, ..."""
    return -(-track.n_frames // EVERY)


def measure(store: Store, teachers: Path | None, *, progress: bool = False) -> Measurements:
    """What is known of a store's frames, from its file where it is there already.

    Args:
        store: to read from; the measurements are written into its folder.
        teachers: folder of teachers' files, see `TeacherNets`; None: the mesh alone.
        progress: show a bar.

    Raises:
        InputError: a teacher cannot be read, the disk is full, a shard is damaged.
    """
    folder = store.path / f"measured-{_stamp(store, teachers)}"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from None
    files = {tracks: folder / _file_name(tracks) for tracks in _parts(len(store))}
    missing = {tracks: file for tracks, file in files.items() if not file.is_file()}
    if missing:
        measurer = _Measurer(store, TeacherNets(teachers))
        with job_progress("tracks") as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            bar.disable = bar.disable or not progress
            task = bar.add_task("asking teachers", total=sum(map(len, missing)), note="")
            for tracks, file in missing.items():
                parts = []
                for part in pool.map(measurer.track, tracks):
                    parts.append(part)
                    bar.advance(task)
                _write(file, parts)
    counts = [count_measured(track) for track in store.tracks]
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Measurements(_join([_read(file) for file in files.values()]), starts)


def _parts(n_tracks: int) -> list[range]:
    """Tracks that share a file."""
    return [range(i, min(i + _TRACKS, n_tracks)) for i in range(0, n_tracks, _TRACKS)]


def _file_name(tracks: range) -> str:
    return f"tracks-{tracks.start:06d}-{tracks[-1]:06d}.npz"


class _Measurer:
    def __init__(self, store: Store, teachers: TeacherNets) -> None:
        self.store, self.teachers = store, teachers
        self.landmarker = Landmarker(blendshapes=True)

    def track(self, number: int) -> dict[str, Floats]:
        """All measured frames of a track."""
        frames = range(0, self.store.tracks[number].n_frames, EVERY)
        parts = [
            self._frames(number, frames[start : start + _BATCH])
            for start in range(0, len(frames), _BATCH)
        ]
        return _join(parts)

    def _frames(self, number: int, frames: Sequence[int]) -> dict[str, Floats]:
        images = list(self.store.read(number, frames)[0])
        margin = self.store.margin
        low, high = margin, self.store.size - margin
        box = np.array([low, low, high, high], np.float32)
        found = [row[0] for row in self.landmarker.follow(images, [[box]] * len(images))]
        seen = [i for i, face in enumerate(found) if face is not None]
        faces = [face for face in found if face is not None]
        if not faces:
            return {name: np.full((len(frames), *shape), np.nan) for name, shape in _OWN.items()}
        answers = _own(faces) | self.teachers.ask(
            [images[i] for i in seen], [f.points for f in faces]
        )
        return {name: _spread(values, seen, len(frames)) for name, values in answers.items()}


def _own(faces: list[Face]) -> dict[str, Floats]:
    meshes = np.stack([face.points for face in faces])
    shapes = [face.blendshapes for face in faces if face.blendshapes is not None]
    pose = np.radians(head_pose(meshes)).astype(np.float32)
    return {MESH: meshes[:, :, :2], BLENDSHAPES: np.stack(shapes), POSE: pose}


def _spread(values: Floats, places: list[int], count: int) -> Floats:
    """Rows at their places among `count`, NaN elsewhere."""
    rows = np.full((count, *values.shape[1:]), np.nan, np.float32)
    rows[places] = values
    return rows


def _join(parts: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """One after the other; what a part lacks, because nobody was seen in it, is NaN there."""
    shapes = {name: values.shape[1:] for part in parts for name, values in part.items()}
    return {
        name: np.concatenate(
            [part.get(name, np.full((len(part[MESH]), *shape), np.nan)) for part in parts]
        ).astype(np.float32)
        for name, shape in shapes.items()
    }


def _write(file: Path, parts: Sequence[dict[str, Floats]]) -> None:
    halves = {name: values.astype(np.float16) for name, values in _join(parts).items()}
    with atomic(file) as part, part.open("wb") as out:
        np.savez_compressed(out, **halves)  # type: ignore[arg-type]


def _read(file: Path) -> dict[str, Floats]:
    try:
        with np.load(file) as arrays:
            return {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (OSError, ValueError, BadZipFile):
        raise InputError(f"{file}: damaged; remove it, and it is measured anew") from None


def _stamp(store: Store, teachers: Path | None) -> str:
    """Of the store and of the teachers."""
    digest = hashlib.sha256(file_sha256(store.path / INDEX_FILE).encode())
    for file in teacher_files(teachers):
        digest.update(f"{file.name} {file_sha256(file)}".encode())
    return digest.hexdigest()[:8]
