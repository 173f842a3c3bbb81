"""Who is who: faces of consecutive frames linked to tracks.

A track is one person in one shot. It survives frames in which its face is not seen for up to
`max_gap_s`; when the face is seen again, what lies between is interpolated. The arithmetic of
identities and squares is here; pictures and networks are `stream`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.crop import marlin_square
from openmarlin.face.landmarker import MIN_SCORE, Box, Face
from openmarlin.face.smooth import Floats, smooth

CONFIRMED = 3
"""Times a face must be seen to be believed (in shots this long at least), ..."""

_SURE = 0.75  # ... once of them with this score

_EYES = (33, 263)  # outer corners: the person's right eye, left eye
_MIDLINE = (10, 152)  # top of the forehead, chin
_SLACK, _SPEED = 0.5, 0.5  # how far a face may stray from its prediction: sides, sides a second
_MAX_ZOOM = math.log(1.6)  # between two sightings
_SAMPLED = slice(None, None, 6)  # points of a mesh that suffice to compare it with another
_PREDICTED_S = 0.4  # motion is extrapolated for so long; then the face is expected to stand
_DRIFT = 0.2  # furthest the smoothed square leaves the measured one: sides, log side


def roll(points: NDArray[np.float32]) -> float:
    """In-plane rotation of a mesh: 0 upright, positive clockwise on the screen, radians.

    The line through the eyes and the one from forehead to chin, added as vectors: the first
    degenerates in profile, the second when the head is bowed.
    """
    right, left = points[_EYES[0], :2], points[_EYES[1], :2]
    top, chin = points[_MIDLINE[0], :2], points[_MIDLINE[1], :2]
    x = (left[0] - right[0]) + (chin[1] - top[1])
    y = (left[1] - right[1]) - (chin[0] - top[0])
    return math.atan2(float(y), float(x))


def measure(points: NDArray[np.float32], upright: bool) -> Floats:
    """The crop square of a mesh: cx, cy, log side, angle.

    With `upright` the square is turned by the face's roll, and framed in that turned system.
    """
    angle = roll(points) if upright else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    xy = points[:, :2].astype(np.float64) @ np.array([[cos, -sin], [sin, cos]])
    cx, cy, side = marlin_square(np.concatenate([xy.min(axis=0), xy.max(axis=0)]))
    return np.array([cos * cx - sin * cy, sin * cx + cos * cy, math.log(max(side, 1e-3)), angle])


def smoothed_square(times_s: Floats, squares: Floats, at_s: float, measured: Floats) -> Floats:
    """The final square (cx, cy, log side, angle) of a track at an instant.

    Args:
        times_s, squares: (n,) and (n, 4) of the track, see `smooth`.
        at_s: the instant.
        measured: the square (4,) there, close to which the smoothed one stays.
    """
    drift = _DRIFT * math.exp(measured[2])
    leeway = np.array([drift, drift, _DRIFT, math.inf])
    return np.clip(smooth(times_s, squares, at_s), measured - leeway, measured + leeway)


def distances(
    first: Sequence[NDArray[np.float32]], second: Sequence[NDArray[np.float32]], limit: float
) -> Floats:
    """How far meshes lie apart: mean distance of their points over the size of the faces.

    Args:
        first, second: m and n meshes (478, 2+).
        limit: what is further is infinitely far, which spares computing it.

    Returns:
        (m, n).
    """
    result = np.full((len(first), len(second)), np.inf)
    if not (len(first) and len(second)):
        return result
    a, b = (np.stack([mesh[_SAMPLED, :2] for mesh in meshes]) for meshes in (first, second))
    size = np.sqrt(np.outer(_sizes(a), _sizes(b)))
    # The mean distance of the points is never less than the distance of their means.
    between = np.linalg.norm(a.mean(axis=1)[:, None] - b.mean(axis=1)[None], axis=2)
    for i, j in np.argwhere(between < limit * size):
        result[i, j] = np.linalg.norm(a[i] - b[j], axis=1).mean() / size[i, j]
    result[result > limit] = np.inf
    return result


def reach(elapsed_s: float) -> float:
    """How far from its prediction a face is still itself, in sides."""
    return _SLACK + _SPEED * elapsed_s


@dataclass(slots=True)
class Sample:
    """A track at one frame.

    Attributes:
        time_s: on the clock of the ticks.
        face: None where it was not seen.
        square: cx, cy, log side, angle: measured, or interpolated once the face is seen again.
        box: x1, y1, x2, y2 of the mesh, likewise.
    """

    time_s: float
    face: Face | None = None
    square: Floats | None = None
    box: Box | None = None


@dataclass(eq=False, slots=True)
class Track:
    """One person in one shot.

    A track goes open -> confirmed -> closed, or open -> closed and is then never shown.

    Attributes:
        samples: by frame number; between two sightings their squares are None until the second.
        seen: sightings.
        best_score: of all sightings.
        last: frame number of the last sighting.
        velocity: pixels a second (2,), between the last two sightings.
        closed: nothing more will be added.
        confirmed: this is a face, whatever comes.
        id: given when the first crop is cut, so that numbers follow the order of appearance.
    """

    samples: dict[int, Sample] = field(default_factory=dict)
    seen: int = 0
    best_score: float = 0.0
    last: int = -1
    velocity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))
    closed: bool = False
    confirmed: bool = False
    id: int | None = None

    @property
    def last_sample(self) -> Sample:
        """Where the face was last seen."""
        return self.samples[self.last]

    @property
    def in_sight(self) -> bool:
        """Whether the face is seen in the newest frame."""
        return next(reversed(self.samples)) == self.last

    @property
    def last_points(self) -> NDArray[np.float32]:
        """The mesh (478, 3) when the face was last seen."""
        face = self.last_sample.face
        assert face is not None
        return face.points

    def see(self, number: int, time_s: float, face: Face, upright: bool) -> None:
        """Add a sighting, and interpolate the squares since the one before."""
        square, box = measure(face.points, upright), face.box
        if self.seen:
            before = self.last_sample
            assert before.square is not None
            assert before.box is not None
            # An angle has no beginning: take the turn next to the last one, or a head that rolls
            # past 180 degrees would spin back between two frames.
            turns = round((before.square[3] - square[3]) / (2 * math.pi))
            square[3] += 2 * math.pi * turns
            elapsed = max(time_s - before.time_s, 1e-3)
            for n in range(self.last + 1, number):
                part = (self.samples[n].time_s - before.time_s) / elapsed
                self.samples[n].square = before.square + part * (square - before.square)
                self.samples[n].box = before.box + np.float32(part) * (box - before.box)
            moved = (face.points - self.last_points)[:, :2].mean(axis=0)
            self.velocity = (moved / elapsed).astype(np.float32)
        self.samples[number] = Sample(time_s, face, square, box)
        self.seen, self.last = self.seen + 1, number
        self.best_score = max(self.best_score, face.score)
        self._confirm(CONFIRMED)

    def miss(self, number: int, time_s: float) -> None:
        """Add a frame in which the face was not seen."""
        self.samples[number] = Sample(time_s)

    def close(self, shot_frames: int) -> None:
        """End the track with its last sighting.

        Frames behind it wait for a face that will not come: they get no crop. In a shot shorter
        than `CONFIRMED` frames nobody can be seen so often; being in all of them is enough.
        """
        self.samples = {n: s for n, s in self.samples.items() if n <= self.last}
        self._confirm(min(CONFIRMED, shot_frames))
        self.closed = True

    def _confirm(self, times: int) -> None:
        # Once confirmed, always: crops of it may have been given out.
        sure = self.seen >= times and self.best_score >= _SURE
        self.confirmed = self.confirmed or sure

    def predict(self, time_s: float) -> NDArray[np.float32]:
        """The mesh (478, 3) expected at an instant: the last one, moved on for a moment."""
        points = self.last_points.copy()
        points[:, :2] += self.shift(time_s)
        return points

    def shift(self, time_s: float) -> NDArray[np.float32]:
        """How far (2,) the face is expected to have moved since it was last seen, pixels."""
        return self.velocity * np.float32(min(time_s - self.last_sample.time_s, _PREDICTED_S))

    def smoothed(self, number: int) -> Floats:
        """The final square at a frame; it stays close to the measured one."""
        placed = [s for s in self.samples.values() if s.square is not None]
        sample = self.samples[number]
        assert sample.square is not None
        times_s = np.array([s.time_s for s in placed])
        squares = np.array([s.square for s in placed])
        return smoothed_square(times_s, squares, sample.time_s, sample.square)

    def forget(self, before_s: float) -> None:
        """Drop samples older than an instant, except the last sighting."""
        for n in [n for n, s in self.samples.items() if s.time_s < before_s and n != self.last]:
            del self.samples[n]


class Tracker:
    """Links the faces of each frame to tracks.

    Args:
        max_gap_s: how long a face may be out of sight and stay the same track.
        upright: squares are turned by the faces' roll.

    Attributes:
        live: tracks of the present shot that have not ended.
    """

    def __init__(self, max_gap_s: float, upright: bool = False) -> None:
        self.live: list[Track] = []
        self._max_gap_s, self._upright = max_gap_s, upright
        self._shot_frames = 0

    def step(
        self,
        number: int,
        time_s: float,
        faces: list[Face],
        matches: dict[Track, int] | None = None,
    ) -> None:
        """Take in the next frame.

        Args:
            number: of the frame; consecutive.
            time_s: its instant.
            faces: all of its faces.
            matches: what `match` says about them, where it was asked before.
        """
        self._shot_frames += 1
        matches = self.match(time_s, faces) if matches is None else matches
        for track in self.live:
            if track in matches:
                track.see(number, time_s, faces[matches[track]], self._upright)
            elif time_s - track.last_sample.time_s <= self._max_gap_s + 1e-6:
                track.miss(number, time_s)
            else:
                track.close(self._shot_frames)
        self.live = [track for track in self.live if not track.closed]
        # A face that no track claims is a new person, if it is good enough for one: what is merely
        # good enough to be followed (`MIN_FOLLOWED`) starts nothing. The largest gets the first id.
        claimed = set(matches.values())
        fresh = [f for i, f in enumerate(faces) if i not in claimed and f.score >= MIN_SCORE]
        for face in sorted(fresh, key=lambda face: -_size(face.points)):
            track = Track()
            track.see(number, time_s, face, self._upright)
            self.live.append(track)

    def match(self, time_s: float, faces: list[Face]) -> dict[Track, int]:
        """Which face each live track has become, nearest pairs first.

        A face may be where motion predicts it or where it was: heads move on, and they stop.
        """
        meshes = [face.points for face in faces]
        before = [track.last_points for track in self.live]
        expected = [track.predict(time_s) for track in self.live]
        limits = np.array([reach(time_s - t.last_sample.time_s) for t in self.live])
        furthest = limits.max(initial=0.0)
        apart = np.minimum(
            distances(before, meshes, furthest), distances(expected, meshes, furthest)
        )
        zooms = np.log([_size(mesh) for mesh in before])[:, None] - np.log(
            [_size(mesh) for mesh in meshes]
        )
        # A face next to another may be the nearest and yet be somebody else: sizes tell.
        apart[(apart > limits[:, None]) | (np.abs(zooms) > _MAX_ZOOM)] = np.inf
        return {self.live[t]: f for t, f in nearest_pairs(apart)}

    def end_shot(self) -> None:
        """End all tracks: the next frame belongs to another shot, or there is none."""
        for track in self.live:
            track.close(self._shot_frames)
        self.live, self._shot_frames = [], 0

    def end_unseen(self) -> None:
        """End the tracks whose face is out of sight, without waiting for it to come back."""
        for track in self.live:
            if not track.in_sight:
                track.close(self._shot_frames)
        self.live = [track for track in self.live if not track.closed]


def nearest_pairs(apart: Floats) -> Iterator[tuple[int, int]]:
    """Pairs of rows and columns, nearest first, each used once; infinity never pairs."""
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(apart, axis=None, kind="stable"):
        i, j = divmod(int(flat), apart.shape[1])
        if apart[i, j] == np.inf:
            return
        if i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            yield i, j


def _size(points: NDArray[np.float32]) -> float:
    return float(_sizes(points[None, _SAMPLED, :2])[0])


def _sizes(meshes: NDArray[np.float32]) -> Floats:
    """Longer sides of the boxes of n meshes (n, points, 2), pixels."""
    sizes = np.ptp(meshes, axis=1).max(axis=1)
    return np.maximum(np.asarray(sizes, dtype=np.float64), 1e-3)
