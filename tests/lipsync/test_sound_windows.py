from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.lipgan_mfcc import lipgan_mfcc
from openmarlin.lipsync.mel import mel_spectrogram, mfcc
from openmarlin.lipsync.sound_windows import (
    lipgan_windows,
    mel_windows,
    mfcc_windows,
    sound_windows,
)
from openmarlin.video.audio import Sound

WAV2LIP = GeneratorConfig(system="wav2lip")
LIPGAN = GeneratorConfig(system="lipgan")


def noise(seconds: float = 2.0, start_s: float = 0.0) -> Sound:
    samples = np.random.default_rng(0).integers(-8000, 8000, round(seconds * 16_000))
    return Sound(samples.astype(np.int16), start_s)


def click(at_s: float) -> Sound:
    samples = np.zeros(32_000, np.int16)
    samples[round(at_s * 16_000)] = 20_000
    return Sound(samples, 0.0)


def test_windows_are_parts_of_the_features_of_the_whole() -> None:
    sound = noise()
    whole = mel_spectrogram(sound.samples)
    mel = mel_windows(sound, np.array([0.5, 1.0]), 16)
    np.testing.assert_allclose(mel, [whole[:, 40:56], whole[:, 80:96]], atol=1e-5)
    cepstrum = mfcc(sound.samples)
    windows = mfcc_windows(sound, np.array([0.4, 0.44]), 20)
    np.testing.assert_allclose(windows, [cepstrum[:, 40:60], cepstrum[:, 44:64]], atol=1e-4)
    coefficients = lipgan_mfcc(sound.samples)
    lipgan = lipgan_windows(sound, np.array([0.4]), 35)
    np.testing.assert_allclose(lipgan, [coefficients[:, 40:75]], atol=1e-4)


@pytest.mark.parametrize("config", [WAV2LIP, LIPGAN])
def test_shapes_and_silence(config: GeneratorConfig) -> None:
    result = sound_windows(noise(), np.array([-5.0, 0.5, 99.0]), config)
    assert result.shape == (3, 1, config.sound.rows, config.sound.columns)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[0], result[2])  # nothing to hear
    assert sound_windows(noise(), np.zeros(0), config).shape[0] == 0


@pytest.mark.parametrize("config", [WAV2LIP, LIPGAN])
def test_the_middle_of_a_frame_is_in_the_middle_of_its_window(config: GeneratorConfig) -> None:
    """A click in the middle of the frame that is shown from 1 to 1.04 s."""
    window = sound_windows(click(1.02), np.array([1.0]), config)[0, 0]
    loud = np.abs(window - window[:, :1]).sum(axis=0)
    centre = (loud * np.arange(len(loud))).sum() / loud.sum()
    assert centre == pytest.approx((config.sound.columns - 1) / 2, abs=0.1)


@settings(max_examples=20)
@given(st.integers(0, 60), st.integers(-40, 40))
def test_a_window_depends_on_its_time_alone(frame: int, moved: int) -> None:
    """Neither on the others asked for, nor on where the sound starts to be kept."""
    sound = noise()
    times = np.arange(61) / 30
    together = sound_windows(sound, times, WAV2LIP)[frame]
    alone = sound_windows(sound, times[frame : frame + 1], WAV2LIP)[0]
    np.testing.assert_array_equal(together, alone)
    later = Sound(sound.samples, moved / 16_000)
    there = sound_windows(later, times[frame : frame + 1] + moved / 16_000, WAV2LIP)[0]
    np.testing.assert_allclose(there, alone, atol=1e-5)


def test_lipgan_mfcc_of_silence_is_zero() -> None:
    assert (lipgan_mfcc(np.zeros(1000, np.int16)) == 0).all()
    assert lipgan_mfcc(np.zeros(1000, np.int16)).shape == (12, 4)
