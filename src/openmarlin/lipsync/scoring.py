"""How well lips and sound of a video go together, face by face: offset, LSE-D and LSE-C.

    for track in score_video("talk.mp4", load_expert("openmarlin_sync"), Landmarker()):
        track.scores["valid"].ticks, track.scores["valid"].lse_c

Sound and faces are aligned by presentation times, whatever the frame rate. Memory grows by 32 kB of
sound a second, and by 0.1 kB a tick and face.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.data.parts import Record
from openmarlin.errors import VideoError
from openmarlin.face.landmarker import Landmarker
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.speech import speech_mask
from openmarlin.lipsync.talkers import read_talkers
from openmarlin.lipsync.track_score import TrackDistances, TrackScore
from openmarlin.output import WHOLE, Part
from openmarlin.video.audio import read_sound
from openmarlin.video.reader import Frame, VideoReader

Floats = NDArray[np.float32]

_TOGETHER = 0.5  # of the shorter one of two tracks: they are seen at the same time


def score_video(
    path: str | Path,
    expert: Expert,
    landmarker: Landmarker,
    *,
    limit_s: float | None = None,
    part: Part = WHOLE,
    record: Record | None = None,
) -> list[TrackScore]:
    """Score all faces of a video.

    Args:
        path: the video.
        expert: embeds lips and sound.
        landmarker: finds the faces.
        limit_s: at most so many seconds.
        part: bounds of the part to be scored, seconds.
        record: gets how much was read, and what was damaged.

    Returns:
        The tracks in the order of first appearance; none where there is no face.

    Raises:
        VideoError: the video cannot be read, or has no sound.
    """
    path = Path(path)
    tracks: dict[int, TrackDistances] = {}
    with VideoReader(path) as reader:
        sound = read_sound(path, *part)
        if sound is None:
            raise VideoError(f"{path}: has no sound, or none that can be decoded")
        spoken = speech_mask(sound)
        frames = _Timed(Row(path, *part).frames(reader, limit_s), reader.info.fps)
        overlap = expert.window - 1
        for stretch in read_talkers(
            frames, landmarker, expert.view, margin=expert.margin, overlap=overlap
        ):
            one = tracks.setdefault(stretch.track, TrackDistances(expert, sound, spoken))
            one.add(stretch)
        if record is not None:
            record.problems, record.notes = reader.problems, reader.notes
            record.seconds = frames.seconds
    scores = [tracks[number].score(number) for number in sorted(tracks)]
    speech = {number: one.speech_confidence() for number, one in tracks.items()}
    return [replace(score, speaks=_speaks(score, scores, speech)) for score in scores]


def open_expert(expert: str | Path | Expert) -> Expert:
    """An expert by name, folder or file; one that is there already is taken as it is.

    Raises:
        OpenMarlinError: there is none of that name, or it cannot be read.
    """
    if not isinstance(expert, str | Path):
        return expert
    return load_expert(expert)


@cache
def steady_landmarker() -> Landmarker:
    """The face nets of this process, exact: lips move by a few pixels."""
    return Landmarker(detect_every=2)


def largest(scores: Sequence[TrackScore], most: int) -> list[TrackScore]:
    """Tracks without those that are seen at the same time as `most` larger faces."""

    def larger(score: TrackScore) -> int:
        return sum(other.face_px > score.face_px and _together(score, other) for other in scores)

    return [score for score in scores if larger(score) < most]


def mean_interval(
    values: Sequence[float], groups: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of finite values with its 95 % interval, by a bootstrap of whole groups.

    Returns:
        Mean, low, high; NaN where there is none, and no interval for a single group.
    """
    finite = np.isfinite(values)
    kept = np.asarray(values, np.float64)[finite]
    if not len(kept):
        return np.nan, np.nan, np.nan
    names, of = np.unique(np.asarray(groups)[finite], return_inverse=True)
    if len(names) < 2:
        return float(kept.mean()), np.nan, np.nan
    sums, counts = np.bincount(of, kept), np.bincount(of)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), resamples
    )
    low, high = np.percentile(draws @ sums / (draws @ counts), (2.5, 97.5))
    return float(kept.mean()), float(low), float(high)


class _Timed:
    """Frames on their way; `seconds` is how much has passed."""

    def __init__(self, frames: Iterator[Frame], fps: float) -> None:
        self._frames, self._fps, self.seconds = frames, fps, 0.0

    def __iter__(self) -> Iterator[Frame]:
        first_s: float | None = None
        for frame in self._frames:
            first_s = frame.time_s if first_s is None else first_s
            self.seconds = frame.time_s - first_s + 1 / self._fps
            yield frame


def _together(score: TrackScore, other: TrackScore) -> bool:
    """Whether two tracks are seen at the same time, for most of the shorter one."""
    if score is other:
        return False
    shorter = min(score.end_s - score.start_s, other.end_s - other.start_s)
    common = min(score.end_s, other.end_s) - max(score.start_s, other.start_s)
    return common >= _TOGETHER * shorter


def _speaks(score: TrackScore, scores: Sequence[TrackScore], confidence: dict[int, float]) -> bool:
    own = confidence[score.track]
    others = [confidence[other.track] for other in scores if _together(score, other)]
    return bool(np.isfinite(own)) and all(own >= other for other in others)
