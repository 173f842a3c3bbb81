"""Windows of clips: their times and what they count, where a recording is not steady."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from media import number_of, numbered, write_video

from openmarlin.data.clips import ClipReader, FaceClip, Sampling
from openmarlin.data.features import WindowRow
from openmarlin.data.manifest import Row
from openmarlin.errors import VideoError

FPS = 30


def rows_of(path: Path, **settings: object) -> list[WindowRow]:
    """The rows of a video that shows face crops, so that no net is needed."""
    reader = ClipReader(path, Sampling(precropped=True, **settings), None)
    return [clip.row for clip in reader]


def paused(path: Path, *, before: int, pause_s: float, after: int) -> Path:
    """A recording that stands still after `before` frames."""
    times = [i / FPS + (pause_s if i >= before else 0) for i in range(before + after)]
    return write_video(path, numbered(before + after, 64, 64), fps=FPS, times=times)


def test_windows_of_a_pause_stand_on_the_clock_and_have_no_features(tmp_path: Path) -> None:
    rows = rows_of(paused(tmp_path / "a.mp4", before=36, pause_s=20, after=36))
    assert [row.start_s for row in rows] == pytest.approx([i * 32 / FPS for i in range(21)])
    assert [row.end_s - row.start_s for row in rows[:-1]] == pytest.approx([31 / FPS] * 20)
    # 36 frames last until 1.2 s: two samples of window 1 are new, and one repeats half a step.
    assert [row.n_repeated for row in rows] == [0, 13, *[16] * 17, 14, 0]
    assert [row.face for row in rows] == [0, 0, *[-1] * 17, 0, 0]


def test_a_steady_video_repeats_nothing_and_keeps_the_times_of_its_container(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(70, 64, 64), fps=FPS)  # whole milliseconds
    rows = rows_of(path)
    assert [row.n_repeated for row in rows] == [0, 0, 0]
    assert [row.start_s for row in rows] == [0, 1.067, 2.133]


@pytest.mark.parametrize("tail", ["pad", "drop", "reference"])
def test_a_low_rate_is_no_pause(tmp_path: Path, tail: str) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(40, 64, 64), fps=5)
    assert {row.n_repeated for row in rows_of(path, tail=tail)} == {0}


def test_the_limit_counts_the_pause(tmp_path: Path) -> None:
    path = paused(tmp_path / "a.mp4", before=36, pause_s=20, after=36)
    assert len(rows_of(path, limit_s=5.0)) == 5


def test_what_is_unusual_is_noted_apart_from_damage(tmp_path: Path) -> None:
    path = tmp_path / "joined.mjpeg"
    with path.open("wb") as file:
        for side in (64, 96):
            setup = {"codec": "mjpeg", "pixel_format": "yuvj420p"}
            images = numbered(8, side, side)
            file.write(write_video(tmp_path / "part.mjpeg", images, **setup).read_bytes())
    reader = ClipReader(path, Sampling(precropped=True), None)
    (clip,) = reader
    assert clip.row.n_real == 8
    assert reader.problems == []
    assert len(reader.notes) == 1
    assert "64x64 to 96x96" in reader.notes[0]


def part_clips(
    path: Path, start_s: float, end_s: float | None = None, limit_s: float | None = None
) -> list[FaceClip]:
    sampling = Sampling(precropped=True, limit_s=limit_s)
    return list(ClipReader(Row(path, start_s, end_s), sampling, None))


def test_a_part_keeps_the_times_of_the_container(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(120, 64, 64), fps=FPS)
    first, second = part_clips(path, 1.01, 3.0)
    # The first frame at or after 1.01 s is number 31; the last one before 3 s is number 89.
    assert first.row.start_s == pytest.approx(31 / FPS)
    assert first.pixels is not None
    assert second.pixels is not None
    assert [number_of(image) for image in first.pixels] == list(range(31, 63, 2))
    assert (first.row.window, second.row.window, second.row.n_real) == (0, 1, 14)
    assert second.row.end_s == pytest.approx(3.0)
    assert number_of(second.pixels[-1]) == 89


def test_a_part_that_starts_at_the_time_of_a_frame_starts_with_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(60, 64, 64), fps=FPS)
    whole = next(islice(ClipReader(path, Sampling(precropped=True), None), 1, None))
    part, *_ = part_clips(path, 32 / FPS)
    assert part.row.start_s == whole.row.start_s
    np.testing.assert_array_equal(part.pixels, whole.pixels)


@pytest.mark.parametrize("end_s", [None, 10.0])
def test_a_part_behind_the_end_fails_by_name(tmp_path: Path, end_s: float | None) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(20, 64, 64), fps=FPS)
    with pytest.raises(VideoError, match=r"a\.mp4.*start_s 9"):
        part_clips(path, 9.0, end_s)


def test_the_limit_of_a_part_counts_from_its_start(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(120, 64, 64), fps=FPS)
    (clip,) = part_clips(path, 2.0, limit_s=0.5)
    assert (clip.row.start_s, clip.row.end_s) == pytest.approx((2.0, 2.5), abs=1 / FPS)


def test_a_stopped_reader_ends(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(300, 64, 64), fps=FPS)
    windows: list[int] = []
    reader = ClipReader(path, Sampling(precropped=True), None, stopped=lambda: bool(windows))
    for clip in reader:
        windows.append(clip.row.window)  # noqa: PERF401 - each is seen by `stopped` at once
    assert len(windows) <= 2
    assert reader.seconds < 3
