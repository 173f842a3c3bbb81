"""Faces in real frames: found, found small, found again, and not found where there are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.face.detector import overlaps
from openmarlin.face.landmarker import Face, Landmarker

RIGHT_EYE, LEFT_EYE, NOSE_TIP, CHIN, FOREHEAD = 33, 263, 4, 152, 10
BROW_TO_CHIN = {"single_face.mp4": 177, "signer_again.mkv": 83, "signer_yes.mkv": 78}
"""Height of the face in the first frame, in pixels of that frame."""

SINGLE = [
    "single_face.mp4",
    "face_then_none.mp4",
    *(f"signer_{word}.mkv" for word in ("again", "book", "help", "sister", "thanks", "yes")),
]


@pytest.mark.parametrize("name", SINGLE)
def test_one_face_is_found_once(name: str, landmarker: Landmarker, frames) -> None:
    for image in frames(name, 0, 50, 25):
        (face,) = landmarker.search(image)
        assert face.score > 0.9
        assert face.blendshapes is None
        assert face.points.shape == (478, 3)
        assert face.points.dtype == face.box.dtype == np.float32
        right, left, nose, chin, top = face.points[
            [RIGHT_EYE, LEFT_EYE, NOSE_TIP, CHIN, FOREHEAD], :2
        ]
        assert right[0] < nose[0] < left[0]
        assert top[1] < right[1] < nose[1] < chin[1]


def test_two_people_are_two_faces_all_along(landmarker: Landmarker, frames) -> None:
    for image in frames("two_people.mp4", 0, None, 9):
        faces = sorted(landmarker.search(image), key=lambda face: face.box[0])
        assert len(faces) == 2
        assert faces[0].box[2] < 240 < faces[1].box[0]  # one in each half


def test_no_face_where_the_face_has_gone(landmarker: Landmarker, frames) -> None:
    for image in frames("face_then_none.mp4", 72, None, 20):
        assert landmarker.search(image) == []


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 200), (270, 480), (720, 1280)])
def test_no_face_in_black_white_noise_or_stripes(
    size: tuple[int, int], landmarker: Landmarker
) -> None:
    rng = np.random.default_rng(0)
    stripes = np.broadcast_to((np.arange(size[1]) * 8 % 256)[None, :, None], (*size, 3))
    for image in (
        np.zeros((*size, 3), np.uint8),
        np.full((*size, 3), 255, np.uint8),
        rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        stripes.astype(np.uint8),
    ):
        assert landmarker.search(image) == []


def paste(backdrop: np.ndarray, image: np.ndarray, scale: float, left: int, top: int) -> np.ndarray:
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = backdrop.copy()
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


@pytest.mark.parametrize("name", BROW_TO_CHIN)
@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 0.0), (0.47, 0.53), (0.9, 0.98)])
def test_faces_of_40_px_are_found_in_720p(
    name: str, place: tuple[float, float], landmarker: Landmarker, frames, backdrop: np.ndarray
) -> None:
    image = frames(name)[0]
    (known,) = landmarker.search(image)
    scale = 40 / BROW_TO_CHIN[name]
    left = int(place[0] * (1280 - image.shape[1] * scale - 1))
    top = int(place[1] * (720 - image.shape[0] * scale - 1))
    (face,) = landmarker.search(paste(backdrop, image, scale, left, top))
    expected = known.box * scale + np.array([left, top, left, top])
    assert overlaps(expected, face.box[None])[0] > 0.8


def test_twenty_faces_in_one_frame(landmarker: Landmarker, frames) -> None:
    image = frames("single_face.mp4")[0][60:316, 160:448]  # 288 x 256 around the face
    tile = cv2.resize(image, (256, 180))
    crowd = np.tile(tile, (4, 5, 1))
    faces = landmarker.search(crowd)
    assert len(faces) == 20
    cells = {(int(x // 256), int(y // 180)) for x, y in (f.points[NOSE_TIP, :2] for f in faces)}
    assert len(cells) == 20


@pytest.mark.parametrize("size", [(48, 48), (112, 112), (224, 224), (1080, 1080), (2160, 3840)])
def test_a_face_that_fills_the_picture_is_found_at_any_size(
    size: tuple[int, int], landmarker: Landmarker, frames
) -> None:
    picture = cv2.resize(frames("single_face.mp4")[0][90:312, 186:408], size[::-1])
    (face,) = landmarker.search(picture)
    assert 0.3 < face.points[NOSE_TIP, 0] / size[1] < 0.7
    assert 0.4 < face.points[NOSE_TIP, 1] / size[0] < 0.8


@pytest.mark.parametrize("degrees", [-60, -30, 30, 60])
def test_turned_heads_are_found_with_their_points_in_place(
    degrees: int, landmarker: Landmarker, frames
) -> None:
    image = frames("single_face.mp4")[0]
    (upright,) = landmarker.search(image)
    # Points are continuous coordinates, OpenCV's matrices map pixel centres: 0.5 apart.
    matrix = cv2.getRotationMatrix2D((319.5, 179.5), degrees, 0.8)
    (turned,) = landmarker.search(cv2.warpAffine(image, matrix, (640, 360)))
    expected = (upright.points[:, :2] - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
    assert np.linalg.norm(turned.points[:, :2] - expected, axis=1).mean() < 2.5  # of 150 px


def test_follow_keeps_up_with_every_face(landmarker: Landmarker, frames) -> None:
    images = frames("two_people.mp4", 0, None, 2)
    boxes = [face.box for face in landmarker.search(images[0])]
    for image in images[1:]:
        (found,) = landmarker.follow([image], [boxes])
        assert all(face is not None and face.score > 0.5 for face in found)
        moved = [face.box for face in found]
        assert all(overlaps(a, b[None])[0] > 0.3 for a, b in zip(boxes, moved, strict=True))
        boxes = moved
    assert boxes[0][0] < 240 < boxes[1][0] or boxes[1][0] < 240 < boxes[0][0]


def test_follow_agrees_with_search(landmarker: Landmarker, frames) -> None:
    image = frames("signer_help.mkv", 20, 21)[0]
    (searched,) = landmarker.search(image)
    shifted = searched.box + np.float32(30)  # nearly half a face off
    ((followed,),) = landmarker.follow([image], [[shifted]])
    assert followed is not None
    assert np.abs(followed.points - searched.points)[:, :2].mean() < 0.02 * np.ptp(
        searched.points[:, 1]
    )


def test_follow_loses_a_face_that_has_gone(landmarker: Landmarker, frames) -> None:
    first, *later = frames("face_then_none.mp4", 0, None, 24)
    box = landmarker.search(first)[0].box
    found = landmarker.follow(later, [[box]] * len(later))
    assert [row[0] is not None for row in found] == [True] * 2 + [False] * 5


def test_follow_keeps_the_shape_of_the_question(landmarker: Landmarker, frames) -> None:
    image = frames("single_face.mp4")[0]
    box = landmarker.search(image)[0].box
    assert landmarker.follow([], []) == []
    assert landmarker.follow([image], [[]]) == [[]]
    (first, second) = landmarker.follow([image, image], [[None, box], [None]])
    assert first[0] is None
    assert first[1] is not None
    assert second == [None]


@pytest.mark.parametrize(
    "box",
    [(-900, -900, -800, -800), (5000, 10, 5100, 90), (300, 200, 300, 200), (0, 0, 9000, 9000)],
)
def test_follow_survives_any_box(
    box: tuple[float, ...], landmarker: Landmarker, frames, backdrop: np.ndarray
) -> None:
    assert landmarker.follow([backdrop], [[np.array(box, np.float32)]]) == [[None]]


def test_two_boxes_do_not_share_a_face(landmarker: Landmarker, frames) -> None:
    image = frames("single_face.mp4")[0]
    box = landmarker.search(image)[0].box
    ((off, on),) = landmarker.follow([image], [[box + np.float32(40), box]])
    assert off is None
    assert on is not None


def test_many_at_once_equal_one_at_a_time(landmarker: Landmarker, frames) -> None:
    images = frames("two_people.mp4", 0, 50, 5)
    boxes = [face.box for face in landmarker.search(images[0])]
    together = landmarker.follow(images, [boxes] * len(images))
    for image, row in zip(images, together, strict=True):
        for face, alone in zip(row, landmarker.follow([image], [boxes])[0], strict=True):
            assert face is not None
            assert alone is not None
            assert np.abs(face.points - alone.points).max() < 0.5
            assert face.score == pytest.approx(alone.score, abs=0.02)


def same(left: list[Face], right: list[Face]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a.points, b.points) and a.score == b.score
        for a, b in zip(left, right, strict=True)
    )


def test_the_same_frame_gives_the_same_numbers(landmarker: Landmarker, frames) -> None:
    image = frames("two_people.mp4")[0]
    assert same(landmarker.search(image), landmarker.search(image))
    assert same(landmarker.search(image), Landmarker().search(image))


def test_threads_share_a_landmarker(landmarker: Landmarker, frames) -> None:
    images = frames("two_people.mp4", 0, 40, 5) + frames("signer_yes.mkv", 0, 40, 5)
    expected = [landmarker.search(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(landmarker.search, images), expected, strict=True):
            assert same(got, want)


def test_still_faces_have_still_points(landmarker: Landmarker, frames) -> None:
    """Half a percent of the face, in a recording with camera noise."""
    images = frames("signer_thanks.mkv", 0, 8)
    box = landmarker.search(images[0])[0].box
    found = landmarker.follow(images, [[box]] * len(images))
    points = np.stack([row[0].points[:, :2] for row in found if row[0] is not None])
    assert len(points) == len(images)
    bend = (points[2:] - 2 * points[1:-1] + points[:-2]) / np.sqrt(6)
    assert bend.std() < 0.005 * np.ptp(points[0, :, 1])


def test_blendshapes_follow_the_mouth(landmarker: Landmarker, frames) -> None:
    assert len(BLENDSHAPE_NAMES) == 52
    expressive = Landmarker(blendshapes=True)
    expressive.nets = landmarker.nets
    closed, smiling = (expressive.search(frames("single_face.mp4", i, i + 1)[0]) for i in (0, 40))
    (first,), (second,) = closed, smiling
    assert first.blendshapes is not None
    assert second.blendshapes is not None
    assert first.blendshapes.shape == (52,)
    assert first.blendshapes.min() >= 0
    assert first.blendshapes.max() <= 1
    smile = BLENDSHAPE_NAMES.index("mouthSmileLeft")
    assert second.blendshapes[smile] > first.blendshapes[smile] + 0.2


def test_a_face_that_keeps_still_is_not_detected_in_every_frame(
    landmarker: Landmarker, frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = frames("signer_thanks.mkv", 0, 9)
    box = landmarker.search(images[0])[0].box
    shown: list[int] = []
    seldom = Landmarker(detect_every=3)
    seldom.nets = landmarker.nets
    recentre = seldom._recentre

    def count(images, boxes):
        shown.append(len(images))
        return recentre(images, boxes)

    monkeypatch.setattr(seldom, "_recentre", count)
    often = landmarker.follow(images, [[box]] * 9)
    found = seldom.follow(images, [[box]] * 9)
    assert sum(shown) == 4  # frames 0, 3, 6 and the last
    for (face,), (expected,) in zip(found, often, strict=True):
        assert np.abs(face.points - expected.points)[:, :2].mean() < 0.01 * np.ptp(
            expected.points[:, 1]
        )


def test_a_face_that_moves_is_detected_in_every_frame(landmarker: Landmarker, frames) -> None:
    image = frames("signer_thanks.mkv")[0]
    images = [np.roll(image, 40 * n, axis=1) for n in range(6)]
    box = landmarker.search(image)[0].box
    boxes = [[box + np.float32([40 * n, 0, 40 * n, 0])] for n in range(6)]
    seldom = Landmarker(detect_every=2)
    seldom.nets = landmarker.nets
    for row, expected in zip(
        seldom.follow(images, boxes), landmarker.follow(images, boxes), strict=True
    ):
        assert same(row, expected)
