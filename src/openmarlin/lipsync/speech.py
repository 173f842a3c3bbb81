"""Where sound may be speech: a gate on its loudness, relative to what is quiet in the recording.

Music and traffic that come and go pass, too: the gate tells silence, not what is said.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening

from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.video.audio import RATE, Samples, Sound

Mask = NDArray[np.bool_]

_TICK = RATE // TICK_RATE  # samples
_BLOCK = 1500 * _TICK  # samples that are looked at together: a minute
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


def loudest_db(sound: Sound) -> float:
    """The largest of all samples, decibels of full scale."""
    samples = sound.samples
    blocks = (samples[i : i + _BLOCK].astype(np.int32) for i in range(0, len(samples), _BLOCK))
    largest = max((int(np.abs(block).max()) for block in blocks), default=0)
    return float(20 * np.log10(max(largest / 32768, 1e-9)))


def _loudness_db(samples: Samples) -> NDArray[np.float64]:
    """Decibels of full scale of every tick; a hum below the voice counts little."""
    power = [_power(samples, first) for first in range(0, len(samples), _BLOCK)]
    return np.asarray(10 * np.log10(np.concatenate([[], *power]) + 10 ** (_NOTHING_DB / 10)))


def _power(samples: Samples, first: int) -> NDArray[np.float64]:
    """Of the ticks of a block: the mean square of the change from sample to sample."""
    signal = samples[max(0, first - 1) : first + _BLOCK].astype(np.float32) / 32768
    change = np.diff(signal) if first else np.diff(signal, prepend=signal[:1])
    whole = np.pad(change, (0, -len(change) % _TICK)).reshape(-1, _TICK)
    return np.asarray(np.mean(whole.astype(np.float64) ** 2, axis=1))
