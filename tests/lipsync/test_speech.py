"""Speech is what is louder than the pauses; steady noise and silence are none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.lipsync.speech import speech_at, speech_mask
from openmarlin.video.audio import RATE, Sound


def syllables(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes four times a second."""
    n = round(seconds * RATE)
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE)
    return level * swell * np.random.default_rng(seed).uniform(-1, 1, n)


def noise(seconds: float, level: float) -> np.ndarray:
    return level * np.random.default_rng(9).uniform(-1, 1, round(seconds * RATE))


def sound(*parts: np.ndarray, start_s: float = 0.0) -> Sound:
    return Sound((np.concatenate(parts) * 32767).astype(np.int16), start_s)


@given(
    level=st.floats(0.02, 0.9),
    floor_db=st.floats(-80, -26),
    before_s=st.integers(12, 60),
    after_s=st.integers(12, 60),
)
def test_speech_between_pauses_at_any_level(
    level: float, floor_db: float, before_s: int, after_s: int
) -> None:
    """26 dB above the noise of the room or more."""
    quiet = level * 10 ** (floor_db / 20)
    before, after = (noise(n / 25, quiet) for n in (before_s, after_s))
    mask = speech_mask(sound(before, syllables(2, level), after))
    assert len(mask) == before_s + 50 + after_s
    assert mask[before_s + 2 : before_s + 48].all()
    assert not mask[: before_s - 3].any()
    assert not mask[before_s + 53 :].any()


def test_what_is_no_speech() -> None:
    silence = np.zeros(2 * RATE)
    assert not speech_mask(sound(silence)).any()
    assert not speech_mask(sound(noise(2, 0.3))).any()  # steady
    assert not speech_mask(sound(silence, 1e-4 * syllables(2, 1))).any()  # faint
    click = silence.copy()
    click[RATE : RATE + 300] = 0.9
    assert not speech_mask(sound(click)).any()
    assert speech_mask(Sound(np.zeros(0, np.int16), 0.0)).shape == (0,)
    assert speech_mask(Sound(np.zeros(3, np.int16), 0.0)).tolist() == [False]


def test_short_pauses_belong_to_speech_and_long_ones_do_not() -> None:
    gap, pause = np.zeros(RATE // 5), np.zeros(RATE // 2)
    speech = syllables(1, 0.5)
    mask = speech_mask(sound(pause, speech, gap, speech, pause, speech))
    assert mask[14:66].all()
    assert not mask[70:79].any()
    assert mask[84:].all()


def test_times_of_presentation() -> None:
    heard = sound(np.zeros(RATE), syllables(1, 0.5), start_s=3.0)
    mask = speech_mask(heard)
    times_s = np.array([-1.0, 2.99, 3.5, 4.1, 4.9, 5.01, 900.0])
    expected = [False, False, False, True, True, False, False]
    assert speech_at(mask, heard.start_s, times_s).tolist() == expected


def test_a_long_sound_is_looked_at_in_pieces() -> None:
    """Their borders do not show."""
    minutes = sound(*[part for _ in range(20) for part in (syllables(4, 0.3), noise(3.3, 0.001))])
    later = Sound(minutes.samples[: 130 * RATE], 0.0)
    mask = speech_mask(later)
    talking = np.arange(len(mask)) / 25 % 7.3
    assert mask[(talking > 0.2) & (talking < 3.8)].all()
    assert not mask[(talking > 4.2) & (talking < 7.1)].any()
