"""What the renderer is given: a hole that tells nothing, references in the pose of the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talkers import draw_face, look_at, solid_face

from openmarlin.face.pose import face_cameras
from openmarlin.lipsync.small.mouth_shape import MOUTH, ShapeBasis, fit_basis
from openmarlin.lipsync.small.window import (
    CHANNELS,
    DRAWING,
    HOLE,
    REFERENCE,
    Framing,
    View,
    hole,
    move_camera,
    move_points,
    warp,
    window_channels,
)

SIZE = 96
FRAMING = Framing(SIZE)
OPENINGS = (0.0, 0.1, 0.2, 0.3)
TO_WINDOW = np.array([[1.0, 0, -FRAMING.left], [0, 1.0, -FRAMING.top]])


def view(opening: float, yaw: float = 0.0) -> View:
    """The window of a made-up face."""
    points = look_at(solid_face(opening), yaw=yaw, side=FRAMING.face_px, margin=0)
    image = draw_face(points, FRAMING.face_px, (200, 160, 140))
    camera = move_camera(face_cameras(points[None])[0], TO_WINDOW)
    rows, columns = FRAMING.place
    return View(image[rows, columns], camera, move_points(points[list(MOUTH)], TO_WINDOW))


@pytest.fixture(scope="module")
def basis() -> ShapeBasis:
    tracks = []
    for turn in (-10, 10):
        yaws = np.linspace(0, turn, len(OPENINGS))
        points = np.stack(
            [look_at(solid_face(o), yaw=y) for o, y in zip(OPENINGS, yaws, strict=True)]
        )
        tracks.append((points[:, MOUTH], face_cameras(points)))
    return fit_basis(tracks, 2)


@pytest.fixture(scope="module")
def neutral(basis: ShapeBasis) -> np.ndarray:
    one = view(0.1)
    return basis.plane(one.points[None], one.camera[None])[0]


def test_window_lies_in_the_lower_face() -> None:
    assert (FRAMING.face_px, FRAMING.left, FRAMING.top) == (150, 27, 54)
    assert FRAMING.top + SIZE == FRAMING.face_px


def test_hole_does_not_tell_the_mouth(basis: ShapeBasis, neutral: np.ndarray) -> None:
    closed, wide = (hole(view(o).camera, neutral, basis, SIZE) for o in (0.0, 0.3))
    assert np.array_equal(closed, wide)
    for x, y in view(0.3).points[:40]:
        assert closed[int(y), int(x)] == 255  # lips lie well inside
    assert closed[0].max() == 0


@settings(max_examples=15, deadline=None)
@given(yaw=st.floats(-15, 15), other=st.floats(-15, 15))
def test_references_come_into_the_pose(
    basis: ShapeBasis, neutral: np.ndarray, yaw: float, other: float
) -> None:
    target, reference = view(0.2, yaw), view(0.2, other)
    channels = window_channels(target, target.points, [reference] * 2, neutral, basis)
    assert channels.shape == (SIZE, SIZE, CHANNELS)
    lips, own = channels[..., DRAWING][..., 0] > 127, channels[..., DRAWING][..., 3] > 127
    # Lips stand out of the plane of the face: the further it is turned, the more they slip.
    share = 0.92 - 0.006 * abs(yaw - other)
    assert (lips & own).sum() > share * (lips | own).sum()
    assert channels[..., HOLE].max() == 255
    assert channels[..., REFERENCE].any()


def test_whole_pixels_move_exactly() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    moved = warp(image, np.array([[1.0, 0, -3], [0, 1.0, -5]]), 10)
    assert np.array_equal(moved, image[5:15, 3:13])


@given(x=st.floats(-50, 50), y=st.floats(-50, 50), angle=st.floats(-1, 1))
def test_cameras_move_with_the_picture(x: float, y: float, angle: float) -> None:
    matrix = np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y]])
    camera = view(0.1, 5).camera
    solid = np.array([1.0, 2, 3, 1])
    before = move_points((camera @ solid)[None].astype(np.float32), matrix)[0]
    assert move_camera(camera, matrix) @ solid == pytest.approx(before, abs=1e-3)
