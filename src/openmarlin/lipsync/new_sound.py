"""The sound of `lipsync generate`: on the clock of the result, and silent where nobody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError, VideoError
from openmarlin.lipsync.driven_face import fade
from openmarlin.lipsync.generate_settings import Silence
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.speech import loudest_db, speech_at, speech_mask
from openmarlin.video.audio import RATE, Sound, read_sound
from openmarlin.video.reader import VideoReader

_RAMP = RATE // 100  # samples over which sound is faded out
_FAR = 1 << 40  # samples
_LOUDEST_DB = -60.0  # of full scale: sound that is never louder is silence


@dataclass(frozen=True)
class NewSound:
    """The new sound.

    Attributes:
        path: the file.
        sound: what it holds, on the clock of the result.
        zero_s: the time in the file at which the result begins.
        mask: (n,) ticks of speech, see `speech_mask`.
    """

    path: Path
    sound: Sound
    zero_s: float
    mask: NDArray[np.bool_]

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.sound.start_s + len(self.sound.samples) / RATE

    @property
    def is_silent(self) -> bool:
        """Nothing in it could be speech."""
        return not self.mask.any()

    def for_model(self, silence: Silence) -> Sound:
        """What the model hears; with `silence="close"` nothing where nobody speaks."""
        if silence != "close":
            return self.sound
        return SpokenSound(self.sound.samples, self.sound.start_s, self.mask)

    def strength(self, times_s: NDArray[np.float64], silence: Silence) -> NDArray[np.float64]:
        """How strongly frames (N,) are drawn; with `silence="keep"` not where nobody speaks."""
        if silence != "keep":
            return np.ones(len(times_s))
        return fade(speech_at(self.mask, self.sound.start_s, times_s), before=False, after=False)


@dataclass(frozen=True)
class SpokenSound(Sound):
    """Sound that is silent where nobody speaks, and faded towards that.

    Attributes:
        mask: (n,) ticks of speech, see `speech_mask`.
    """

    mask: NDArray[np.bool_]

    def between(self, start_s: float, end_s: float) -> NDArray[np.int16]:
        """As of `Sound`."""
        heard = super().between(start_s, end_s)
        first = round((start_s - self.start_s) * RATE)
        return (heard * self._gain(first + np.arange(len(heard)))).astype(np.int16)

    def _gain(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of samples at some places: 1 in speech, falling to 0 from either end of a pause."""
        tick = RATE // TICK_RATE
        steps = np.flatnonzero(np.diff(np.concatenate([[False], self.mask, [False]]))) * tick
        number = np.searchsorted(steps, places, side="right")
        is_spoken = number % 2 == 1
        bounds = np.concatenate([[-_FAR], steps, [_FAR]])
        deep = np.minimum(places - bounds[number], bounds[number + 1] - 1 - places)
        return np.where(is_spoken, 1, np.clip(1 - deep / (_RAMP - 1), 0, 1)).astype(np.float32)


def read_new_sound(path: Path, folder: Path | None = None) -> NewSound:
    """Read the new sound.

    It begins with the result as it begins in its file: with the first picture where the file has
    pictures, else with itself.

    Args:
        path: the file.
        folder: where samples are kept in a file; None keeps them in memory.

    Raises:
        InputError: the file holds no sound, or none that can be decoded; or the folder cannot be
            written.
    """
    sound = read_sound(path, folder=folder)
    if sound is None or not len(sound.samples):
        raise InputError(f"{path}: holds no sound that can be decoded; name a file with sound")
    zero_s = sound.start_s
    try:
        with VideoReader(path) as reader:
            zero_s = next(frame.time_s for frame in reader)
    except VideoError:
        pass  # sound alone
    mask = speech_mask(sound)
    if not mask.any() and loudest_db(sound) > _LOUDEST_DB:
        mask = np.ones(max(1, len(mask)), bool)  # without pauses, as short clips are
    return NewSound(path, Sound(sound.samples, sound.start_s - zero_s), zero_s, mask)
