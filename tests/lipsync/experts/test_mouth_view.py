"""Mouths in the head's own frame: it moves with the head and not with the mouth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from talkers import draw_face, look_at, solid_face

from openmarlin.face.crop import to_crop
from openmarlin.lipsync.experts.mouth_view import POINTS, TWINS, VIEW, lip_points, mouth_view

SIDE = 128


def mesh(opening: float) -> NDArray[np.float32]:
    return look_at(solid_face(opening), side=SIDE, margin=0)


def test_points_are_measured_from_the_eyes_in_their_distance() -> None:
    solid = solid_face(0.0)
    eyes, chin = solid[[33, 263], :2], solid[152, :2]
    expected = (chin - eyes.mean(axis=0)) / np.linalg.norm(eyes[1] - eyes[0])
    assert lip_points(mesh(0.0))[POINTS.index(152)] == pytest.approx(expected, abs=1e-3)


@given(st.floats(-0.6, 0.6), st.floats(0.3, 3), st.floats(-50, 50))
def test_a_head_that_moves_leaves_them_alone(angle: float, scale: float, shift: float) -> None:
    points = mesh(0.2)
    moved = to_crop(points, 64 + shift, 64 - shift, SIDE / scale, angle, SIDE)
    np.testing.assert_allclose(lip_points(moved), lip_points(points), atol=1e-3)


def test_a_mouth_that_opens_moves_them() -> None:
    lower = POINTS.index(14)
    assert lip_points(mesh(0.3))[lower, 1] > lip_points(mesh(0.0))[lower, 1] + 0.1


def test_twins_mirror_a_symmetric_face() -> None:
    assert sorted(TWINS) == list(range(len(POINTS)))
    assert (TWINS[TWINS] == np.arange(len(POINTS))).all()
    points = lip_points(mesh(0.1))
    np.testing.assert_allclose(points[TWINS] * (-1, 1), points, atol=1e-4)


def test_eyes_that_hide_each_other_do_not_end_it() -> None:
    points = mesh(0.1)
    points[263] = points[33]
    assert np.isfinite(lip_points(points)).all()


def test_the_picture_shows_the_mouth() -> None:
    meshes = mesh(0.0), mesh(0.3)
    closed, opened = (mouth_view(draw_face(m, SIDE, (200, 200, 200)), m) for m in meshes)
    assert closed.dtype == VIEW
    assert opened["mouth"].mean() < closed["mouth"].mean() - 2  # the dark inside
    assert opened["mouth"][10, 2] == pytest.approx(200, abs=2)
