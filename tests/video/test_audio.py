"""Sound on the clock of the pictures: late streams, gaps, parts, none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from media import numbered, write_audio, write_tones, write_video

from openmarlin.video.audio import RATE, Sound, read_sound
from openmarlin.video.reader import VideoReader


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


def loudness(sound: Sound, start_s: float, end_s: float) -> float:
    """Root mean square of a stretch, 1 is full scale."""
    return float(np.sqrt(np.mean((sound.between(start_s, end_s) / 32_768) ** 2)))


def pitch(sound: Sound, start_s: float, end_s: float) -> float:
    """The strongest frequency of a stretch, Hz."""
    part = sound.between(start_s, end_s).astype(float)
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum)) * RATE / len(part)


def read(path: Path, start_s: float | None = None, end_s: float | None = None) -> Sound:
    sound = read_sound(path, start_s, end_s)
    assert sound is not None
    return sound


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


@pytest.mark.parametrize(
    ("rate", "layout", "codec", "suffix"),
    [
        (48_000, "stereo", "pcm_s16le", "mkv"),
        (8_000, "mono", "pcm_s16le", "wav"),
        (44_100, "5.1", "pcm_f32le", "mkv"),
        (16_000, "mono", "pcm_s16le", "mkv"),
        (48_000, "stereo", "aac", "mp4"),
    ],
)
def test_any_rate_and_layout(
    tmp_path: Path, rate: int, layout: str, codec: str, suffix: str
) -> None:
    path = write_tones(
        tmp_path / f"a.{suffix}", [(0, 2, 440)], rate=rate, layout=layout, codec=codec
    )
    sound = read(path)
    assert pitch(sound, 0.1, 1.9) == pytest.approx(440, abs=1)
    mean = [loudness(sound, t, t + 0.1) for t in np.arange(0.1, 1.8, 0.1)]
    assert mean[0] > 0.2
    np.testing.assert_allclose(mean, mean[0], rtol=0.05)  # no hole


def test_samples_stand_where_the_container_says(tmp_path: Path) -> None:
    """The phase of the tone tells the time to a fraction of a sample."""
    path = write_tones(tmp_path / "a.mkv", [(0, 3, 100)])
    samples = read(path).between(0, 3)
    t = np.arange(len(samples)) / RATE
    inner = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(
        samples[inner] / 32_768, 0.5 * np.sin(2 * np.pi * 100 * t)[inner], atol=0.02
    )


def test_sound_that_starts_late_and_pauses(tmp_path: Path) -> None:
    sound = read(write_tones(tmp_path / "a.mkv", [(0.5, 0.5, 440), (1.5, 0.5, 880)]))
    for start_s, end_s in ((0, 0.49), (1.01, 1.49), (2.01, 3)):
        assert loudness(sound, start_s, end_s) < 0.01
    assert pitch(sound, 0.52, 0.98) == pytest.approx(440, abs=3)
    assert pitch(sound, 1.52, 1.98) == pytest.approx(880, abs=3)
    assert loudness(sound, 0.501, 0.999) == pytest.approx(0.354, abs=0.01)


def test_what_comes_twice_is_heard_once(tmp_path: Path) -> None:
    sound = read(
        write_tones(tmp_path / "a.mkv", [(0, 1, 440), (0.5, 1, 880)], block_samples=48_000)
    )
    assert pitch(sound, 0.52, 0.98) == pytest.approx(440, abs=3)
    assert pitch(sound, 1.02, 1.48) == pytest.approx(880, abs=3)
    assert loudness(sound, 1.52, 2) < 0.01


def test_a_format_that_changes_in_the_middle(tmp_path: Path) -> None:
    """Streams of ADTS can be joined byte by byte, as broadcasts are."""
    first = write_tones(tmp_path / "a.aac", [(0, 1, 440)], rate=48_000, codec="aac")
    second = write_tones(tmp_path / "b.aac", [(0, 1, 880)], rate=48_000, layout="mono", codec="aac")
    (tmp_path / "c.aac").write_bytes(first.read_bytes() + second.read_bytes())
    sound = read(tmp_path / "c.aac")
    assert pitch(sound, 0.1, 0.9) == pytest.approx(440, abs=2)
    assert pitch(sound, 1.2, 1.9) == pytest.approx(880, abs=2)
    assert loudness(sound, 1.2, 1.9) > 0.2


def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = write_tones(tmp_path / "a.mkv", [(0, 4, 440)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5_000] = bytes(5_000)
    path.write_bytes(data[: len(data) * 3 // 4])
    sound = read(path)
    assert pitch(sound, 0.1, 1.5) == pytest.approx(440, abs=2)
    assert loudness(sound, 3.2, 4) < 0.01


@pytest.mark.parametrize(("n_junk", "heard"), [(10, True), (1_000, False)])
def test_errors_of_the_container_are_passed_over_but_not_for_ever(
    tmp_path: Path, n_junk: int, heard: bool
) -> None:
    """Of WavPack, FFmpeg looks at 32 bytes at a time, and calls each an error that is no header."""
    path = write_tones(tmp_path / "a.wv", [(0, 4, 440)], codec="wavpack", block_samples=4_800)
    data = path.read_bytes()
    middle = data.index(b"wvpk", len(data) // 2)
    path.write_bytes(data[:middle] + bytes(32 * n_junk) + data[middle:])
    sound = read(path)
    assert loudness(sound, 0.1, 1.9) > 0.3
    assert (loudness(sound, 2.5, 3.9) > 0.3) == heard


def test_a_tone_of_8_khz_keeps_its_time(tmp_path: Path) -> None:
    """Telephone sound that starts late, to a few samples: lips are 40 ms apart."""
    sound = read(write_tones(tmp_path / "a.mkv", [(0.52, 1, 300)], rate=8_000, layout="mono"))
    assert sound.start_s == pytest.approx(0.52, abs=1.1e-3)
    assert len(sound.samples) == pytest.approx(RATE, abs=16)
    assert loudness(sound, 0.0, 0.51) == 0
    assert loudness(sound, 0.53, 1.5) == pytest.approx(0.354, abs=0.01)


def test_a_voice_in_the_centre_of_5_1_is_heard(tmp_path: Path) -> None:
    path, rate = tmp_path / "a.mkv", 48_000
    channels = np.zeros((6, rate), np.float32)
    channels[2] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)  # front centre
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=rate, layout="5.1")
        block = np.ascontiguousarray(channels.T.reshape(1, -1))
        frame = AudioFrame.from_ndarray(block, format="flt", layout="5.1")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        container.mux([*stream.encode(frame), *stream.encode()])
    sound = read(path)
    assert pitch(sound, 0.1, 0.9) == pytest.approx(440, abs=2)
    assert loudness(sound, 0.1, 0.9) > 0.05


def test_sound_tracks_with_nothing_in_them(tmp_path: Path) -> None:
    path = write_tones(tmp_path / "a.wav", [(0, 1, 440)], rate=RATE, layout="mono")
    data = path.read_bytes()
    (tmp_path / "head.wav").write_bytes(data[: data.index(b"data") + 8])
    assert read_sound(tmp_path / "head.wav") is None
    with av.open(str(tmp_path / "b.mkv"), "w") as container:
        container.add_stream("pcm_s16le", rate=RATE)
        container.start_encoding()
    assert read_sound(tmp_path / "b.mkv") is None
    assert read_sound(path, 5.0, 6.0) is None


def test_nothing_but_nan_is_silence(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        values = np.full((1, RATE), np.nan, np.float32)
        frame = AudioFrame.from_ndarray(values, format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode()])
    sound = read(tmp_path / "a.wav")
    assert len(sound.samples) == RATE
    assert not sound.samples.any()


def test_pictures_and_sound_that_start_apart(tmp_path: Path) -> None:
    """Pictures from 0.8 s on, sound from 0.3 s: each keeps its own time."""
    film = write_video(tmp_path / "v.mp4", numbered(20), times=[0.8 + n / 25 for n in range(20)])
    tone = write_tones(tmp_path / "s.mkv", [(0.3, 1, 440)], rate=RATE, layout="mono")
    with (
        av.open(str(film)) as a,
        av.open(str(tone)) as b,
        av.open(str(tmp_path / "c.mkv"), "w") as out,
    ):
        packets = []
        for container in (a, b):
            added = out.add_stream_from_template(container.streams[0])
            for packet in container.demux(0):
                if packet.dts is not None:
                    packet.stream = added
                    packets.append(packet)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            out.mux(packet)
    sound = read(tmp_path / "c.mkv")
    with VideoReader(tmp_path / "c.mkv") as reader:
        assert next(iter(reader)).time_s == pytest.approx(0.8, abs=1.1e-3)
    assert sound.start_s == pytest.approx(0.3, abs=1.1e-3)
    assert loudness(sound, 0.31, 1.29) > 0.3
