"""Many logistic regressions at once are those of scikit-learn one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from openmarlin.tasks.logistic import fit_logistic

STRENGTHS = [1e-4, 1e-2, 1.0, 30.0]


def make_data(n: int, width: int, n_labels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of very uneven scale far from the origin, and labels that they half explain."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(width, width)) * np.geomspace(1, 0.1, width)[:, None]
    x = (rng.normal(size=(n, width)) @ mix + 3).astype(np.float32)
    logits = (x - x.mean(0)) @ rng.normal(size=(width, n_labels))
    logits = 1.5 * logits / logits.std(0) - np.linspace(0, 1.5, n_labels)
    return x, (rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def close(ours: NDArray[np.float32], theirs: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.01 * np.abs(theirs).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_labels_are_those_of_scikit_learn(weighted: bool) -> None:
    x, y = make_data(300, 12, 3)
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 3, y.shape).astype(np.float32) if weighted else np.ones_like(y)
    for i, coefficients, intercepts in fit_logistic(
        x, y[..., None], weights, STRENGTHS, tolerance=1e-6
    ):
        for label in range(3):
            peer = LogisticRegression(C=STRENGTHS[i], tol=1e-8, max_iter=5000)
            peer.fit(x.astype(float), y[:, label], weights[:, label])
            close(coefficients[:, label, 0], peer.coef_[0])
            assert intercepts[label, 0] == pytest.approx(peer.intercept_[0], rel=0.01, abs=0.01)


def test_classes_are_those_of_scikit_learn() -> None:
    x, y = make_data(300, 8, 3)
    numbers = y.argmax(axis=1)
    one_hot = np.eye(3, dtype=np.float32)[numbers][:, None]
    weights = np.ones((300, 1), np.float32)
    for i, coefficients, _ in fit_logistic(x, one_hot, weights, STRENGTHS, tolerance=1e-6):
        peer = LogisticRegression(C=STRENGTHS[i], tol=1e-8, max_iter=5000)
        peer.fit(x.astype(float), numbers)
        ours = coefficients[:, 0] - coefficients[:, 0].mean(axis=1, keepdims=True)
        close(ours.T, peer.coef_)


def test_few_rows_of_many_features_cost_little_and_are_the_same() -> None:
    x, y = make_data(20, 60, 2)
    for i, coefficients, _ in fit_logistic(
        x, y[..., None], np.ones_like(y), STRENGTHS[:2], tolerance=1e-6
    ):
        for label in range(2):
            peer = LogisticRegression(C=STRENGTHS[i], tol=1e-8, max_iter=5000)
            close(coefficients[:, label, 0], peer.fit(x.astype(float), y[:, label]).coef_[0])


def test_what_can_be_told_apart_without_mistake_stays_finite() -> None:
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None] * np.ones((1, 5), np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    for _, coefficients, intercepts in fit_logistic(x, y[..., None], np.ones_like(y), [1.0, 1e5]):
        assert np.isfinite(coefficients).all()
        logits = x @ coefficients[:, 0] + intercepts[0]
        assert ((logits > 0) == (y > 0)).all()


def test_constant_features_and_duplicates_do_no_harm() -> None:
    x, y = make_data(80, 4, 1)
    wide = np.concatenate([x, x[:, :2], np.full((80, 2), 7, np.float32)], axis=1)
    for _, coefficients, intercepts in fit_logistic(wide, y[..., None], np.ones_like(y), STRENGTHS):
        assert np.isfinite(coefficients).all()
        assert np.isfinite(intercepts).all()
