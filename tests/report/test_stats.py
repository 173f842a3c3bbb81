"""The numbers behind the map and the matrix, against what they must be."""

from __future__ import annotations

import numpy as np
import pytest

from openmarlin.report.stats import face_similarity, principal_plane


def test_plane_finds_the_two_directions_there_are() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 2)) * [3, 1]
    features = hidden @ rng.normal(size=(2, 40))
    plane = principal_plane(features.astype(np.float32))
    assert plane is not None
    assert sum(plane.explained) == pytest.approx(1, abs=1e-6)
    assert plane.explained[0] > plane.explained[1]
    assert plane.xy.shape == (200, 2)
    assert abs(np.corrcoef(plane.xy.T)[0, 1]) < 1e-9


def test_plane_agrees_with_the_singular_value_decomposition() -> None:
    features = np.random.default_rng(1).normal(size=(30, 12)) * np.arange(1, 13)
    plane = principal_plane(features)
    assert plane is not None
    standard = (features - features.mean(0)) / features.std(0)
    u, s, _ = np.linalg.svd(standard, full_matrices=False)
    np.testing.assert_allclose(np.abs(plane.xy), np.abs(u * s)[:, :2], atol=1e-9)
    np.testing.assert_allclose(plane.explained, (s**2 / (s**2).sum())[:2])


def test_scale_and_order_do_not_change_the_plane() -> None:
    features = np.random.default_rng(2).normal(size=(50, 6))
    a, b = principal_plane(features), principal_plane(features[::-1] * [1, 9, 1, 1e4, 1, 1] + 7)
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(a.xy, b.xy[::-1], atol=1e-6)


@pytest.mark.parametrize("features", [np.empty((0, 4)), np.ones((2, 4)), np.ones((9, 4))])
def test_no_plane_where_nothing_differs(features: np.ndarray) -> None:
    assert principal_plane(features) is None


def test_no_plane_of_one_feature() -> None:
    assert principal_plane(np.arange(9.0)[:, None]) is None


def test_constant_features_do_no_harm() -> None:
    features = np.random.default_rng(3).normal(size=(9, 4))
    features[:, 2] = 5
    plane = principal_plane(features)
    assert plane is not None
    assert np.isfinite(plane.xy).all()


def test_similarity_of_faces() -> None:
    features = np.array([[9, 1], [11, 1], [10, -1], [-20, 0.0]])
    groups = [np.array([0, 1]), np.array([2]), np.array([3])]
    matrix = face_similarity(features, groups)
    assert matrix.shape == (3, 3)
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(matrix, matrix.T)
    # The means are (10, 1), (10, -1), (-20, 0): already centred.
    assert matrix[0, 1] == pytest.approx(99 / 101)
    assert matrix[0, 2] == pytest.approx(-10 / np.sqrt(101))


def test_similarity_of_faces_that_do_not_differ_is_nothing() -> None:
    matrix = face_similarity(np.ones((4, 3)), [np.array([0, 1]), np.array([2, 3])])
    np.testing.assert_array_equal(matrix, 0)
