"""The Fréchet distance against what can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from openmarlin.lipsync.fid import frechet_distance


def test_of_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6))
    b = rng.standard_normal((150, 6)) @ rng.standard_normal((6, 6)) + 1
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_of_one_dimension_and_of_a_shift() -> None:
    a = np.random.default_rng(0).standard_normal((500, 1)).astype(np.float32)
    assert frechet_distance(a, 3 * a + 2) == pytest.approx(
        (a.mean() - (3 * a + 2).mean()) ** 2 + (2 * a.std(ddof=1)) ** 2, rel=1e-4
    )
    wide = np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)  # fewer than 64
    assert frechet_distance(wide, wide + 1) == pytest.approx(64, rel=1e-4)


def test_of_too_few() -> None:
    assert np.isnan(frechet_distance(np.ones((1, 3), np.float32), np.ones((5, 3), np.float32)))
