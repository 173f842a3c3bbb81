"""Which faces of a video are driven."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError, VideoError, option
from openmarlin.lipsync.driven_face import MIN_SIDE_PX, ScannedFace

_TOLD = 8  # tracks in an error


def choose_speakers(
    faces: Mapping[int, ScannedFace],
    times_s: NDArray[np.float64],
    speaker: str,
    video: str,
    speaking: Callable[[], int | None],
) -> list[int]:
    """The tracks that are driven.

    Args:
        faces: all tracks.
        times_s: (N,) of all frames.
        speaker: auto: of several tracks the one that speaks, where that is known, else the one with
            the largest sum of sides over its frames; "0", "0+2": these; "640,200": the face over
            this point (source pixels) in the first frame that has one there.
        video: as errors name it.
        speaking: finds the track whose lips fit the video's own sound; None where none does.

    Raises:
        VideoError: the video shows no face, or none that is large enough.
        InputError: there is no such track, or no face at the point.
    """
    if not faces:
        raise VideoError(f"{video}: no face is seen in it; nothing can be driven")
    if speaker == "auto":
        known = speaking() if len(faces) > 1 else None
        largest = max(faces, key=lambda track: _presence(faces[track]))
        return [largest if known is None else known]
    if "," in speaker:
        x, y = map(float, speaker.split(","))
        return [_at_point(faces, x, y, speaker, video)]
    tracks = list(dict.fromkeys(int(part) for part in speaker.split("+")))
    missing = [track for track in tracks if track not in faces]
    if missing:
        raise InputError(
            f"{option('speaker', speaker)}: {video} has no track {missing[0]}; "
            f"it has {describe(faces, times_s)}"
        )
    return tracks


def describe(faces: Mapping[int, ScannedFace], times_s: NDArray[np.float64]) -> str:
    """The tracks in words: "0 (0.0 to 3.2 s), 1 (1.0 to 2.0 s)"."""
    listed = [
        f"{track} ({times_s[face.frames[0]]:.1f} to {times_s[face.frames[-1]]:.1f} s)"
        for track, face in list(faces.items())[:_TOLD]
    ]
    more = [f"{len(faces) - _TOLD} more"] if len(faces) > _TOLD else []
    return ", ".join(listed + more)


def _presence(face: ScannedFace) -> float:
    """The sum of the sides of a face over the frames in which it was seen and is large enough."""
    sides = (face.boxes[:, 2:] - face.boxes[:, :2]).max(axis=1)
    return float(sides[face.seen & (sides >= MIN_SIDE_PX)].sum())


def _at_point(
    faces: Mapping[int, ScannedFace], x: float, y: float, speaker: str, video: str
) -> int:
    """The track whose box holds the point first; of several the one whose middle is nearest."""
    found: list[tuple[int, float, int]] = []
    for track, face in faces.items():
        x1, y1, x2, y2 = face.boxes.T
        over = np.flatnonzero((x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2))
        if len(over):
            at = over[0]
            far = math.hypot((x1[at] + x2[at]) / 2 - x, (y1[at] + y2[at]) / 2 - y)
            found.append((int(face.frames[at]), far, track))
    if not found:
        raise InputError(
            f"{option('speaker', speaker)}: {video} never shows a face at this point; give a "
            "point in pixels of the upright picture, or the number of a track"
        )
    return min(found)[2]
