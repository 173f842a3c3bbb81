"""Times that containers tell badly, streams that are put together, and what is not damage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered, write_video

from openmarlin.errors import VideoError
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import ticks

FPS = 30
N = 36


def times(path: Path) -> list[float]:
    return [frame.time_s for frame in VideoReader(path)]


def numbers(path: Path) -> list[int]:
    return [number_of(frame.image) for frame in VideoReader(path)]


def remux(source: Path, target: Path, *, first: int = 0) -> Path:
    """Copy the packets of a file, from one of them on."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            if number >= first:
                packet.stream = stream
                new.mux(packet)
    return target


# --- AVI stores when a frame is decoded


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_h264_in_avi_starts_at_its_first_frame(tmp_path, b_frames):
    path = write_video(tmp_path / "a.avi", numbered(N), fps=FPS, options={"bf": b_frames})
    assert times(path) == pytest.approx([i / FPS for i in range(N)], abs=1e-6)
    assert numbers(path) == list(range(N))


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_a_remux_keeps_every_tick(tmp_path, b_frames):
    source = write_video(tmp_path / "a.ts", numbered(N), fps=FPS, options={"bf": b_frames})
    video = VideoReader(remux(source, tmp_path / "a.avi"))
    assert [number_of(frame.image) for _, frame in ticks(video, video.info.fps)] == list(range(N))
    steps = [b - a for a, b in pairwise(times(tmp_path / "a.avi"))]
    assert steps == pytest.approx([1 / FPS] * (N - 1), abs=1e-6)


def test_a_pause_in_an_avi_is_kept(tmp_path):
    """Capture programs leave empty packets where they lost frames."""
    shown = [i / FPS + (0.5 if i >= 20 else 0) for i in range(N)]
    path = write_video(tmp_path / "a.ts", numbered(N), times=shown, options={"bf": "0"})
    assert times(remux(path, tmp_path / "a.avi"))[20] == pytest.approx(shown[20], abs=0.04)


def test_a_cut_avi_does_not_pause_after_its_first_frame(tmp_path):
    source = write_video(tmp_path / "a.ts", numbered(N), fps=FPS, options={"bf": "0", "g": "12"})
    frames = list(VideoReader(remux(source, tmp_path / "a.avi", first=12)))
    steps = [after.time_s - before.time_s for before, after in pairwise(frames)]
    assert len(steps) > 10
    assert steps == pytest.approx([1 / FPS] * len(steps), abs=1e-6)


# --- no times, or not for all


@pytest.mark.parametrize("fps", [24, 30, 50])
def test_a_bare_stream_has_the_rate_of_its_codec(tmp_path, fps):
    path = write_video(tmp_path / "a.h264", numbered(N), fps=fps)
    assert VideoReader(path).info.fps == pytest.approx(fps)
    assert times(path) == pytest.approx([i / fps for i in range(N)])


def without_times(stream: bytes, n: int) -> bytes:
    """A transport stream whose first n pictures carry no time stamps."""
    data, seen = bytearray(stream), 0
    for start in range(0, len(data), 188):
        header = data.find(b"\0\0\1\xe0", start, start + 188)
        if data[start + 1] & 0x40 and header > 0 and seen < n:
            seen += 1
            data[header + 7] &= 0x3F  # neither PTS nor DTS
            length = data[header + 8]
            data[header + 9 : header + 9 + length] = b"\xff" * length
    return bytes(data)


@pytest.mark.parametrize("b_frames", ["0", "2"])
@pytest.mark.parametrize("n", [1, 7, 20])
def test_frames_without_times_do_not_shift_the_rest(tmp_path, b_frames, n):
    """As a stream that was cut between two key frames may begin."""
    whole = write_video(tmp_path / "a.ts", numbered(N), fps=FPS, options={"bf": b_frames})
    path = tmp_path / "b.ts"
    path.write_bytes(without_times(whole.read_bytes(), n))
    assert times(path) == pytest.approx(times(whole), abs=1e-6)
    assert VideoReader(path).info.fps == pytest.approx(FPS)


# --- put together


def joined(folder: Path, *parts: Path, name: str = "joined.ts") -> VideoReader:
    path = folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return VideoReader(path)


def test_pieces_of_a_camera_are_no_damage(tmp_path):
    """Each begins at 0 again; a rate measured over all of them at once would be far too high."""
    parts = [
        write_video(tmp_path / f"{i}.ts", numbered(25 + i, first=30 * i), fps=FPS) for i in range(4)
    ]
    video = joined(tmp_path, *parts)
    frames = list(video)
    assert video.info.fps == pytest.approx(FPS)
    assert [number_of(f.image) for f in frames] == [
        30 * i + k for i in range(4) for k in range(25 + i)
    ]
    steps = [after.time_s - before.time_s for before, after in pairwise(frames)]
    assert steps == pytest.approx([1 / FPS] * (len(frames) - 1), abs=2e-3)
    assert video.problems == []
    assert len(video.notes) == 1
    assert " 3 times" in video.notes[0]


def test_sound_that_begins_in_the_second_piece(tmp_path):
    """A stream that shows up in mid-file, which PyAV does not expect."""
    silent = write_video(tmp_path / "1.ts", numbered(20), fps=FPS)
    loud = write_video(tmp_path / "2.ts", numbered(20, first=20), fps=FPS, audio="last")
    video = joined(tmp_path, silent, loud)
    assert [number_of(frame.image) for frame in video] == list(range(40))
    assert video.problems == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_three_audio_tracks(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        tones = [container.add_stream("aac", rate=16000) for _ in range(2)]
        stream = container.add_stream("libx264", rate=FPS)
        tones.append(container.add_stream("aac", rate=16000))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for tone in tones:
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            sound.sample_rate = 16000
            container.mux(tone.encode(sound))
            container.mux(tone.encode())
        for image in numbered(N):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert numbers(path) == list(range(N))


# --- what is not damage


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_long_last_frame_is_not_an_early_end(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    source = write_video(tmp_path / "source.mp4", numbered(N), fps=FPS, options={"bf": "0"})
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            if number == N - 1:
                packet.duration = round(2.5 / packet.time_base)
            packet.stream = stream
            new.mux(packet)
    video = VideoReader(path)
    assert len(list(video)) == N
    assert video.info.duration_s == pytest.approx((N - 1) / FPS + 2.5, abs=0.05)
    assert video.problems == []


def test_an_animated_webp_is_named(tmp_path):
    if "libwebp_anim" not in av.codecs_available:
        pytest.skip("this FFmpeg cannot write WebP")
    path = write_video(
        tmp_path / "a.webp",
        numbered(4),
        codec="libwebp_anim",
        pixel_format="yuv420p",
        container_format="webp",
    )
    with pytest.raises(VideoError) as caught:
        VideoReader(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "animated WebP" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_files_that_may_not_be_written(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(N), fps=FPS)
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert numbers(path) == list(range(N))
        assert {item.name for item in tmp_path.iterdir()} == {"a.mp4"}
    finally:
        tmp_path.chmod(0o755)


def test_200_frames_a_second(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(100), fps=200)
    video = VideoReader(path)
    assert video.info.fps == pytest.approx(200)
    assert [number_of(frame.image) for _, frame in ticks(video, 200)] == list(range(100))
