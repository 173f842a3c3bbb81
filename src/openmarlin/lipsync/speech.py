"""Where sound may be speech: a gate on its loudness, relative to what is quiet in the recording.

Music and traffic that come and go pass, too: the gate tells silence, not what is said.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening

from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.video.audio import RATE, Sound

Mask = NDArray[np.bool_]

_TICK = RATE // TICK_RATE  # samples
_QUIET, _LOUD = 10, 95  # percentiles of the loudness: of pauses, and of speech
_LEAST_RANGE_DB = 10.0  # between the two: with less, nothing comes and goes
_ABOVE_QUIET = 0.25  # of the range
_ABOVE_QUIET_DB = (6.0, 12.0)
_BELOW_LOUD_DB = 35.0
_FAINT_DB, _NOTHING_DB = -70.0, -90.0  # of full scale
_PAUSE, _BURST = 7, 3  # ticks: shorter pauses are part of speech, shorter sounds are none


def speech_mask(sound: Sound) -> Mask:
    """Which ticks may be speech.

    A tick counts where it is louder than the pauses of the recording by 6 to 12 dB (a quarter of
    its range) and at most 35 dB below its loud parts. Pauses below 0.28 s are filled, sounds below
    0.12 s left out.

    Returns:
        bool (n,): tick i covers 1/25 s from `sound.start_s` + i / 25 on.
    """
    level = _loudness_db(sound.samples)
    if not len(level):
        return np.zeros(0, bool)
    quiet, loud = np.percentile(level, (_QUIET, _LOUD))
    if loud < _FAINT_DB or loud - quiet < _LEAST_RANGE_DB:
        return np.zeros(len(level), bool)
    above = quiet + np.clip(_ABOVE_QUIET * (loud - quiet), *_ABOVE_QUIET_DB)
    mask = level > max(above, loud - _BELOW_LOUD_DB, _FAINT_DB)
    padded = np.pad(mask, _PAUSE, mode="edge")
    filled = binary_closing(padded, np.ones(_PAUSE))[_PAUSE:-_PAUSE]
    return np.asarray(binary_opening(filled, np.ones(_BURST)), bool)


def speech_at(mask: Mask, start_s: float, times_s: NDArray[np.float64]) -> Mask:
    """What a mask says of presentation times (n,); nothing is spoken before and after it.

    Args:
        mask: of `speech_mask`.
        start_s: presentation time at which it begins, `Sound.start_s`.
        times_s: (n,).
    """
    ticks = np.floor((times_s - start_s) * TICK_RATE + 1e-6).astype(int)
    inside = (ticks >= 0) & (ticks < len(mask))
    return np.asarray(inside & np.pad(mask, (0, 1))[np.where(inside, ticks, -1)])


def _loudness_db(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Decibels of full scale of every tick; a hum below the voice counts little."""
    signal = samples.astype(np.float32) / 32768
    change = np.diff(signal, prepend=signal[:1])
    whole = np.pad(change, (0, -len(change) % _TICK)).reshape(-1, _TICK)
    power = np.mean(whole.astype(np.float64) ** 2, axis=1)
    return np.asarray(10 * np.log10(power + 10 ** (_NOTHING_DB / 10)))
