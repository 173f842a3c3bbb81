"""The cepstral coefficients that LipGAN and Speech2Vid hear, in numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from openmarlin.video.audio import RATE

Floats = NDArray[np.float32]

_EMPHASIS = 0.97
_FRAME, _STEP, _POINTS = RATE // 40, RATE // 100, 512
_FILTERS, _LOWEST_HZ, _HIGHEST_HZ = 40, 300.0, 3700.0
_N_KEPT, _LIFTER = 12, 22
_FLOOR = 1.0  # of a band, in units of a sample: silence is 0 and not minus infinity


def lipgan_mfcc(samples: NDArray[np.int16]) -> Floats:
    """Coefficients 1 to 12, 100 steps a second (25 ms Hamming windows, 40 bands, 300..3700 Hz).

    The numbers are those of LipGAN's paper (KR et al., "Towards automatic face-to-face
    translation", 2019). It leaves open that bands are sums of magnitudes, and the floor of a band.

    Args:
        samples: int16 (n,), 16 kHz mono, n >= 400.

    Returns:
        float32 (12, 1 + (n - 400) // 160).
    """
    signal = samples.astype(np.float64)
    signal = np.concatenate([signal[:1], signal[1:] - _EMPHASIS * signal[:-1]])
    frames = np.lib.stride_tricks.sliding_window_view(signal, _FRAME)[::_STEP]
    magnitude = np.abs(np.fft.rfft(frames * np.hamming(_FRAME), _POINTS, axis=1))
    bands = np.log(np.maximum(_FLOOR, magnitude @ _filters().T))
    result = dct(bands, type=2, axis=1, norm="ortho")[:, 1 : 1 + _N_KEPT]
    result *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(1, 1 + _N_KEPT) / _LIFTER)
    return np.asarray(result.T, np.float32)


@cache
def _filters() -> NDArray[np.float64]:
    """Triangles of height 1 (40, 257), equally wide in mel."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    corners = 700 * (10 ** (np.linspace(low, high, _FILTERS + 2) / 2595) - 1)
    hz = np.linspace(0, RATE / 2, _POINTS // 2 + 1)
    below, peak, above = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return np.asarray(
        np.maximum(0, np.minimum((hz - below) / (peak - below), (above - hz) / (above - peak)))
    )
