"""What became of a result: how its mouth moves with the sound, and what an expert says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import OpenMarlinError
from openmarlin.face.crop import crop, to_crop
from openmarlin.face.landmarker import Landmarker
from openmarlin.lipsync.driven import DrivenFace
from openmarlin.lipsync.dub import Dubber, place_of
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.mouth_shape import mouth_opening
from openmarlin.lipsync.offsets import MAX_SHIFT, TICK_RATE, Offset, measure_offset
from openmarlin.lipsync.talkers import CROP_PX
from openmarlin.video.audio import Sound
from openmarlin.video.picture import Image
from openmarlin.video.reader import VideoReader

LONGEST_S = 20.0
"""So much of a result is measured, from the first drawn frame on."""

_LOUDNESS_S = 0.08  # over which the energy of the sound is taken
_QUIETEST = 1e-4  # of full scale, -80 dB
_MIN_FRAMES = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What an expert says of source and result with the new sound."""

    expert: str
    framing: str
    before: Offset
    after: Offset


@dataclass(frozen=True)
class Review:
    """The first stretch that is drawn.

    Attributes:
        times_s: (K,) of its frames.
        before, after: (K,) opening of the mouth in source and result, see `mouth_opening`; NaN
            where the face was not seen.
        level_db: (K,) of the sound around each frame, dB of full scale.
        score: None where there is no expert, or too little to judge by.
    """

    times_s: Floats
    before: Floats
    after: Floats
    level_db: Floats
    score: Score | None

    def correlation(self, opening: Floats) -> float:
        """Of an opening with the level of the sound (Pearson); NaN where nothing varies."""
        both = np.isfinite(opening)
        if both.sum() < _MIN_FRAMES or not (opening[both].std() and self.level_db[both].std()):
            return float("nan")
        return float(np.corrcoef(opening[both], self.level_db[both])[0, 1])


@dataclass
class _Measured:
    times_s: list[float]
    before: list[float]
    after: list[float]
    views: tuple[list[NDArray[np.generic]], list[NDArray[np.generic]]]


def review(dubber: Dubber, result: Path, sound: Sound, fps: float) -> Review | None:
    """Measure the first drawn stretch of a result in the file that was written.

    Args:
        dubber: made it.
        result: the file.
        sound: the new sound, on the clock of the result.
        fps: nominal rate.

    Returns:
        None where a stretch is too short to say anything.
    """
    face = dubber.faces[0]
    numbers = _stretch(dubber, face)
    if len(numbers) < _MIN_FRAMES:
        return None
    expert = _expert()
    measured = _measure(dubber, face, numbers, result, expert, fps)
    times_s = np.array(measured.times_s)
    level = np.array([_level_db(sound, time_s + 0.5 / fps) for time_s in times_s])
    score = _score(expert, measured, sound) if expert is not None else None
    return Review(times_s, np.array(measured.before), np.array(measured.after), level, score)


def _stretch(dubber: Dubber, face: DrivenFace) -> list[int]:
    """Frames in a row from the first one that is drawn."""
    numbers: list[int] = []
    times_s = dubber.schedule.times_s
    for number in range(len(dubber.schedule)):
        drawn = dubber.strength(face, number) > 0
        if numbers and (not drawn or times_s[number] - times_s[numbers[0]] > LONGEST_S):
            break
        if drawn:
            numbers.append(number)
    return numbers


def _measure(
    dubber: Dubber,
    face: DrivenFace,
    numbers: Sequence[int],
    result: Path,
    expert: Expert | None,
    fps: float,
) -> _Measured:
    landmarker = Landmarker()
    measured = _Measured([], [], [], ([], []))
    ticks = 0
    for number, after in zip(numbers, _pictures(result, numbers), strict=False):
        frame = int(dubber.schedule.frames[number])
        place = place_of(face, frame)
        half = place.side / 2
        box = np.array(
            [place.cx - half, place.cy - half, place.cx + half, place.cy + half], np.float32
        )
        mesh = dubber.meshes.points(face.track, frame, frame + 1)
        found = landmarker.follow([after], [[box]])[0][0]
        drawn = np.full_like(mesh, np.nan) if found is None else found.points[None]
        measured.times_s.append(float(dubber.schedule.times_s[number]))
        measured.before.append(float(mouth_opening(mesh)[0]))
        measured.after.append(float(mouth_opening(drawn)[0]))
        if expert is None:
            continue
        (before,) = dubber.source.images(frame, frame + 1)
        due_s = measured.times_s[0] + ticks / TICK_RATE
        while due_s < measured.times_s[-1] + 0.5 / fps:  # the clock of experts
            for kept, image, points in zip(
                measured.views, (before, after), (mesh[0], drawn[0]), strict=True
            ):
                wide = place.side * (1 + 2 * expert.margin)
                size = round(CROP_PX * (1 + 2 * expert.margin))
                view = crop(image, place.cx, place.cy, wide, 0.0, size)
                usable = points if np.isfinite(points).all() else mesh[0]
                inside = to_crop(usable, place.cx, place.cy, wide, 0.0, size)
                kept.append(expert.view(view, inside))
            ticks += 1
            due_s = measured.times_s[0] + ticks / TICK_RATE
    return measured


def _pictures(result: Path, numbers: Sequence[int]) -> Iterator[Image]:
    with VideoReader(result) as reader:
        for frame in reader:
            if frame.index > numbers[-1]:
                return
            if frame.index >= numbers[0]:
                yield frame.image


def _level_db(sound: Sound, middle_s: float) -> float:
    samples = sound.between(middle_s - _LOUDNESS_S / 2, middle_s + _LOUDNESS_S / 2) / 32768
    return float(20 * np.log10(max(float(np.sqrt(np.mean(samples**2))), _QUIETEST)))


def _expert() -> Expert | None:
    """The default expert; None where it is not there."""
    if find_spec("openmarlin.lipsync.experts") is None:
        return None
    try:
        expert: Expert = import_module("openmarlin.lipsync.experts.load").load_expert(
            "openmarlin_sync"
        )
    except (OpenMarlinError, ImportError):
        return None
    return expert


def _score(expert: Expert, measured: _Measured, sound: Sound) -> Score | None:
    before, after = (np.stack(views) for views in measured.views)
    n_windows = len(after) - expert.window + 1
    if n_windows <= 2 * MAX_SHIFT:
        return None
    heard = expert.embed_sound(sound, measured.times_s[0], n_windows)
    offsets = [measure_offset(expert.embed_faces(views), heard) for views in (before, after)]
    return Score(expert.name, expert.framing, offsets[0], offsets[1])
