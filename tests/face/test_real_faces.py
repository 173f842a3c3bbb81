"""The stream of crops with the real networks on real clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import write_video

from openmarlin.face.crop import crop
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.stream import FaceCrop, face_stream
from openmarlin.video.reader import Frame, VideoReader
from openmarlin.video.windows import ticks

Image = np.ndarray
Out = list[tuple[int, float, list[FaceCrop]]]
Frames = Callable[..., list[Image]]


def track_file(path: Path, landmarker: Landmarker, *, rate: int = 2, most: int = 90) -> Out:
    with VideoReader(path) as video:
        fps = video.info.fps
        sampled = ((t, f) for t, f in ticks(video, fps) if t % rate == 0)
        return list(face_stream(islice(sampled, most), landmarker, fps=fps))


def track_images(images: Iterable[Image], landmarker: Landmarker, fps: float = 15.0) -> Out:
    shown = (
        (n, Frame(n, n / fps, im.shape[1], im.shape[0], lambda im=im: im))
        for n, im in enumerate(images)
    )
    return list(face_stream(shown, landmarker, fps=fps))


def ids(out: Out) -> list[list[int]]:
    return [[crop.track for crop in crops] for _, _, crops in out]


def squares(out: Out) -> np.ndarray:
    """(ticks, 3): centre and side of the only face."""
    boxes = np.array([crops[0].box for _, _, crops in out], float)
    return np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2] - boxes[:, 0]])


def test_two_people_are_two_identities(clips: Path, landmarker: Landmarker) -> None:
    out = track_file(clips / "two_people.mp4", landmarker)
    assert ids(out) == [[0, 1]] * len(out)
    lefts = np.array([[crop.box[0] for crop in crops] for _, _, crops in out])
    sides = np.sign(lefts[:, 0] - lefts[:, 1])
    assert abs(sides.sum()) == len(out)  # each stays on its side


def test_after_the_face_has_left_there_are_no_crops(clips: Path, landmarker: Landmarker) -> None:
    out = track_file(clips / "face_then_none.mp4", landmarker)
    here = [bool(crops) for _, _, crops in out]
    last = here.index(False)
    assert 30 <= last <= 37
    assert ids(out) == [[0]] * last + [[]] * (len(out) - last)
    assert not any(crop.interpolated for _, _, crops in out for crop in crops)


@pytest.mark.parametrize(
    ("first", "second"),
    [("single_face.mp4", "signer_book.mkv"), ("signer_sister.mkv", "signer_yes.mkv")],
)
def test_joined_clips_are_cut_where_they_meet(
    first: str, second: str, frames: Frames, landmarker: Landmarker, tmp_path: Path
) -> None:
    shots = [frames(name, 0, 24) for name in (first, second)]
    joined = [cv2.resize(image, (640, 360)) for shot in shots for image in shot]
    out = track_file(write_video(tmp_path / "joined.mp4", joined, fps=30), landmarker)
    assert ids(out) == [[0]] * 12 + [[1]] * 12
    assert not any(crop.interpolated for _, _, crops in out for crop in crops)


def test_a_frozen_face_under_noise_and_coding_gives_a_still_square(
    frames: Frames, landmarker: Landmarker, tmp_path: Path
) -> None:
    face = frames("single_face.mp4")[0]
    noise = np.random.default_rng(0)
    noisy = [
        np.clip(face + noise.normal(0, 8, face.shape), 0, 255).astype(np.uint8) for _ in range(30)
    ]
    path = write_video(tmp_path / "still.mp4", noisy, fps=15, options={"crf": "30"})
    square = squares(track_file(path, landmarker, rate=1))
    moves = np.abs(np.diff(square, axis=0)) / square[0, 2]
    assert moves.max() < 0.01
    assert np.median(moves) < 0.001


def test_a_person_who_sits_still_gives_a_steady_square(clips: Path, landmarker: Landmarker) -> None:
    out = track_file(clips / "single_face.mp4", landmarker, most=20)
    square = squares(out)[4:]  # the head comes to rest first, and turns later on
    moves = np.linalg.norm(np.diff(square[:, :2], axis=0), axis=1) / square[0, 2]
    assert moves.max() < 0.01
    assert np.abs(np.diff(np.log(square[:, 2]))).max() < 0.01


@pytest.mark.parametrize(
    "path",
    [
        lambda n: (250 + 22.0 * n, 300 + 4.0 * n),
        lambda n: (640 + 150 * np.sin(2 * np.pi * 0.5 * n / 15), 360.0),
    ],
    ids=["constant speed", "sway"],
)
def test_the_square_goes_with_a_moving_face(
    path: Callable[[int], tuple[float, float]],
    frames: Frames,
    backdrop: Image,
    landmarker: Landmarker,
) -> None:
    source = frames("single_face.mp4")[0]
    at = squares(track_images([source], landmarker))[0]
    cut = crop(source, at[0], at[1], 1.5 * at[2], size=240)  # the face's square: 160 px
    mask = np.zeros((240, 240), np.float32)
    cv2.ellipse(mask, (120, 120), (90, 108), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 5)
    rgba = np.dstack([cut.astype(np.float32), mask])

    def picture(n: int) -> Image:
        x, y = path(n)
        moved = cv2.warpAffine(rgba, np.float32([[1, 0, x - 120], [0, 1, y - 120]]), (1280, 720))
        alpha = moved[..., 3:]
        return (backdrop * (1 - alpha) + moved[..., :3] * alpha).round().astype(np.uint8)

    out = track_images([picture(n) for n in range(30)], landmarker)
    assert ids(out) == [[0]] * 30
    square = squares(out)
    off = (square[:, :2] - [path(n) for n in range(30)]) / 160
    off -= np.median(off, axis=0)  # the pasted oval may change what the mesh sees, but steadily
    assert np.abs(off).max() < 0.06
    assert np.median(np.abs(off)) < 0.02


def test_a_covered_face_is_bridged(frames: Frames, landmarker: Landmarker) -> None:
    images = [image.copy() for image in frames("signer_thanks.mkv", 0, 48, 2)]
    clear = squares(track_images(images, landmarker))
    for image in images[9:16]:
        x, y, side = clear[12].astype(int)
        image[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 120
    out = track_images(images, landmarker)
    assert ids(out) == [[0]] * 24
    assert [crops[0].interpolated for _, _, crops in out] == [9 <= n < 16 for n in range(24)]
    assert np.abs(squares(out) - clear).max() < 0.15 * clear[0, 2]


def test_tiny_frames_have_no_faces(landmarker: Landmarker) -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(6)]
    assert ids(track_images(images, landmarker)) == [[]] * 6


def test_a_change_of_size_ends_tracks_and_boxes_follow_it(
    clips: Path, landmarker: Landmarker, tmp_path: Path
) -> None:
    """A call whose picture grows from 320x180 to 640x360: two motion JPEG files in a row."""
    with VideoReader(clips / "single_face.mp4") as video:
        images = [frame.image for frame in islice(video, 24)]
    small = [cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA) for image in images[:12]]
    path = tmp_path / "joined.mjpeg"
    with path.open("wb") as file:
        for part in (small, images[12:]):
            setup = {"codec": "mjpeg", "pixel_format": "yuvj420p"}
            file.write(write_video(tmp_path / "part.mjpeg", part, **setup).read_bytes())
    out = track_file(path, landmarker)
    assert ids(out) == [[0]] * 6 + [[1]] * 6
    before, after = squares(out)[5], squares(out)[6]
    assert after == pytest.approx(2 * before, rel=0.05)
