"""YouTube Faces on disk: order of frames, whose face it is, and what is missing or damaged."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmarlin.data.layouts import list_sources, youtube_faces
from openmarlin.data.layouts.source import Faces
from openmarlin.errors import InputError, VideoError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.stream import FaceCrop
from openmarlin.video.reader import VideoReader

FIRST, N = 95, 12  # so that frame 100 follows 99


@pytest.fixture(scope="module")
def landmarker() -> Landmarker:
    return Landmarker()


@pytest.fixture(scope="module")
def pictures(clips: Path) -> list[np.ndarray]:
    """Frames with two people side by side."""
    with VideoReader(clips / "two_people.mp4") as reader:
        return [frame.image for frame in islice(reader, N)]


@pytest.fixture
def root(tmp_path: Path, pictures: list[np.ndarray], landmarker: Landmarker) -> Path:
    """The data set with one video, whose boxes are those of the person on the right."""
    folder = tmp_path / "YTF" / "frame_images_DB" / "Right_Person" / "3"
    folder.mkdir(parents=True)
    found = landmarker.search(pictures[0])
    box = max((face.box for face in found), key=lambda box: float(box[0]))
    x, y, side = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, max(box[2:] - box[:2])
    lines = []
    for i, picture in enumerate(pictures):
        name = f"3.{FIRST + i}.jpg"
        cv2.imwrite(str(folder / name), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        lines.append(f"Right_Person\\3\\{name},0,{x:.0f},{y:.0f},{side:.0f},{side:.0f},0,1")
    lines.append("Right_Person\\4\\4.1.jpg,0,10,10,5,5,0,1")
    labels = folder.parents[1] / "Right_Person.labeled_faces.txt"
    labels.write_text("\r\n".join(lines) + "\r\n")
    return tmp_path / "YTF"


def video(root: Path) -> Path:
    return root / "frame_images_DB" / "Right_Person" / "3"


def labels(root: Path) -> Path:
    return root / "frame_images_DB" / "Right_Person.labeled_faces.txt"


def read(root: Path, landmarker: Landmarker) -> tuple[Faces, list[tuple[int, list[FaceCrop]]]]:
    (source,) = list_sources([root])
    with source.open(landmarker, size=224, margin=16, limit_s=None) as faces:
        return faces, [(tick, crops) for tick, _, crops in faces.ticks]


def test_listed_in_natural_order_by_subject(tmp_path: Path) -> None:
    frames = tmp_path / "frame_images_DB"
    for subject, number in (("Bo_10", 0), ("Bo_9", 10), ("Bo_9", 2)):
        (frames / subject / str(number)).mkdir(parents=True)
    for root in (tmp_path, frames):
        sources = list_sources([root])
        assert [s.name for s in sources] == ["Bo_9_2", "Bo_9_10", "Bo_10_0"]
        assert [s.row.group for s in sources] == ["Bo_9", "Bo_9", "Bo_10"]


def test_boxes_choose_the_face(root: Path, landmarker: Landmarker) -> None:
    faces, ticks = read(root, landmarker)
    assert faces.fps == 24
    assert [tick for tick, _ in ticks] == list(range(N))
    assert faces.problems() == []
    boxes = youtube_faces.read_labels(labels(root), "3")
    for tick, (crop,) in ticks:
        assert crop.track == 0
        assert crop.image.shape == (256, 256, 3)
        assert not crop.interpolated
        assert crop.points is not None
        assert np.abs(crop.points.mean(axis=0) - 128).max() < 40  # the mesh lies in its crop
        centre = (crop.box[:2] + crop.box[2:]) / 2
        box = boxes[f"3.{FIRST + tick}.jpg"]
        assert np.abs(centre - box[:2]).max() < box[2] / 2


def test_no_labelled_frame_is_lost_where_the_mesh_is(root: Path, landmarker: Landmarker) -> None:
    _, before = read(root, landmarker)
    hidden = video(root) / f"3.{FIRST + 6}.jpg"
    picture = cv2.imread(str(hidden))
    cv2.imwrite(str(hidden), np.full_like(picture, 90))
    _, after = read(root, landmarker)
    assert len(after) == N
    (crop,) = after[6][1]
    assert crop.interpolated
    assert crop.points is None
    np.testing.assert_allclose(crop.box, before[6][1][0].box, atol=4)  # steady all the same


def test_all_from_the_boxes_when_nothing_is_found(root: Path, landmarker: Landmarker) -> None:
    for file in video(root).iterdir():
        cv2.imwrite(str(file), np.full((270, 480, 3), 90, np.uint8))
    _, ticks = read(root, landmarker)
    box = youtube_faces.read_labels(labels(root), "3")[f"3.{FIRST}.jpg"]
    assert [crop.score for _, (crop,) in ticks] == [0] * N
    x1, _, x2, _ = ticks[0][1][0].box
    assert x2 - x1 == pytest.approx(1.11 * box[2], rel=1e-3)


def test_frames_without_a_label_are_another_track(root: Path, landmarker: Landmarker) -> None:
    kept = [line for line in labels(root).read_text().splitlines() if f"3.{FIRST + 4}." not in line]
    labels(root).write_text("\n".join(kept))
    _, ticks = read(root, landmarker)
    assert [tick for tick, _ in ticks] == [*range(4), *range(5, N)]


def test_without_labels_all_faces_are_followed(root: Path, landmarker: Landmarker) -> None:
    labels(root).unlink()
    (video(root) / f"3.{FIRST + 1}.jpg").write_bytes(b"no picture")
    (video(root) / f"3.{FIRST + 2}.jpg").write_bytes(b"")
    faces, ticks = read(root, landmarker)
    assert [tick for tick, _ in ticks] == [0, *range(3, N)]
    assert {len(crops) for _, crops in ticks} == {2}
    assert faces.problems() == [f"3.{FIRST + i}.jpg cannot be read" for i in (1, 2)]


@pytest.mark.parametrize(
    "line", ["Right_Person\\3\\3.95.jpg,0,1", "nonsense", "a\\b\\c,0,1,2,-3,4"]
)
def test_bad_label_lines_are_named(root: Path, landmarker: Landmarker, line: str) -> None:
    labels(root).write_text(f"{labels(root).read_text()}{line}\n")
    with pytest.raises(VideoError, match=rf"labeled_faces.txt, line {N + 2}: not path"):
        read(root, landmarker)


def test_empty_folders(tmp_path: Path, landmarker: Landmarker) -> None:
    (tmp_path / "frame_images_DB").mkdir()
    with pytest.raises(InputError, match="no SUBJECT/VIDEO folders"):
        list_sources([tmp_path])
    (tmp_path / "frame_images_DB" / "A" / "0").mkdir(parents=True)
    with pytest.raises(VideoError, match="no frames"):
        read(tmp_path, landmarker)


def test_other_inputs_are_video_files(tmp_path: Path, clips: Path) -> None:
    table = tmp_path / "t.csv"
    first, second = clips / "signer_yes.mkv", clips / "signer_book.mkv"
    table.write_text(f"video,group\n{first},anna\n{second},\ngone.mp4,bo\n")
    sources = list_sources([table, first, clips / "two_people.mp4"])
    assert [(source.row.video, source.row.group) for source in sources] == [
        (first, "anna"),
        (second, ""),
        (tmp_path / "gone.mp4", "bo"),
        (clips / "two_people.mp4", ""),
    ]
    for inputs in ([], [tmp_path / "nothing"]):
        with pytest.raises(InputError):
            list_sources(inputs)
