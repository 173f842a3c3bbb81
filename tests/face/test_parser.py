"""Regions drawn from the mesh: every class where it belongs, nothing where there is no face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from openmarlin.face.crop import crop, marlin_square, to_crop
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.parser import MeshParser, mesh_labels, person_masks
from openmarlin.regions import CLASSES, REGIONS, to_cells

ID = {name: index for index, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def parser(landmarker: Landmarker) -> MeshParser:
    return MeshParser(landmarker.nets)


def cut(landmarker: Landmarker, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Crops (T, 224, 224, 3) of the first face of each picture, and its points in crop pixels."""
    crops, points = [], []
    for image in images:
        face = landmarker.search(image)[0]
        square = marlin_square(face.box)
        crops.append(crop(image, *square))
        points.append(to_crop(face.points, *square, 0.0, 224))
    return np.stack(crops), np.stack(points)


@pytest.fixture(scope="module")
def clip(landmarker: Landmarker, frames) -> tuple[np.ndarray, np.ndarray]:
    return cut(landmarker, frames("single_face.mp4", 0, 60, 20))


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)[::-1]


def test_every_class_lies_where_it_should(parser: MeshParser, clip) -> None:
    for labels in parser(*clip):
        assert labels.shape == (224, 224)
        assert labels.dtype == np.uint8
        at = {name: centre(labels == ID[name]) for name in CLASSES if name != "inner_mouth"}
        assert at["right_eye"][0] < at["nose"][0] < at["left_eye"][0]
        assert at["right_brow"][1] < at["right_eye"][1] < at["nose"][1] < at["upper_lip"][1]
        assert at["left_brow"][1] < at["left_eye"][1]
        assert at["upper_lip"][1] < at["lower_lip"][1]
        assert at["hair"][1] < at["skin"][1]
        share = {name: (labels == ID[name]).mean() for name in CLASSES}
        assert 0.3 < share["skin"] < 0.6
        assert 0.03 < share["hair"] < 0.3
        assert 0.01 < share["nose"] < 0.08


def test_an_open_mouth_has_an_inside_and_a_closed_one_has_none(
    parser: MeshParser, landmarker: Landmarker, frames
) -> None:
    closed, smiling = parser(*cut(landmarker, frames("single_face.mp4", 0, 41, 40)))
    assert (closed == ID["inner_mouth"]).sum() < 30
    assert (smiling == ID["inner_mouth"]).sum() > 100


def test_hair_is_above_and_beside_the_face_never_below(parser: MeshParser, clip) -> None:
    crops, points = clip
    for labels, mesh in zip(parser(crops, points), points, strict=True):
        assert not (labels[int(mesh[152, 1]) :] == ID["hair"]).any()  # from the chin down
        outside = person_masks(crops[:1], parser._nets)[0] < 0.5
        assert ((labels == ID["hair"]) & outside).mean() < 0.05


def test_hair_turns_with_the_head(parser: MeshParser, landmarker: Landmarker, frames) -> None:
    (image,) = frames("single_face.mp4")
    matrix = cv2.getRotationMatrix2D((320, 180), 40, 0.8)
    turned = cv2.warpAffine(image, matrix, (640, 360))
    crops, points = cut(landmarker, [turned])
    (labels,) = parser(crops, points)
    up = points[0, 10] - points[0, 152]
    heights = (np.argwhere(labels == ID["hair"])[:, ::-1] - points[0, 152]) @ up / (up @ up)
    assert heights.min() > 0.29
    assert heights.mean() > 0.8


def test_a_face_without_person_mask_has_no_hair(clip) -> None:
    labels = mesh_labels(clip[1][0], np.zeros((224, 224), np.float32))
    assert set(np.unique(labels)) <= set(range(10))
    assert (labels == ID["skin"]).any()


def test_frames_without_points_are_background(parser: MeshParser, clip) -> None:
    crops, points = (array.copy() for array in clip)
    points[1] = np.nan
    labels = parser(crops, points)
    assert not labels[1].any()
    assert np.array_equal(labels[[0, 2]], parser(crops[[0, 2]], points[[0, 2]]))


def test_no_frames_no_labels(parser: MeshParser) -> None:
    empty = parser(np.zeros((0, 224, 224, 3), np.uint8), np.zeros((0, 478, 2), np.float32))
    assert empty.shape == (0, 224, 224)


def test_points_far_outside_the_crop_do_no_harm(parser: MeshParser, clip) -> None:
    crops, points = clip
    labels = parser(crops[:1], points[:1] + 5000)
    assert set(np.unique(labels)) <= {ID["background"], ID["hair"]}


def test_the_mesh_is_drawn_at_any_size(clip) -> None:
    small = mesh_labels(clip[1][0] / 4, np.zeros((56, 56), np.float32))
    large = mesh_labels(clip[1][0], np.zeros((224, 224), np.float32))
    agree = small == large[2::4, 2::4]
    assert agree.mean() > 0.93


def test_labels_make_cells_that_know_every_region(parser: MeshParser, clip) -> None:
    cells = to_cells(parser(*clip))
    assert cells.shape == (3, 28, 28)
    present = np.bitwise_or.reduce(cells, axis=(1, 2))
    for classes in REGIONS.values():
        assert (present & sum(1 << c for c in classes)).all()
