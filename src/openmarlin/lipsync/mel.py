"""What lip-sync networks hear: mel spectrograms and MFCC of 16 kHz sound, in numpy.

Both are made as the networks' authors made them, to the last digit that matters, so that published
weights hear what they were trained on: `mel_spectrogram` as Wav2Lip (librosa with reflecting
borders), `mfcc` as SyncNet (python_speech_features with its defaults).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from openmarlin.video.audio import RATE

Floats = NDArray[np.float32]

MEL_RATE = 80
"""Columns of the mel spectrogram a second."""

MEL_BANDS = 80

MFCC_RATE = 100
"""Steps of MFCC a second."""

N_MFCC = 13

_N_FFT = 800
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_EMPHASIS = 0.97
_FLOOR = 1e-5  # of a magnitude: -100 dB

_FRAME, _STEP, _POINTS = RATE // 40, RATE // MFCC_RATE, 512
_FILTERS, _LIFTER = 26, 22


def mel_spectrogram(samples: NDArray[np.int16], rate: int = MEL_RATE) -> Floats:
    """The mel spectrogram of Wav2Lip: magnitudes in decibels, scaled to [-4, 4].

    Column i is centred on sample i * 16000 / rate. Silence is -4 everywhere, nothing is ever NaN.

    Args:
        samples: int16 (n,), 16 kHz mono.
        rate: columns a second, a divisor of 16,000; 80 in Wav2Lip.

    Returns:
        float32 (80, 1 + n * rate // 16000).
    """
    signal = _emphasised(samples.astype(np.float64) / 32768)
    half = _N_FFT // 2
    # Sound shorter than half a window cannot be reflected that far: numpy reflects it again.
    padded = np.pad(signal, half, mode="reflect" if len(signal) > 1 else "constant")
    columns = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[:: RATE // rate]
    magnitude = np.abs(np.fft.rfft(columns * _hann(), axis=1))
    decibels = 20 * np.log10(np.maximum(_FLOOR, magnitude @ _slaney_filters().T)) - 20
    scaled = np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)
    return np.asarray(scaled.T, np.float32)


def mfcc(samples: NDArray[np.int16]) -> Floats:
    """Mel-frequency cepstral coefficients of SyncNet.

    Step i covers samples 160 i to 160 i + 399. The samples count as they are, up to 32,767: the
    first coefficient is the logarithm of their energy.

    Args:
        samples: int16 (n,), 16 kHz mono.

    Returns:
        float32 (13, 1 + ceil((n - 400) / 160)), one step for what is shorter than 400 samples.
    """
    signal = _emphasised(samples.astype(np.float64))
    steps = 1 + max(0, -(-(len(signal) - _FRAME) // _STEP))
    padded = np.pad(signal, (0, max(0, (steps - 1) * _STEP + _FRAME - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_STEP][:steps]
    power = np.abs(np.fft.rfft(frames, _POINTS, axis=1)) ** 2 / _POINTS
    energy = _positive(power.sum(axis=1))
    bands = np.log(_positive(power @ _htk_filters().T))
    result = dct(bands, type=2, axis=1, norm="ortho")[:, :N_MFCC]
    result *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(N_MFCC) / _LIFTER)
    result[:, 0] = np.log(energy)
    return np.asarray(result.T, np.float32)


def _emphasised(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([signal[:1], signal[1:] - _EMPHASIS * signal[:-1]])


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values == 0, np.finfo(np.float64).eps, values)


@cache
def _hann() -> NDArray[np.float64]:
    """The periodic window, one period of a raised cosine."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT))


@cache
def _slaney_filters() -> NDArray[np.float64]:
    """Triangles of equal area (80, 401), on Slaney's scale: linear to 1 kHz, logarithmic above."""
    edges = _slaney_hz(
        np.linspace(_slaney_mel(_LOWEST_HZ), _slaney_mel(_HIGHEST_HZ), MEL_BANDS + 2)
    )
    hz = np.linspace(0, RATE / 2, _N_FFT // 2 + 1)
    below, peak, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (hz - below) / (peak - below), (above - hz) / (above - peak)
    return np.asarray(np.maximum(0, np.minimum(rise, fall)) * 2 / (above - below))


_LINEAR_HZ = 200 / 3  # of a mel, up to 1 kHz
_LOG_FROM_HZ, _LOG_STEP = 1000.0, np.log(6.4) / 27


def _slaney_mel(hz: float) -> float:
    if hz < _LOG_FROM_HZ:
        return hz / _LINEAR_HZ
    return float(_LOG_FROM_HZ / _LINEAR_HZ + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = _LOG_FROM_HZ / _LINEAR_HZ
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * np.maximum(0, mel - turn))
    return np.where(mel < turn, mel * _LINEAR_HZ, above)


@cache
def _htk_filters() -> NDArray[np.float64]:
    """Triangles of height 1 (26, 257), their corners on whole points of the spectrum."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_POINTS + 1) * hz / RATE)
    points = np.arange(_POINTS // 2 + 1)
    below, peak, above = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rise, fall = (points - below) / (peak - below), (above - points) / (above - peak)
    return np.asarray(np.maximum(0, np.where(points < peak, rise, fall)) * (points < above))
