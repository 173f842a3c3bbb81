"""Pictures as a player shows them: square pixels, upright, each frame in its own size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Image, number_of, numbered, write_video

from openmarlin.video.picture import MAX_PIXELS, square_size
from openmarlin.video.reader import VideoReader

MJPEG = {"codec": "mjpeg", "pixel_format": "yuvj420p"}


def squeezed(images: list[Image], width: int, height: int) -> list[Image]:
    return [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]


def disc(image: Image) -> tuple[int, int]:
    """Width and height of what is bright."""
    bright = image.max(axis=2) > 128
    return int(bright.any(axis=0).sum()), int(bright.any(axis=1).sum())


# --- pixels that are not square


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
@pytest.mark.parametrize(
    ("stored", "aspect"), [((176, 240), Fraction(20, 11)), ((320, 120), Fraction(1, 2))]
)
def test_a_disc_is_round(tmp_path, suffix, stored, aspect):
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (160, 120), 80, (255, 255, 255), -1)
    path = write_video(
        tmp_path / f"a.{suffix}", squeezed([image] * 3, *stored), pixel_aspect=aspect
    )
    video = VideoReader(path)
    assert (video.info.width, video.info.height) == (320, 240)
    assert video.info.pixel_aspect == aspect
    for frame in video:
        assert frame.image.shape == (240, 320, 3) == (frame.height, frame.width, 3)
        assert disc(frame.image) == pytest.approx((161, 161), abs=3)
    assert video.problems == video.notes == []


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_stretched_before_turned(tmp_path, rotation, mirror):
    """The shape of a pixel is that of the stored picture."""
    stored = [image[:, ::-1] if mirror else image for image in numbered(3, 160, 96)]
    stored = [np.rot90(image, -rotation // 90) for image in stored]
    height, width = stored[0].shape[:2]
    path = write_video(
        tmp_path / "a.mp4",
        squeezed(stored, width // 2, height),
        rotation=rotation,
        mirror=mirror,
        pixel_aspect=Fraction(2),
    )
    frames = list(VideoReader(path))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2]
    assert {frame.image.shape for frame in frames} == {(96, 160, 3)}
    assert frames[0].image[88, 8, 0] > 150  # red on the left


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((720, 576), Fraction(64, 45), (1024, 576)),  # PAL, wide
        ((720, 480), Fraction(8, 9), (720, 540)),  # NTSC
        ((854, 480), Fraction(1280, 1281), (854, 480)),  # a rounded side
        ((640, 360), None, (640, 360)),
        ((640, 360), Fraction(0), (640, 360)),
        ((640, 360), Fraction(1, 10**6), (640, 360)),  # a damaged header
        ((640, 360), Fraction(10**6), (640, 360)),
    ],
)
def test_square_size(size, aspect, shown):
    assert square_size(*size, aspect) == shown
    assert shown[0] * shown[1] <= MAX_PIXELS


def test_a_broadcast_that_switches_between_4_3_and_16_9(tmp_path):
    setup = {"codec": "mpeg2video", "options": {"g": "1"}}
    first = write_video(
        tmp_path / "1.mpg", numbered(6, 176, 144), pixel_aspect=Fraction(12, 11), **setup
    )
    second = write_video(
        tmp_path / "2.mpg", numbered(6, 176, 144, first=6), pixel_aspect=Fraction(16, 11), **setup
    )
    path = tmp_path / "both.mpg"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    video = VideoReader(path)
    frames = list(video)
    assert [number_of(frame.image) for frame in frames] == list(range(12))
    widths = [frame.image.shape[1] for frame in frames]
    # The decoder knows of the new shape while it still gives out the last old picture.
    assert widths[:5] + widths[6:] == [192] * 5 + [256] * 6
    assert "192x144 to 256x144" in video.notes[0]


# --- a size that changes


def joined(folder: Path, *parts: list[Image]) -> Path:
    """Motion JPEG files in a row."""
    path = folder / "joined.mjpeg"
    with path.open("wb") as file:
        for images in parts:
            file.write(write_video(folder / "part.mjpeg", images, **MJPEG).read_bytes())
    return path


def test_frames_keep_their_own_size_and_shape(tmp_path):
    """As browsers record calls: small first, then larger; and a phone that is turned."""
    path = joined(
        tmp_path,
        numbered(4, 64, 48),
        numbered(3, 256, 144, first=4),
        numbered(3, 96, 160, first=7),
    )
    video = VideoReader(path)
    frames = list(video)
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    shapes = [(48, 64, 3)] * 4 + [(144, 256, 3)] * 3 + [(160, 96, 3)] * 3
    assert [frame.image.shape for frame in frames] == shapes
    assert [(frame.height, frame.width, 3) for frame in frames] == shapes
    assert video.problems == []
    assert len(video.notes) == 1
    assert "64x48 to 256x144 near 0.16 s" in video.notes[0]


def test_a_steady_size_is_no_news(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", numbered(5)))
    list(video)
    assert video.notes == []
