"""What is written is what our reader reads."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered

from openmarlin.errors import InputError
from openmarlin.video.reader import VideoReader
from openmarlin.video.writer import write_video


def read(path: Path) -> tuple[list[float], np.ndarray]:
    with VideoReader(path) as reader:
        frames = [(frame.time_s, frame.image) for frame in reader]
        assert reader.problems == []
    return [time_s for time_s, _ in frames], np.stack([image for _, image in frames])


@pytest.mark.parametrize("fps", [25, 12.5, 30000 / 1001, 24000 / 1001])
def test_round_trip(tmp_path: Path, fps: float) -> None:
    frames = numbered(40)
    write_video(tmp_path / "new" / "a.mp4", iter(frames), fps)
    times, images = read(tmp_path / "new" / "a.mp4")
    assert [number_of(image) for image in images] == list(range(40))
    np.testing.assert_allclose(times, np.arange(40) / fps, atol=1e-4)


@pytest.mark.parametrize("size", [(48, 64), (720, 1280)])
def test_colours_and_brightness_stay(tmp_path: Path, size: tuple[int, int]) -> None:
    """At any size: a reader has nothing to guess the matrix from but the tags."""
    colours = np.array([(220, 30, 30), (30, 200, 60), (20, 40, 230), (250, 250, 250), (128, 64, 0)])
    frames = [np.broadcast_to(c.astype(np.uint8), (*size, 3)) for c in colours]
    write_video(tmp_path / "a.mp4", frames, 10)
    _, images = read(tmp_path / "a.mp4")
    assert np.abs(images.astype(int) - np.stack(frames)).max() <= 4


def test_what_players_need(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbered(3), 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sides_are_made_even(tmp_path: Path, height: int, width: int) -> None:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    frame = np.broadcast_to(ramp[None, :, None], (height, width, 3))
    write_video(tmp_path / "a.mp4", [frame] * 2, 25)
    _, images = read(tmp_path / "a.mp4")
    assert images.shape == (2, height + height % 2, width + width % 2, 3)
    assert np.abs(images[0, :height, :width].astype(int) - frame).max() <= 6
    if width % 2 and width > 1:
        np.testing.assert_allclose(images[0, :, -1], images[0, :, -2], atol=6)


def test_frames_are_written_as_they_come(tmp_path: Path) -> None:
    """A second of them is not held: the encoder's look-ahead is all that waits."""
    alive = 0

    class Tracked(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def frames() -> Iterator[np.ndarray]:
        nonlocal alive
        for frame in numbered(200, 32, 32):
            alive += 1
            assert alive < 10
            yield np.asarray(frame).view(Tracked)

    write_video(tmp_path / "a.mp4", frames(), 25)


def test_frames_of_two_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in one video"):
        write_video(tmp_path / "a.mp4", [*numbered(1), *numbered(1, 32, 32)], 25)
    assert not list(tmp_path.iterdir())


def test_failing_frames_leave_the_old_file(tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from numbered(3)
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(InputError, match="No space left"):
        write_video(tmp_path / "a.mp4", failing(), 25)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


@pytest.mark.parametrize("target", ["folder", "file/a.mp4"])
def test_place_that_cannot_be_written(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder" / "keep").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_video(tmp_path / target, numbered(3), 25)


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from openmarlin.errors import InputError
from openmarlin.video.writer import write_video

def frames():
    noise = np.random.default_rng(0)
    return (noise.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(50))

target = Path(sys.argv[1])
write_video(target, frames(), 25)
size = target.stat().st_size
target.write_text("old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in (size - 100, size // 2, 0):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        write_video(target, frames(), 25)
    except InputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """Full while the container is being finished, on the way, and from the start."""
    target = tmp_path / "a.mp4"
    command = [sys.executable, "-c", _FULL_DISK, str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == 3, result
    assert all(line.startswith(f"cannot write {target}: ") for line in lines)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert target.read_text() == "old"
