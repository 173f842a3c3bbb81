"""What the model hears, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from media import numbered, write_tones, write_video

from openmarlin.errors import InputError
from openmarlin.lipsync.new_sound import read_new_sound


def test_pauses_are_silence_for_the_model(tmp_path: Path) -> None:
    tones = [(0.0, 1.0, 300), (2.0, 1.0, 300)]
    track = read_new_sound(write_tones(tmp_path / "a.mkv", tones))
    assert track.end_s == pytest.approx(3.0, abs=0.01)
    noisy = (
        track.sound.samples
        + np.random.default_rng(0)
        .integers(-30, 30, 48_000)
        .astype(np.int16)[: len(track.sound.samples)]
    )
    track.sound.samples[:] = noisy
    heard = track.for_model("close")
    assert heard.between(1.2, 1.9).any() == False  # noqa: E712
    np.testing.assert_array_equal(heard.between(0.1, 0.9), track.sound.between(0.1, 0.9))
    assert track.for_model("keep") is track.for_model("model") is track.sound
    times_s = np.arange(75) / 25
    assert (track.strength(times_s, "close") == 1).all()
    strength = track.strength(times_s, "keep")
    assert strength[12] == strength[62] == 1
    assert strength[37] == 0


def test_sound_without_pauses_is_all_speech(tmp_path: Path) -> None:
    track = read_new_sound(write_tones(tmp_path / "a.wav", [(0.0, 0.2, 300)]))
    assert not track.is_silent
    assert track.for_model("close").between(0.05, 0.15).any()


def test_silence(tmp_path: Path) -> None:
    track = read_new_sound(write_tones(tmp_path / "a.wav", [(0.0, 1.0, 0)]))
    assert track.is_silent
    assert not track.for_model("close").samples.any()


def test_no_sound(tmp_path: Path) -> None:
    for path in (write_video(tmp_path / "a.mp4", numbered(5)), tmp_path / "b.wav"):
        path.touch()
        with pytest.raises(InputError, match="no sound"):
            read_new_sound(path)


def test_sound_of_a_video_keeps_its_place_among_the_pictures(tmp_path: Path) -> None:
    times = [0.5 + i / 25 for i in range(10)]
    path = write_video(tmp_path / "a.mkv", numbered(10), times=times, audio="last")
    track = read_new_sound(path)
    assert track.zero_s == pytest.approx(0.5, abs=0.002)
    assert track.sound.start_s == pytest.approx(-0.5, abs=0.05)


def test_samples_may_lie_on_disk(tmp_path: Path) -> None:
    """Long sound is heard the same, and leaves no file."""
    tones = [(0.0, 1.0, 300), (2.0, 1.0, 300)]
    path = write_tones(tmp_path / "a.mkv", tones)
    (tmp_path / "kept").mkdir()
    here, there = read_new_sound(path), read_new_sound(path, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []
    np.testing.assert_array_equal(here.mask, there.mask)
    assert here.end_s == there.end_s
    for silence in ("close", "model"):
        for start_s in (-0.5, 0.3, 0.9, 2.5):
            a, b = (s.for_model(silence).between(start_s, start_s + 1) for s in (here, there))
            np.testing.assert_array_equal(a, b)
    with full_disk(1000), pytest.raises(InputError, match="cannot write the sound"):
        read_new_sound(path, tmp_path / "kept")
