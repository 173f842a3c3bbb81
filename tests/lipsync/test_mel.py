"""Mel spectrograms and MFCC against what the original libraries give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from openmarlin.lipsync.mel import mel_spectrogram, mfcc


def _noise() -> NDArray[np.int16]:
    i = np.arange(16_000, dtype=np.int64)
    return ((((i**2 * 7919 + i * 104729) % 65521) - 32760) // 8).astype(np.int16)


def _tones() -> NDArray[np.int16]:
    i = np.arange(16_000)
    low, high = (np.sin(2 * np.pi * hz * i / 16_000) for hz in (440, 1500))
    return np.round(8000 * low + 2000 * high).astype(np.int16)


def test_the_noise_is_the_one_of_the_reference_values() -> None:
    assert _noise()[:6].tolist() == [-4095, 1795, 1476, 3136, -1414, -3984]


def test_mfcc_of_noise() -> None:
    """python_speech_features 0.6."""
    result = mfcc(_noise())
    assert result.shape == (13, 99)
    # fmt: off
    assert result[:, 50] == pytest.approx([
        21.4340, -35.7506, -8.0993, -3.7263, 6.9607, 1.7337, -7.2817, -10.2445, -1.7547, -5.5026,
        2.9246, 5.2909, -1.1386], abs=1e-4)
    assert result[:, 98] == pytest.approx([
        21.2881, -31.2488, -3.9559, -9.8610, -4.1822, 0.3484, 2.9792, -1.0294, -1.4747, 2.8899,
        1.0952, 0.1169, 0.4148], abs=1e-4)
    assert mfcc(_tones())[:, 0] == pytest.approx([
        19.5893, 15.5500, -17.0147, -19.5688, -5.2354, -21.0613, -52.2085, -40.7888, 10.4323,
        33.3458, 10.9874, -4.8196, 11.1403], abs=1e-4)
    # fmt: on


def test_mel_of_noise() -> None:
    """librosa 0.11.0, reflecting borders."""
    result = mel_spectrogram(_noise())
    assert result.shape == (80, 81)
    assert result.mean() == pytest.approx(-0.05859, abs=1e-5)
    bands, columns = [0, 20, 40, 60, 79], [0, 40, 80]
    assert result[np.ix_(bands, columns)] == pytest.approx(
        np.array(
            [
                [-1.8875, -1.4239, -2.1920],
                [-1.0168, -0.7521, -0.7388],
                [-0.1813, -0.2527, -0.2854],
                [0.3776, 0.6029, 0.4061],
                [0.7535, 0.7633, 0.6974],
            ]
        ),
        abs=1e-4,
    )


def test_mel_of_tones() -> None:
    result = mel_spectrogram(_tones())
    assert result.mean() == pytest.approx(-3.54899, abs=1e-5)
    assert result.max() == pytest.approx(1.51971, abs=1e-5)
    assert result[[9, 10, 8, 20], 40] == pytest.approx([1.1565, 1.4916, -4, -4], abs=1e-4)


def test_silence_is_the_lowest_value() -> None:
    assert (mel_spectrogram(np.zeros(3200, np.int16)) == -4).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 1000))
def test_any_length_is_finite_and_has_the_stated_shape(n: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-32768, 32768, n).astype(np.int16)
    mel, cepstrum = mel_spectrogram(samples), mfcc(samples)
    assert mel.shape == (80, 1 + n // 200)
    assert cepstrum.shape == (13, 1 + max(0, -(-(n - 400) // 160)))
    assert np.isfinite(mel).all()
    assert np.isfinite(cepstrum).all()
