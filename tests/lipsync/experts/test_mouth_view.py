"""Mouths in the head's own frame: it moves with the head and not with the mouth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from talking import face, mesh

from openmarlin.face.crop import to_crop
from openmarlin.lipsync.experts.mouth_view import POINTS, TWINS, VIEW, lip_points, mouth_view


def test_points_are_measured_from_the_eyes_in_their_distance() -> None:
    points = lip_points(mesh(0.0))
    assert points[POINTS.index(152)] == pytest.approx((0.0, (0.95 - 0.35) / 0.4), abs=0.05)


@given(st.floats(-0.6, 0.6), st.floats(0.3, 3), st.floats(-50, 50))
def test_a_head_that_moves_leaves_them_alone(angle: float, scale: float, shift: float) -> None:
    points = mesh(0.7)
    moved = to_crop(points, 32 + shift, 32 - shift, 64 / scale, angle, 64)
    np.testing.assert_allclose(lip_points(moved), lip_points(points), atol=1e-3)


def test_a_mouth_that_opens_moves_them() -> None:
    lower = POINTS.index(14)
    assert lip_points(mesh(1.0))[lower, 1] > lip_points(mesh(0.0))[lower, 1] + 0.1


def test_twins_mirror_a_symmetric_face() -> None:
    assert sorted(TWINS) == list(range(len(POINTS)))
    assert (TWINS[TWINS] == np.arange(len(POINTS))).all()


def test_eyes_that_hide_each_other_do_not_end_it() -> None:
    points = mesh(0.5)
    points[263] = points[33]
    assert np.isfinite(lip_points(points)).all()


def test_the_picture_shows_the_mouth() -> None:
    colour = np.array([200.0, 200, 200])
    closed, opened = (mouth_view(face(o, colour, 128), mesh(o, 128)) for o in (0.0, 1.0))
    assert closed.dtype == VIEW
    assert opened["mouth"].mean() < closed["mouth"].mean() - 2  # the dark inside
    assert opened["mouth"][:, :4].mean() == pytest.approx(200, abs=2)
