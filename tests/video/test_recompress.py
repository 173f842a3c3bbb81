"""Compressed once more: the same pictures, times and size, and less of them as the crf grows."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import number_of, numbered, write_video

from openmarlin.data.recompress import Recompress
from openmarlin.data.store import Track
from openmarlin.data.transforms import Clip
from openmarlin.errors import InputError, VideoError
from openmarlin.video.reader import VideoReader
from openmarlin.video.recompress import recompress, recompress_clip


def read(path: Path) -> tuple[list[float], np.ndarray]:
    with VideoReader(path) as reader:
        frames = list(reader)
        return [frame.time_s for frame in frames], np.stack([frame.image for frame in frames])


def face_clip(clips: Path, frames: int = 8) -> np.ndarray:
    with VideoReader(clips / "single_face.mp4") as reader:
        images = [frame.image for frame, _ in zip(reader, range(frames), strict=False)]
    return np.stack(images)[:, 40:264, 200:424]


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


# Clips


@settings(max_examples=20)
@given(t=st.integers(1, 6), height=st.integers(17, 70), width=st.integers(17, 70))
def test_any_size_comes_back_in_its_order(t: int, height: int, width: int) -> None:
    images = np.empty((t, height, width, 3), np.uint8)
    for i in range(t):
        images[i] = np.linspace(20 * i, 60 + 20 * i, width, dtype=np.uint8)[None, :, None]
    out = recompress_clip(images, 23)
    assert out.shape == images.shape
    assert out.dtype == np.uint8
    assert error(out, images) < 4
    assert images[0].min() == 0  # what went in is left alone


def test_clips_lose_more_the_higher_the_crf_and_always_the_same(clips: Path) -> None:
    images = face_clip(clips)
    errors = []
    for crf in (0, 18, 23, 30, 40, 51):
        out = recompress_clip(images, crf)
        errors.append(error(out, images))
        junk = [np.full(1000 * i + 1, i, np.uint8) for i in range(200)]  # another state of memory
        del junk[::2]
        np.testing.assert_array_equal(recompress_clip(images, crf), out)
    assert errors == sorted(errors)
    assert errors[0] < 1.5
    assert 2 * errors[2] < errors[4]


def test_the_transform_draws_once_a_clip(clips: Path) -> None:
    images = face_clip(clips, 4)
    track = Track("t", "v.mp4", "g", 4, 25.0)
    clip = Clip(track, range(4), images, np.zeros((4, 28, 28), np.uint16))
    ways = [images, recompress_clip(images, 23), recompress_clip(images, 40)]
    seen = []
    for seed in range(20):
        out = Recompress((23, 40), 0.6)(clip, np.random.default_rng(seed)).images
        (way,) = [i for i, expected in enumerate(ways) if np.array_equal(out, expected)]
        seen.append(way)
    assert set(seen) == {0, 1, 2}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Recompress(()),
        lambda: Recompress((23, 52)),
        lambda: Recompress(probability=2),
        lambda: recompress_clip(np.zeros((1, 16, 16, 3), np.uint8), -1),
        lambda: recompress("a.mp4", "b.mp4", 99),
    ],
)
def test_what_there_is_not(build: object) -> None:
    with pytest.raises(InputError, match="give") as caught:
        build()
    assert "\n" not in str(caught.value)


# Files


@pytest.mark.parametrize("crf", [23, 40])
def test_a_video_keeps_rate_times_and_size(clips: Path, tmp_path: Path, crf: int) -> None:
    source, target = clips / "single_face.mp4", tmp_path / "c.mp4"
    assert recompress(source, target, crf) == []
    (times, before), (times_after, after) = read(source), read(target)
    assert times_after == pytest.approx(times, abs=1e-4)
    assert after.shape == before.shape
    assert VideoReader(target).info.fps == pytest.approx(VideoReader(source).info.fps)
    assert target.stat().st_size < source.stat().st_size
    assert error(after, before) < {23: 2, 40: 6}[crf]
    with av.open(target) as container:
        assert not container.streams.audio
    again = tmp_path / "again.mp4"
    recompress(source, again, crf)
    assert again.read_bytes() == target.read_bytes()


def test_crf_40_is_smaller_and_worse(clips: Path, tmp_path: Path) -> None:
    source = clips / "two_people.mp4"
    for crf in (23, 40):
        recompress(source, tmp_path / f"{crf}.mp4", crf)
    low, high = (tmp_path / f"{crf}.mp4" for crf in (23, 40))
    assert high.stat().st_size < low.stat().st_size / 2
    before = read(source)[1]
    assert error(read(high)[1], before) > 1.5 * error(read(low)[1], before)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command")
@pytest.mark.parametrize("crf", [23, 40])
def test_as_large_and_as_good_as_ffmpeg(clips: Path, tmp_path: Path, crf: int) -> None:
    source, ours, theirs = clips / "single_face.mp4", tmp_path / "a.mp4", tmp_path / "b.mp4"
    recompress(source, ours, crf)
    command = ["ffmpeg", "-v", "error", "-i", source, "-an", "-c:v", "libx264", "-crf", str(crf)]
    subprocess.run([*command, theirs], check=True)
    assert ours.stat().st_size == pytest.approx(theirs.stat().st_size, rel=0.03)
    before = read(source)[1]
    assert error(read(ours)[1], before) == pytest.approx(error(read(theirs)[1], before), rel=0.03)


@pytest.mark.parametrize(
    "how",
    [
        {"rotation": 90},
        {"mirror": True},
        {"pixel_aspect": Fraction(3, 2)},
        {"pixel_format": "yuv444p"},
        {"pixel_format": "yuv420p10le"},
        {"color": (1, 1)},
        {"color": (5, 2)},
        {"audio": "last"},
    ],
    ids=str,
)
def test_pictures_look_as_before(tmp_path: Path, how: dict[str, object]) -> None:
    """Upright, with square pixels and the same colours, whatever the source has."""
    source = write_video(tmp_path / "a.mp4", numbered(8, 96, 64), **how)
    recompress(source, tmp_path / "b.mp4", 10)
    before, after = read(source)[1], read(tmp_path / "b.mp4")[1]
    assert after.shape == before.shape
    assert error(after, before) < 6
    if "rotation" not in how and "mirror" not in how:
        assert [number_of(image) for image in after] == list(range(8))


def test_times_of_a_variable_rate_and_odd_sides(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.3, 0.31, 0.5]
    frames = numbered(6, 97, 65)
    source = write_video(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format="bgr0", times=times)
    recompress(source, tmp_path / "b.mp4", 18)
    times_after, after = read(tmp_path / "b.mp4")
    assert times_after == pytest.approx(read(source)[0], abs=2e-3)
    assert after.shape == (6, 66, 98, 3)
    assert [number_of(image) for image in after] == list(range(6))


def test_a_video_that_is_damaged_or_none(clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.mp4"
    for source in (tmp_path / "missing.mp4", Path(__file__)):
        with pytest.raises(VideoError):
            recompress(source, target, 23)
        assert not target.exists()
    cut = tmp_path / "cut.mkv"
    data = (clips / "signer_yes.mkv").read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    assert recompress(cut, target, 40)
    assert len(read(target)[0]) == len(read(cut)[0])


def test_the_source_is_not_overwritten(clips: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes((clips / "two_people.mp4").read_bytes())
    (tmp_path / "link.mp4").symlink_to(source)
    for target in (source, tmp_path / "link.mp4"):
        with pytest.raises(InputError, match="its own source"):
            recompress(source, target, 23)
