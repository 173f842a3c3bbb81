"""Pieces put behind each other are one video, with its times and its sound."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered, write_tones

from openmarlin.errors import InputError
from openmarlin.video.audio import read_sound
from openmarlin.video.reader import VideoReader
from openmarlin.video.segments import SoundPart, count_frames, join_segments, write_segment

STEADY = np.arange(40) / 25
UNEVEN = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.2, 40))
UNEVEN -= UNEVEN[0]


def pieces(folder: Path, times_s: np.ndarray, step: int = 15) -> list[Path]:
    images, paths = numbered(len(times_s)), []
    for start in range(0, len(times_s), step):
        part = slice(start, start + step)
        paths.append(folder / f"{start}.mp4")
        write_segment(paths[-1], images[part], times_s[part], shape=(48, 64), fps=25, crf=18)
    return paths


def shown(path: Path) -> tuple[list[float], list[int]]:
    with VideoReader(path) as reader:
        frames = [(frame.time_s, number_of(frame.image)) for frame in reader]
        assert reader.problems == []
    return [time_s for time_s, _ in frames], [number for _, number in frames]


@pytest.mark.parametrize("times_s", [STEADY, UNEVEN])
def test_every_frame_at_its_time(tmp_path: Path, times_s: np.ndarray) -> None:
    paths = pieces(tmp_path, times_s)
    assert [count_frames(path) for path in paths] == [15, 15, 10]
    end_s = float(times_s[-1]) + 0.04
    join_segments(tmp_path / "out.mp4", paths, times_s, end_s, None)
    found, numbers = shown(tmp_path / "out.mp4")
    assert numbers == list(range(40))
    np.testing.assert_allclose(found, times_s, atol=1e-4)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(end_s, abs=1e-3)


def test_sound_is_copied_and_begins_where_it_should(tmp_path: Path) -> None:
    sound = write_tones(tmp_path / "a.m4a", [(0, 3, 440)], codec="aac")
    paths = pieces(tmp_path, STEADY)
    join_segments(tmp_path / "out.mp4", paths, STEADY, 1.6, SoundPart(sound))
    packets = {}
    for path in (sound, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            packets[path.name] = [bytes(p) for p in container.demux(audio=0) if p.size]
    copied = packets["out.mp4"]
    assert copied == packets["a.m4a"][: len(copied)]
    heard = read_sound(tmp_path / "out.mp4")
    assert heard is not None
    assert len(heard.samples) / 16_000 == pytest.approx(1.6, abs=0.05)


def test_sound_from_a_later_zero(tmp_path: Path) -> None:
    sound = write_tones(tmp_path / "a.wav", [(0, 1, 440), (1, 1, 880)])
    join_segments(tmp_path / "o.mp4", pieces(tmp_path, STEADY), STEADY, 1.6, SoundPart(sound, 1.0))
    heard = read_sound(tmp_path / "o.mp4")
    assert heard is not None
    part = heard.between(0.3, 0.8).astype(float)
    assert np.abs(np.fft.rfft(part)).argmax() / 0.5 == pytest.approx(880, abs=4)


def test_pictures_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    images = [*numbered(3), *numbered(3, width=32, height=32, first=3)]
    path = tmp_path / "a.mp4"
    write_segment(path, images, STEADY[:6], shape=(48, 64), fps=25, crf=18)
    assert count_frames(path) == 6


def test_pieces_that_are_damaged_or_coded_in_another_way(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert count_frames(tmp_path / "bad.mp4") == count_frames(tmp_path / "none.mp4") == 0
    one = pieces(tmp_path, STEADY)[0]
    other = tmp_path / "other.mp4"
    write_segment(other, numbered(5, width=32), STEADY[:5], shape=(48, 32), fps=25, crf=18)
    with pytest.raises(InputError, match="other"):
        join_segments(tmp_path / "out.mp4", [one, other], STEADY[:20], 1.0, None)
    assert not (tmp_path / "out.mp4").exists()
