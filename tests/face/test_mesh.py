"""Meshes in time."""

from __future__ import annotations

import numpy as np

from openmarlin.face.mesh import fill_gaps


def test_gaps_are_filled_by_straight_lines() -> None:
    def mesh(value: float) -> np.ndarray:
        return np.full((478, 2), value, np.float32)

    filled = fill_gaps([None, mesh(2), None, None, mesh(8), None])
    assert filled is not None
    np.testing.assert_allclose(filled[:, 0, 0], [2, 2, 4, 6, 8, 8])
    assert fill_gaps([None, None]) is None
