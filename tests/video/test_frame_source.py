"""Frames by number, in any order, are those of a reading from the beginning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media import number_of, numbered, write_video

from openmarlin.errors import VideoError
from openmarlin.video.frame_source import FrameSource
from openmarlin.video.reader import VideoReader

N = 330
ORDER = [(0, 5), (5, 8), (8, 9), (300, 330), (200, 216), (184, 200), (0, 1), (0, 1), (329, 330)]


@pytest.fixture(scope="module", params=["a.mp4", "a.mkv", "a.ts", "a.avi"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / str(request.param)
    codec = {"a.avi": "mpeg4"}.get(path.name, "libx264")
    options = {"g": "50", "bf": "0" if codec == "mpeg4" else "2"}
    return write_video(path, numbered(N), codec=codec, options=options)


def times_of(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return np.array([frame.time_s for frame in reader])


def test_frames_in_any_order(video: Path) -> None:
    with FrameSource(video, times_of(video)) as source:
        assert source.size == (48, 64)
        for first, stop in ORDER:
            images = source.images(first, stop)
            assert [number_of(image) for image in images] == list(range(first, stop))


def test_uneven_times(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 120)).tolist()
    path = write_video(tmp_path / "a.mp4", numbered(120), times=times, options={"g": "20"})
    with FrameSource(path, times_of(path)) as source:
        for first in (100, 40, 70, 0):
            assert [number_of(image) for image in source.images(first, first + 10)] == list(
                range(first, first + 10)
            )


def test_a_jump_does_not_read_the_beginning(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if video.suffix == ".ts":
        pytest.skip("it has no index, so a jump may go too far")
    times_s = times_of(video)
    monkeypatch.setattr(VideoReader, "__iter__", lambda self: pytest.fail("read from the start"))
    with FrameSource(video, times_s) as source:
        assert number_of(source.images(250, 251)[0]) == 250


def test_a_file_that_is_another_now(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(50))
    times_s = times_of(path)
    write_video(path, numbered(20))
    with FrameSource(path, times_s) as source, pytest.raises(VideoError, match="changed"):
        source.images(30, 40)
