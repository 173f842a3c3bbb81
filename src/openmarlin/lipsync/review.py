"""What became of a result: how its mouth moves with the sound, and what an expert says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.crop import crop, to_crop
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.lipsync.compose import Placement
from openmarlin.lipsync.driven_face import DrivenFace
from openmarlin.lipsync.dub import Dubber, place_of
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.offsets import MAX_SHIFT, TICK_RATE, Offset, measure_offset
from openmarlin.lipsync.talkers import CROP_PX
from openmarlin.video.audio import Sound
from openmarlin.video.picture import Image
from openmarlin.video.reader import VideoReader

LONGEST_S = 10.0
"""So much of a result is measured, from the first drawn frame on."""

_LOUDNESS_S = 0.08  # over which the energy of the sound is taken
_QUIETEST = 1e-4  # of full scale, -80 dB
_MIN_FRAMES = 5
_BATCH = 16  # frames in which the face is found together

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
        score: None where there is too little to judge by.
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
    expert = load_expert()
    measured = _measure(dubber, face, numbers, result, expert, fps)
    times_s = np.array(measured.times_s)
    level = np.array([_level_db(sound, time_s + 0.5 / fps) for time_s in times_s])
    score = _score(expert, measured, sound)
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
    expert: Expert,
    fps: float,
) -> _Measured:
    measured = _Measured([], [], [], ([], []))
    ticks, start_s = 0, float(dubber.schedule.times_s[numbers[0]])
    pairs = zip(numbers, _pictures(result, numbers), strict=False)
    while batch := list(islice(pairs, _BATCH)):
        frames = [int(dubber.schedule.frames[number]) for number, _ in batch]
        places = [place_of(face, frame) for frame in frames]
        found = shared_landmarker().follow(
            [image for _, image in batch], [[place.box] for place in places]
        )
        for (number, after), frame, place, (drawn,) in zip(
            batch, frames, places, found, strict=True
        ):
            time_s = float(dubber.schedule.times_s[number])
            (mesh,) = dubber.meshes.points(face.track, frame, frame + 1)
            new = np.full_like(mesh, np.nan) if drawn is None else drawn.points
            measured.times_s.append(time_s)
            measured.before.append(float(mouth_opening(mesh[None])[0]))
            measured.after.append(float(mouth_opening(new[None])[0]))
            # The clock of experts: a tick shows the latest frame that has begun, or is about to.
            due = int(np.ceil((time_s + 0.5 / fps - start_s) * TICK_RATE)) - ticks
            if due > 0:
                (before,) = dubber.source.images(frame, frame + 1)
                steady = np.where(np.isfinite(new), new, mesh)
                for kept, image, points in zip(
                    measured.views, (before, after), (mesh, steady), strict=True
                ):
                    kept += [_view(expert, image, points, place)] * due
                ticks += due
    return measured


def _view(
    expert: Expert, image: Image, points: NDArray[np.float32], place: Placement
) -> NDArray[np.generic]:
    """What an expert keeps of a frame, framed as `read_talkers` does it."""
    wide = 1 + 2 * expert.margin
    side, size = place.side * wide, round(CROP_PX * wide)
    crop_of = crop(image, place.cx, place.cy, side, 0.0, size)
    return expert.view(crop_of, to_crop(points, place.cx, place.cy, side, 0.0, size))


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


def _score(expert: Expert, measured: _Measured, sound: Sound) -> Score | None:
    before, after = (np.stack(views) for views in measured.views)
    n_windows = len(after) - expert.window + 1
    if n_windows <= 2 * MAX_SHIFT:
        return None
    heard = expert.embed_sound(sound, measured.times_s[0], n_windows)
    offsets = [measure_offset(expert.embed_faces(views), heard) for views in (before, after)]
    return Score(expert.name, expert.framing, offsets[0], offsets[1])
