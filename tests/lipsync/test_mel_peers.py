"""Mel spectrograms and MFCC against the libraries that published networks used, if installed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from openmarlin.lipsync.mel import mel_spectrogram, mfcc


@pytest.fixture
def samples() -> NDArray[np.int16]:
    rng = np.random.default_rng(0)
    t = np.arange(24_000) / 16_000
    voice = sum(4000 / k * np.sin(2 * np.pi * 120 * k * t) for k in range(1, 20))
    return (voice * np.sin(2 * np.pi * 3 * t) ** 2 + rng.normal(0, 50, len(t))).astype(np.int16)


def test_mel_is_librosas(samples: NDArray[np.int16]) -> None:
    librosa = pytest.importorskip("librosa")
    signal = samples.astype(np.float64) / 32768
    signal = np.concatenate([signal[:1], signal[1:] - 0.97 * signal[:-1]])
    spectrum = librosa.stft(y=signal, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect")
    filters = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    decibels = 20 * np.log10(np.maximum(1e-5, filters @ np.abs(spectrum))) - 20
    expected = np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)
    np.testing.assert_allclose(mel_spectrogram(samples), expected, atol=1e-4)


def test_mfcc_is_that_of_python_speech_features(samples: NDArray[np.int16]) -> None:
    peer = pytest.importorskip("python_speech_features")
    np.testing.assert_allclose(mfcc(samples), peer.mfcc(samples, 16_000).T, atol=1e-3)
