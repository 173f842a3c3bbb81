"""A face that is given other lips: where it is in every frame, and how much of it is drawn.

faces, times_s = scan_faces(table)
face = DrivenFace.of(faces[0], times_s, fps, shots, max_yaw=50)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from openmarlin.data.face_table import POSE, pieces, points_of
from openmarlin.face.smooth import RADIUS_S
from openmarlin.face.track import measure, smoothed_square
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.schedule import Schedule

Floats = NDArray[np.float64]

MIN_SIDE_PX = 32
"""Faces of which the mesh is smaller stay untouched: there is nothing to see of their lips."""

FADE = 4
"""Frames over which what is drawn comes and goes."""

_BRIDGED = 2  # frames in which a face is missed and yet drawn; longer ones may hide it
_YAW_SIGMA = 2.0  # frames: a face that trembles about the limit does not come and go

DRAWN, ABSENT, HIDDEN, TURNED, SMALL, PAUSE = (
    *("", "not in view", "not seen", "turned away", "too small"),
    "nobody speaks",
)
"""Why a frame stays untouched."""


@dataclass(frozen=True)
class ScannedFace:
    """A track as it was measured.

    Attributes:
        track: its number.
        frames: (n,) ascending frames in which it is in view.
        seen: (n,) the face was seen, and not only before and after.
        boxes: (n, 4) of the mesh, source pixels.
        pose: (n, 3) yaw, pitch, roll in degrees, NaN where not seen.
        squares: (n, 4) upright squares: cx, cy, log side, angle; NaN where not seen.
        opening: (n,) of the mouth, see `mouth_opening`; NaN where not seen.
    """

    track: int
    frames: NDArray[np.int64]
    seen: NDArray[np.bool_]
    boxes: Floats
    pose: Floats
    squares: Floats
    opening: Floats


def scan_faces(table: Path) -> tuple[dict[int, ScannedFace], Floats]:
    """All tracks of a table of faces with points, and the time of every frame.

    The points themselves are let go: what is kept is 105 bytes a frame and face.

    Raises:
        InputError: the table cannot be read.
    """
    rows: dict[int, list[tuple[NDArray[np.int64], NDArray[np.bool_], Floats]]] = defaultdict(list)
    shown: list[tuple[NDArray[np.int64], Floats]] = []
    for piece in pieces(table):
        frames = piece.column("frame").to_numpy().astype(np.int64)
        tracks, seen = (piece.column(name).to_numpy() for name in ("face", "ok"))
        numbers, places = np.unique(frames, return_index=True)  # a frame has a row for each face
        shown.append((numbers, piece.column("time_s").to_numpy()[places]))
        columns = ("x1", "y1", "x2", "y2", *POSE)
        values = np.full((len(frames), 12), np.nan)
        values[:, :7] = np.stack([piece.column(name).to_numpy() for name in columns], axis=1)
        points = points_of(piece)[seen]
        if len(points):
            values[seen, 7:11] = [measure(mesh, upright=True) for mesh in points]
            values[seen, 11] = mouth_opening(points)
        for track in set(tracks[tracks >= 0].tolist()):
            mine = tracks == track
            rows[track].append((frames[mine], seen[mine], values[mine]))
    faces = {}
    for track in sorted(rows):
        frames, seen, values = (np.concatenate(part) for part in zip(*rows.pop(track), strict=True))
        values[:, 10] = _unwrapped(values[:, 10])
        faces[track] = ScannedFace(
            track, frames, seen, values[:, :4], values[:, 4:7], values[:, 7:11], values[:, 11]
        )
    numbers, times_s = (np.concatenate(part) for part in zip(*shown, strict=True))
    return faces, times_s[np.unique(numbers, return_index=True)[1]]


def _unwrapped(angles: Floats) -> Floats:
    """Angles without jumps of a whole turn; NaN stays."""
    there = np.isfinite(angles)
    angles[there] = np.unwrap(angles[there])
    return angles


@dataclass(frozen=True)
class DrivenFace:
    """A track that is drawn.

    Attributes:
        track: its number.
        first: its first frame; all arrays are of the frames from there on, without a gap.
        squares: (n, 4) smoothed upright squares: cx, cy, log side, angle.
        strength: (n,) of what is drawn, 0 (untouched) to 1.
        reasons: (n,) why a frame is untouched; empty where it is not.
        opening: (n,) of the mouth in the source; NaN where the face was not seen.
        pose: (n, 3) yaw, pitch, roll in degrees, gaps filled.
    """

    track: int
    first: int
    squares: Floats
    strength: Floats
    reasons: NDArray[np.object_]
    opening: Floats
    pose: Floats

    @property
    def stop(self) -> int:
        """The frame after its last one."""
        return self.first + len(self.strength)

    @classmethod
    def of(cls, face: ScannedFace, times_s: Floats, shots: list[int], *, max_yaw: float) -> Self:
        """What of a track is drawn.

        Args:
            face: the track.
            times_s: (N,) of all frames.
            shots: the frames with which shots begin: nothing fades across a cut.
            max_yaw: degrees; further to the side a face stays untouched.
        """
        first, stop = int(face.frames[0]), int(face.frames[-1]) + 1
        place, span_s = face.frames - first, times_s[first:stop]
        seen = np.zeros(stop - first, bool)
        seen[place] = face.seen
        measured = np.full((stop - first, 12), np.nan)
        measured[place] = np.column_stack([face.squares, face.pose, face.opening, face.boxes])
        filled = _filled(measured, seen, span_s)
        yaw = gaussian_filter1d(filled[:, 4], _YAW_SIGMA, mode="nearest")
        side = np.maximum(filled[:, 10] - filled[:, 8], filled[:, 11] - filled[:, 9])
        reasons = np.full(stop - first, DRAWN, object)
        reasons[side < MIN_SIDE_PX] = SMALL
        reasons[np.abs(yaw) > max_yaw] = TURNED
        reasons[~_bridged(seen)] = HIDDEN
        cuts = {*shots, len(times_s)}
        strength = fade(reasons == DRAWN, before=first not in cuts, after=stop not in cuts)
        squares = _smoothed(span_s, filled[:, :4])
        opening, pose = measured[:, 7].copy(), filled[:, 4:7].copy()  # and not all columns
        return cls(face.track, first, squares, strength, reasons, opening, pose)


def fade(drawn: NDArray[np.bool_], *, before: bool, after: bool) -> Floats:
    """How strongly frames are drawn: less towards those that are not, over `FADE` of them.

    Args:
        drawn: (n,) frames that may be drawn.
        before: whether the frame before the first is one that is not.
        after: whether the frame after the last is.
    """
    padded = np.concatenate([[not before], drawn, [not after]])
    off = np.flatnonzero(~padded)
    if not len(off):
        return np.ones(len(drawn))
    at = np.arange(1, len(drawn) + 1)
    right = np.searchsorted(off, at)
    far = np.iinfo(np.int64).max
    to_left = np.where(right > 0, at - off[np.maximum(right - 1, 0)], far)
    to_right = np.where(right < len(off), off[np.minimum(right, len(off) - 1)] - at, far)
    return np.asarray(np.clip(np.minimum(to_left, to_right) / (FADE + 1), 0, 1), np.float64)


def _filled(values: Floats, seen: NDArray[np.bool_], times_s: Floats) -> Floats:
    """Gaps of columns filled by straight lines in time."""
    result = values.copy()
    for column in range(values.shape[1]):
        result[:, column] = np.interp(times_s, times_s[seen], values[seen, column])
    return result


def _bridged(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a face was seen, or missed for a moment between two sightings."""
    at = np.flatnonzero(seen)
    result = seen.copy()
    for before, after in pairwise(at):
        if after - before - 1 <= _BRIDGED:
            result[before:after] = True
    return result


def _smoothed(times_s: Floats, squares: Floats) -> Floats:
    starts = np.searchsorted(times_s, times_s - RADIUS_S - 1e-6)
    stops = np.searchsorted(times_s, times_s + RADIUS_S + 1e-6)
    result = np.empty_like(squares)
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        part = slice(start, stop)
        result[i] = smoothed_square(times_s[part], squares[part], times_s[i], squares[i])
    return result


@dataclass(frozen=True)
class Untouched:
    """Frames in a row of a result that stay as they are: seconds, and why."""

    start_s: float
    end_s: float
    reason: str


def untouched(
    faces: Sequence[DrivenFace], schedule: Schedule, speech: Floats
) -> tuple[int, list[Untouched]]:
    """How many frames of a result are drawn, and the ranges that are not.

    Args:
        faces: those that are driven.
        schedule: of the result.
        speech: (M,) how strongly frames are drawn for what the sound says.
    """
    reasons = np.full(len(schedule), ABSENT, object)
    for face in faces:
        at = schedule.frames - face.first
        inside = (at >= 0) & (at < len(face.reasons))
        # Where two faces are driven one may be drawn and the other not: the drawn one counts.
        own = face.reasons[np.clip(at, 0, len(face.reasons) - 1)]
        better = inside & (reasons != DRAWN)
        reasons[better] = own[better]
    reasons[(reasons == DRAWN) & (speech == 0)] = PAUSE
    ends_s = np.append(schedule.times_s[1:], schedule.end_s)
    ranges: list[Untouched] = []
    for i in np.flatnonzero(reasons != DRAWN).tolist():
        begin_s, end_s, reason = float(schedule.times_s[i]), float(ends_s[i]), str(reasons[i])
        if ranges and i and reasons[i - 1] == reason:
            ranges[-1] = Untouched(ranges[-1].start_s, end_s, reason)
        else:
            ranges.append(Untouched(begin_s, end_s, reason))
    return int((reasons == DRAWN).sum()), ranges
