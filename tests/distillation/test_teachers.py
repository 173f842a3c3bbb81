"""Teachers: how each is shown a face, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from teaching import write_teacher

from openmarlin.distillation.teachers import ARCFACE, DLIB, TEACHERS, TeacherNets, teacher_files
from openmarlin.errors import InputError

RNG = np.random.default_rng(0)


def face(angle: float = 0.3, scale: float = 1.4) -> np.ndarray:
    """Made-up mesh points in a picture of 256 px, of which those of both templates lie as asked."""
    points = RNG.uniform(60, 200, (478, 3)).astype(np.float32)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for groups, places in (ARCFACE, DLIB):
        for group, place in zip(groups, places, strict=True):
            points[list(group), :2] = (turn @ (place * 112)) + (90, 40)
    return points


def test_points_come_to_their_places_on_the_chip() -> None:
    points = face()
    groups, places = ARCFACE
    centres = np.stack([points[list(group), :2].mean(axis=0) for group in groups])
    for centre, place in zip(centres, places, strict=True):
        image = np.zeros((256, 256, 3), np.uint8)
        column, row = np.floor(centre).astype(int)
        image[row - 1 : row + 2, column - 1 : column + 2] = 255
        chip = TEACHERS["mobileface"].chip(image, points)
        assert chip.shape == (112, 112, 3)
        assert chip.dtype == np.float32
        rows, columns = np.nonzero(chip[:, :, 0] > 100)
        # The two templates share points, so that the fit is near and not exact.
        assert (
            np.hypot(columns.mean() + 0.5 - 112 * place[0], rows.mean() + 0.5 - 112 * place[1]) < 6
        )


def test_the_level_square_has_level_eyes_and_may_be_grey() -> None:
    points = face(angle=0.4)
    image = np.zeros((256, 256, 3), np.uint8)
    for eye in ((33, 133), (362, 263)):
        x, y = points[list(eye), :2].mean(axis=0)
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    chip = TEACHERS["mini_xception_emotion"].chip(image, points)
    assert chip.shape == (64, 64, 1)
    _, labels, _, centres = cv2.connectedComponentsWithStats((chip[:, :, 0] > 60).astype(np.uint8))
    assert labels.max() == 2
    assert abs(centres[1][1] - centres[2][1]) < 2


def test_teachers_answer_in_their_order_and_by_their_names(tmp_path: Path) -> None:
    write_teacher(tmp_path, "mobileface", 112, 24)
    write_teacher(tmp_path, "dlib_face_recognition", 150, 8)
    assert [file.suffix for file in teacher_files(tmp_path)] == [".xml", ".bin"] * 2
    images = [RNG.integers(0, 255, (256, 256, 3), np.uint8) for _ in range(3)]
    answers = TeacherNets(tmp_path).ask(images, [face(), face(0.1), face(-0.2)])
    assert {name: values.shape for name, values in answers.items()} == {
        "dlib": (3, 8),
        "mobileface": (3, 24),
    }
    alone = TeacherNets(tmp_path).ask(images[:1], [face()])
    assert np.isfinite(alone["mobileface"]).all()
    assert TeacherNets(None).nets == {}
    assert teacher_files(None) == []


def test_a_folder_without_teachers_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no teacher there; OpenVINO files .*mobileface\.xml"):
        TeacherNets(tmp_path)
    (tmp_path / "mobileface.xml").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"mobileface\.xml: not a network that OpenVINO reads"):
        TeacherNets(tmp_path)
