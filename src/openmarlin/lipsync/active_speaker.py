"""Whose lips fit the sound that a video has already: the active speaker, by the expert that ships.

The meshes of the first pass are enough: no picture is read again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.mesh import fill_gaps
from openmarlin.lipsync.driven_face import ScannedFace
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.experts.mouth_view import VIEW, lip_points
from openmarlin.lipsync.meshes import Meshes
from openmarlin.lipsync.offsets import MAX_SHIFT, TICK_RATE, best_offset, distances_around
from openmarlin.lipsync.track_score import LEAST_WINDOWS, SURE, certainty_of
from openmarlin.video.audio import Sound

_MOST_S = 20.0  # of a face that are looked at


def speaking_track(
    faces: Mapping[int, ScannedFace], times_s: NDArray[np.float64], meshes: Meshes, sound: Sound
) -> int | None:
    """The track whose lips fit the sound best, where that is sure.

    Args:
        faces: all tracks.
        times_s: (N,) presentation times of all frames.
        meshes: of the tracks.
        sound: of the video itself.

    Returns:
        None where no track is sure: nobody speaks, or each is in view for too short a time.
    """
    expert = load_expert()
    fits = {track: _fit(face, times_s, meshes, sound, expert) for track, face in faces.items()}
    best = max(fits, key=lambda track: fits[track], default=None)
    return best if best is not None and fits[best] > 0 else None


def _fit(
    face: ScannedFace,
    times_s: NDArray[np.float64],
    meshes: Meshes,
    sound: Sound,
    expert: Expert,
) -> float:
    """LSE-C of a track; 0 where its offset is not sure."""
    first = int(face.frames[0])
    shown_s = times_s[face.frames]
    shown_s = shown_s[shown_s < shown_s[0] + _MOST_S]
    points = meshes.points(face.track, first, first + len(shown_s))
    filled = fill_gaps([None if np.isnan(mesh).any() else mesh for mesh in points])
    ticks_s = np.arange(shown_s[0], shown_s[-1], 1 / TICK_RATE)
    count = len(ticks_s) - expert.window + 1
    if filled is None or count < LEAST_WINDOWS:
        return 0.0
    nearest = np.abs(ticks_s[:, None] - shown_s).argmin(axis=1)
    views = np.zeros(len(ticks_s), VIEW)
    views["points"] = [lip_points(filled[i, :, :2]) for i in nearest]
    begin_s = float(ticks_s[0]) - MAX_SHIFT / TICK_RATE
    sounds = expert.embed_sound(sound, begin_s, count + 2 * MAX_SHIFT)
    distances = distances_around(expert.embed_faces(views), sounds)
    found = best_offset(distances)
    at_the_end = abs(found.ticks) == MAX_SHIFT
    is_sure = not at_the_end and certainty_of(distances, found.ticks) >= SURE
    return found.lse_c if is_sure else 0.0
