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
from openmarlin.lipsync.speech import speech_at, speech_mask
from openmarlin.video.audio import RATE, Sound, read_sound
from openmarlin.video.reader import VideoReader

_RAMP = RATE // 100  # samples over which sound is faded out
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
        samples, tick = self.sound.samples.copy(), RATE // TICK_RATE
        steps = np.diff(np.concatenate([[True], self.mask, [True]]).astype(int))
        begins, ends = np.flatnonzero(steps == -1) * tick, np.flatnonzero(steps == 1) * tick
        for begin, end in zip(begins, ends, strict=True):
            quiet = samples[begin : end if end < len(self.mask) * tick else None]
            gain = np.zeros(len(quiet), np.float32)
            ramp = np.linspace(1, 0, min(_RAMP, len(quiet) // 2), dtype=np.float32)
            gain[: len(ramp)] = ramp
            gain[len(gain) - len(ramp) :] = np.maximum(gain[len(gain) - len(ramp) :], ramp[::-1])
            quiet[:] = (quiet * gain).astype(np.int16)
        return Sound(samples, self.sound.start_s)

    def strength(self, times_s: NDArray[np.float64], silence: Silence) -> NDArray[np.float64]:
        """How strongly frames (N,) are drawn; with `silence="keep"` not where nobody speaks."""
        if silence != "keep":
            return np.ones(len(times_s))
        return fade(speech_at(self.mask, self.sound.start_s, times_s), before=False, after=False)


def read_new_sound(path: Path) -> NewSound:
    """Read the new sound.

    It begins with the result as it begins in its file: with the first picture where the file has
    pictures, else with itself.

    Raises:
        InputError: the file holds no sound, or none that can be decoded.
    """
    sound = read_sound(path)
    if sound is None or not len(sound.samples):
        raise InputError(f"{path}: holds no sound that can be decoded; name a file with sound")
    zero_s = sound.start_s
    try:
        with VideoReader(path) as reader:
            zero_s = next(frame.time_s for frame in reader)
    except VideoError:
        pass  # sound alone
    mask = speech_mask(sound)
    level = np.abs(sound.samples.astype(np.int32)).max() / 32768
    if not mask.any() and 20 * np.log10(max(level, 1e-9)) > _LOUDEST_DB:
        mask = np.ones(max(1, len(mask)), bool)  # without pauses, as short clips are
    return NewSound(path, Sound(sound.samples, sound.start_s - zero_s), zero_s, mask)
