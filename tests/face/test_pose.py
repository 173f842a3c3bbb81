"""Head pose: rotations come back, mirrored clips have mirrored angles, speech moves nothing."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from openmarlin.face.landmarker import Landmarker
from openmarlin.face.pose import _FACE, _POINTS, head_pose, head_rotation
from openmarlin.video.reader import VideoReader

angles = st.tuples(st.floats(-89, 89), st.floats(-80, 80), st.floats(-179, 179))


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A head that first is tilted, then looks up, then turns to the right of the picture."""
    y, p, r = np.radians([-yaw, -pitch, roll])
    # Axes of the picture: x right, y down, z away.
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_x = [[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]
    about_z = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    return np.array(about_y) @ about_x @ about_z


def mesh(rotation: np.ndarray, scale: float = 1.0, shift: tuple[float, ...] = (0, 0, 0)):
    """478 points of which those that count are the canonical face's."""
    points = np.zeros((478, 3))
    points[_POINTS] = scale * _FACE @ rotation.T + np.array(shift)
    return points[None]


@given(angles)
def test_a_rotation_comes_back(expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(head_pose(mesh(turned(*expected)))[0], expected, atol=1e-3)


@given(angles, st.floats(0.1, 100), st.tuples(*[st.floats(-1000, 1000)] * 3))
def test_size_and_place_do_not_matter(
    turn: tuple[float, float, float], scale: float, shift: tuple[float, float, float]
) -> None:
    found = head_rotation(mesh(turned(*turn), scale, shift))[0]
    np.testing.assert_allclose(found, turned(*turn), atol=1e-6)


@given(angles)
def test_a_mirrored_mesh_has_the_opposite_yaw_and_roll(turn: tuple[float, float, float]) -> None:
    points = mesh(turned(*turn))[0, _POINTS] * (-1, 1, 1)
    # What was a point of the left half is one of the right half.
    swap = [int(np.abs(_FACE - _FACE[i] * (-1, 1, 1)).sum(axis=1).argmin()) for i in range(33)]
    mirrored = np.zeros((1, 478, 3))
    mirrored[0, _POINTS] = points[swap]
    expected = np.array(turn) * (-1, 1, -1)
    np.testing.assert_allclose(head_pose(mirrored)[0], expected, atol=1e-3)


@given(arrays(np.float32, (3, 478, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_any_mesh_has_angles_in_range(meshes: np.ndarray) -> None:
    rotation = head_rotation(meshes)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), [np.eye(3)] * 3, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)
    assert (np.abs(head_pose(meshes)) <= (180, 90, 180)).all()


def test_no_meshes() -> None:
    assert head_pose(np.zeros((0, 478, 3))).shape == (0, 3)


def poses(landmarker: Landmarker, path, *, mirror: bool = False) -> np.ndarray:
    """Of the surest face of some frames."""
    meshes = []
    with VideoReader(path) as video:
        for frame in islice(video, 0, None, 8):
            image = np.ascontiguousarray(frame.image[:, ::-1] if mirror else frame.image)
            meshes += [face.points for face in landmarker.search(image)[:1]]
    return head_pose(np.stack(meshes))


@pytest.mark.parametrize("name", ["single_face.mp4", "signer_book.mkv", "signer_again.mkv"])
def test_mirrored_clips_have_mirrored_angles(landmarker: Landmarker, clips, name: str) -> None:
    plain = poses(landmarker, clips / name)
    mirrored = poses(landmarker, clips / name, mirror=True)
    assert np.abs(plain - mirrored * (-1, 1, -1)).mean() < 1.5


def test_signs_on_real_faces(landmarker: Landmarker, frames) -> None:
    """In two_people.mp4 both lean to the left of the picture; she looks there, he does not."""
    people = landmarker.search(frames("two_people.mp4", 30, 31)[0])
    she, he = sorted(people, key=lambda face: float(face.box[0]))
    (her_yaw, _, her_roll), (his_yaw, _, his_roll) = head_pose(np.stack([she.points, he.points]))
    assert her_yaw < -20
    assert 0 < his_yaw < 25
    assert max(her_roll, his_roll) < -25
    # In signer_book.mkv she holds her nose up.
    (face,) = landmarker.search(frames("signer_book.mkv", 40, 41)[0])
    assert 8 < head_pose(face.points[None])[0, 1] < 25


def test_turning_the_picture_is_roll(landmarker: Landmarker, frames) -> None:
    image = frames("single_face.mp4")[0]
    (upright,) = landmarker.search(image)
    (turned_face,) = landmarker.search(np.ascontiguousarray(np.rot90(image, -1)))  # clockwise
    before, after = head_pose(np.stack([upright.points, turned_face.points]))
    assert after[2] - before[2] == pytest.approx(90, abs=4)


def test_an_open_mouth_is_no_nod(landmarker: Landmarker, frames) -> None:
    """The chin of a mesh is pulled down as far as a jaw goes: a third of the face's height."""
    (face,) = landmarker.search(frames("single_face.mp4")[0])
    opened = face.points.copy()
    height = np.ptp(opened[:, 1])
    lower = [152, 148, 176, 149, 377, 400, 378, 17, 14, 16, 15, 87, 317, 84, 314]
    opened[lower, 1] += 0.3 * height
    before, after = head_pose(np.stack([face.points, opened]))
    assert np.abs(after - before).max() < 0.5
