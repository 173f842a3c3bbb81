"""What the trainings of the small model read from a store: mouths and sound of each track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store
from openmarlin.errors import InputError, option
from openmarlin.face.mesh import fill_gaps
from openmarlin.face.pose import face_cameras
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.small.mouth_shape import MOUTH, Floats, ShapeBasis

_LEAST_SEEN = 0.8


@dataclass(frozen=True)
class MouthTrack:
    """The mouth of a track.

    Attributes:
        number: position in `Store.tracks`.
        name, group, fps: of the track.
        points: (n, M, 2) float32 mouth points, pixels of the stored crops.
        cameras: (n, 2, 4) of the faces, to pixels of the stored crops.
        opening: (n,) float32, see `opening`.
    """

    number: int
    name: str
    group: str
    fps: float
    points: Floats
    cameras: NDArray[np.float64]
    opening: Floats

    def __len__(self) -> int:
        return len(self.points)

    def plane(self, basis: ShapeBasis) -> tuple[Floats, Floats]:
        """The points in the plane of the face (n, M, 2), and their mean (M, 2): the neutral."""
        plane = basis.plane(self.points, self.cameras)
        return plane, plane.mean(axis=0)


def read_mouths(store: Store, numbers: Sequence[int]) -> list[MouthTrack]:
    """The mouths of tracks; those that were seen in less than 80 % of the frames are left out.

    Raises:
        InputError: the store has no mesh points, or is damaged.
    """
    tracks = []
    for number in numbers:
        track = store.tracks[number]
        meshes = store.points(number, range(track.n_frames))
        if meshes is None:
            raise needs(store.path, "points")
        frames = [mesh if np.isfinite(mesh).all() else None for mesh in meshes]
        if np.mean([mesh is not None for mesh in frames]) < _LEAST_SEEN:
            continue
        points = fill_gaps(frames)
        assert points is not None
        tracks.append(
            MouthTrack(
                number,
                track.name,
                track.group,
                track.fps,
                points[:, MOUTH],
                face_cameras(points),
                mouth_opening(points),
            )
        )
    return tracks


def needs(store: Path, what: str) -> InputError:
    """The error of a store that was made without what a training needs."""
    return InputError(
        f"{store}: the store has no {what}; prepare it with {option('sound', True)} and "
        f"{option('points', True)}"
    )
