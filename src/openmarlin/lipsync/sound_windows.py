"""Windows of sound as networks hear them, cut to the sample, one rule for training and for use.

A window depends on its own time alone: not on where the sound starts, nor on which other windows
are asked for with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmarlin.lipsync.generators.config import LIPGAN_MFCC, MEL, GeneratorConfig
from openmarlin.lipsync.lipgan_mfcc import lipgan_mfcc
from openmarlin.lipsync.mel import MEL_RATE, MFCC_RATE, mel_spectrogram, mfcc
from openmarlin.video.audio import RATE, Sound

Floats = NDArray[np.float32]
Times = NDArray[np.float64]

_HOP, _STEP = RATE // MEL_RATE, RATE // MFCC_RATE
_FRAME = RATE // 40  # samples of a step of MFCC
_AROUND = 3  # columns of mel on either side: more than half a window of the Fourier transform


def sound_windows(sound: Sound, times_s: Times, config: GeneratorConfig) -> Floats:
    """What a generator hears for each frame.

    Args:
        sound: of the whole video; it is silent where it has nothing.
        times_s: (F,) presentation times of the frames, s. The window's middle is
            `config.sound_centre_s` later.
        config: of the generator.

    Returns:
        float32 (F, 1, R, C).
    """
    middles, shape = np.asarray(times_s, np.float64) + config.sound_centre_s, config.sound
    if shape.kind == "mel":  # a column is centred on its time
        starts = middles - (shape.columns - 1) / 2 / MEL_RATE
        windows = mel_windows(sound, starts, shape.columns)
    else:  # a step lasts a frame of 25 ms from its time
        starts = middles - ((shape.columns - 1) / MFCC_RATE + _FRAME / RATE) / 2
        windows = lipgan_windows(sound, starts, shape.columns)
    return windows[:, None]


def mel_windows(sound: Sound, starts_s: Times, columns: int) -> Floats:
    """Mel windows (N, 80, `columns`): column k of a window is centred k/80 s after its start."""
    result = np.empty((len(starts_s), MEL.rows, columns), np.float32)
    n_samples = (columns - 1 + 2 * _AROUND) * _HOP
    for window, start_s in zip(result, starts_s, strict=True):
        mel = mel_spectrogram(_samples(sound, start_s, -_AROUND * _HOP, n_samples))
        window[:] = mel[:, _AROUND : _AROUND + columns]
    return result


def mfcc_windows(sound: Sound, starts_s: Times, steps: int) -> Floats:
    """MFCC windows of SyncNet (N, 13, `steps`): step k lasts 25 ms from k/100 s after the start."""
    result = np.empty((len(starts_s), 13, steps), np.float32)
    for window, start_s in zip(result, starts_s, strict=True):
        window[:] = mfcc(_steps(sound, start_s, steps))[:, 1:]
    return result


def lipgan_windows(sound: Sound, starts_s: Times, steps: int) -> Floats:
    """MFCC windows of LipGAN (N, 12, `steps`); times as of `mfcc_windows`."""
    result = np.empty((len(starts_s), LIPGAN_MFCC.rows, steps), np.float32)
    for window, start_s in zip(result, starts_s, strict=True):
        window[:] = lipgan_mfcc(_steps(sound, start_s, steps))[:, 1:]
    return result


def _steps(sound: Sound, start_s: float, steps: int) -> NDArray[np.int16]:
    """Samples of some steps and one before, whose first sample lacks its predecessor."""
    return _samples(sound, start_s, -_STEP, steps * _STEP + _FRAME)


def _samples(sound: Sound, start_s: float, first: int, count: int) -> NDArray[np.int16]:
    begin_s = start_s + first / RATE
    return sound.between(begin_s, begin_s + count / RATE)
