"""Sound on the clock of the pictures: late streams, gaps, parts, none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from media import numbered, write_audio, write_video

from openmarlin.video.audio import RATE, read_sound


def write_blocks(path: Path, starts_s: list[float], *, rate: int = 48_000) -> Path:
    """Tenths of a second of stereo at full scale, each at its time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        stream.layout = "stereo"
        for start_s in starts_s:
            block = np.full((1, rate // 10 * 2), 20_000, np.int16)
            frame = AudioFrame.from_ndarray(block, format="s16", layout="stereo")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(start_s * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_16_khz_mono_with_a_late_start_and_a_gap_of_zeros(tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "a.mkv", [0.5, 0.6, 1.0])
    sound = read_sound(path)
    assert sound is not None
    assert sound.samples.dtype == np.int16
    assert sound.start_s == pytest.approx(0.5, abs=2e-3)
    assert len(sound.samples) == pytest.approx(0.6 * RATE, abs=40)
    loud = np.abs(sound.between(0.0, 1.2)) > 5000
    middles = [loud[round(t * RATE)] for t in (0.25, 0.55, 0.65, 0.85, 1.05, 1.15)]
    assert middles == [False, True, True, False, True, False]


def test_a_part(tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "a.mkv", [i / 10 for i in range(60)])
    sound = read_sound(path, 4.0, 4.5)
    assert sound is not None
    assert len(sound.between(4.0, 4.5)) == 8000
    assert (np.abs(sound.between(4.0, 4.5)[100:-100]) > 5000).all()


def test_beside_pictures_and_without(tmp_path: Path) -> None:
    sound = read_sound(write_video(tmp_path / "v.mp4", numbered(10), audio="first"))
    assert sound is not None
    assert len(sound.samples) == pytest.approx(RATE, abs=2100)
    assert read_sound(write_audio(tmp_path / "a.mp4")) is not None
    assert read_sound(write_video(tmp_path / "silent.mp4", numbered(10))) is None
    (tmp_path / "text.mp4").write_text("no video")
    assert read_sound(tmp_path / "text.mp4") is None


def test_what_is_no_number_becomes_silence_and_nothing_else(tmp_path: Path) -> None:
    path, rate = tmp_path / "a.wav", 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    broken = tone.copy()
    broken[10_000:10_100] = np.nan
    broken[20_000] = np.inf
    for name, values in (("whole", tone), ("broken", broken)):
        with av.open(str(path.with_stem(name)), "w") as container:
            stream = container.add_stream("pcm_f32le", rate=rate, layout="mono")
            frame = AudioFrame.from_ndarray(values[None], format="flt", layout="mono")
            frame.sample_rate = rate
            container.mux([*stream.encode(frame), *stream.encode()])
    whole, damaged = (read_sound(path.with_stem(name)) for name in ("whole", "broken"))
    assert whole is not None
    assert damaged is not None
    apart = np.flatnonzero(np.abs(whole.samples.astype(int) - damaged.samples) > 300)
    third = apart // (RATE // 16)
    assert set(third.tolist()) <= {10_000 * 16 // rate, 20_000 * 16 // rate}
    assert np.abs(damaged.samples).max() <= 1.1 * 0.5 * 32768
