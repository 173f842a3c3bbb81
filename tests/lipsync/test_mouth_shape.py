"""Shapes of mouths: neither pose nor person change them, and they lead back to points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from talkers import look_at, solid_face

from openmarlin.face.pose import face_cameras
from openmarlin.lipsync.mouth_opening import mouth_opening
from openmarlin.lipsync.small.mouth_shape import (
    MOUTH,
    ShapeBasis,
    fit_basis,
    lips_apart,
)

OPENINGS = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.12, 0.02, 0.25])


def meshes(openings: NDArray[np.float64], yaw: float = 0.0) -> NDArray[np.float32]:
    return np.stack([look_at(solid_face(o), yaw=yaw) for o in openings])


@pytest.fixture(scope="module")
def basis() -> ShapeBasis:
    """Of people who open their mouths, their heads turning."""
    tracks = []
    for turn in (-15.0, 5.0, 15.0):
        yaws = np.linspace(0, turn, len(OPENINGS))
        points = np.stack(
            [look_at(solid_face(o), yaw=y) for o, y in zip(OPENINGS, yaws, strict=True)]
        )
        tracks.append((points[:, MOUTH], face_cameras(points)))
    return fit_basis(tracks, 2)


def test_opening_is_in_distances_of_the_eyes() -> None:
    assert mouth_opening(meshes(OPENINGS)) == pytest.approx(OPENINGS, abs=1e-4)


def test_camera_finds_the_face() -> None:
    camera = face_cameras(meshes(np.array([0.2]), yaw=20))[0]
    solid = np.append(solid_face(0.2)[33], 1)
    assert camera @ solid == pytest.approx(meshes(np.array([0.2]), yaw=20)[0, 33], abs=1e-3)


def test_first_number_opens_the_mouth(basis: ShapeBasis) -> None:
    points = meshes(OPENINGS)
    plane = basis.plane(points[:, MOUTH], face_cameras(points))
    shapes = basis.encode(plane - plane.mean(axis=0))
    assert abs(np.corrcoef(shapes[:, 0], OPENINGS)[0, 1]) > 0.99
    changes = shapes @ basis.opening
    assert changes == pytest.approx(OPENINGS - OPENINGS.mean(), abs=0.01)


@settings(max_examples=20, deadline=None)
@given(yaw=st.floats(-25, 25), new=st.floats(0, 0.3))
def test_a_mouth_is_redrawn_in_any_pose(basis: ShapeBasis, yaw: float, new: float) -> None:
    """The shape of one mouth, seen from the front, in the pose of another picture."""
    front = meshes(np.array([0.1, new]))
    plane = basis.plane(front[:, MOUTH], face_cameras(front))
    shape = basis.encode((plane[1] - plane[0])[None])
    turned = meshes(np.array([0.1]), yaw)
    drawn = basis.picture(plane[0] + basis.decode(shape), face_cameras(turned))
    assert drawn[0] == pytest.approx(meshes(np.array([new]), yaw)[0, MOUTH], abs=1.5)


def test_closed_mouths_are_closed(basis: ShapeBasis) -> None:
    points = meshes(np.array([0.2]))
    neutral = basis.plane(points[:, MOUTH], face_cameras(points))[0]
    assert lips_apart(neutral) == pytest.approx(0.2, abs=1e-3)
    closed = neutral + basis.decode(basis.closed(neutral)[None])[0]
    assert lips_apart(closed) == pytest.approx(0, abs=1e-3)
    open_wide = neutral + basis.decode(basis.opened(neutral, 0.3)[None])[0]
    assert lips_apart(open_wide) == pytest.approx(0.3, abs=1e-3)
