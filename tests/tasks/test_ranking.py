"""Weighted rankings against scikit-learn and against every threshold tried; calibration bins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from openmarlin.tasks.labels import Values
from openmarlin.tasks.ranking import Counts, Ranking, bins_of

scores_with_ties = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(float, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])),
        hnp.arrays(float, n, elements=st.sampled_from([0.0, 1.0])),
        hnp.arrays(float, n, elements=st.integers(0, 4).map(float)),
    )
)


@settings(max_examples=120, deadline=None)
@given(scores_with_ties)
def test_weighted_rankings_as_scikit_learn(drawn: tuple[Values, Values, Values]) -> None:
    """With ties, and rows drawn several times or never; twice in a row, as in a resampling."""
    scores, true, weights = drawn
    both = np.stack([np.ones_like(weights), weights])
    auc, ap = Ranking(scores, true).measure(both, Counts.auc, Counts.average_precision)
    for i, w in enumerate(both):
        n_true, n_false = w @ true, w @ (1 - true)
        if not (n_true and n_false):
            assert np.isnan(auc[i])
        else:
            assert auc[i] == pytest.approx(sk.roc_auc_score(true, scores, sample_weight=w))
        if not n_true:
            assert np.isnan(ap[i])
        else:
            assert ap[i] == pytest.approx(sk.average_precision_score(true, scores, sample_weight=w))


@settings(max_examples=80, deadline=None)
@given(scores_with_ties)
def test_error_rates_by_exhaustion(drawn: tuple[Values, Values, Values]) -> None:
    scores, true, weights = drawn
    counts = Ranking(scores, true).count(weights[None])
    n_true, n_false = weights @ true, weights @ (1 - true)
    if not (n_true and n_false):
        assert np.isnan(counts.equal_error_rate()[0])
        assert np.isnan(counts.true_rate_at(0.05)[0])
        return
    rates = [
        (
            weights @ ((scores >= t) * (1 - true)) / n_false,
            weights @ ((scores >= t) * true) / n_true,
        )
        for t in [2.0, *np.unique(scores)[::-1]]
    ]
    assert counts.true_rate_at(0.05)[0] == pytest.approx(max(t for f, t in rates if f <= 0.05))
    eer = counts.equal_error_rate()[0]
    points = [
        f0 + k * (f1 - f0)
        for (f0, t0), (f1, t1) in itertools.pairwise(rates)
        for k in _crossing(f0 + t0 - 1, f1 + t1 - 1)
    ]
    assert any(eer == pytest.approx(point) for point in points)
    assert 0 <= eer <= 1


def _crossing(low: float, high: float) -> list[float]:
    """Where a line from low to high is 0, as shares of the way."""
    if low == high:
        return [0.0, 1.0] if low == 0 else []
    return [-low / (high - low)] if low <= 0 <= high else []


def test_calibration_error_by_hand() -> None:
    scores = np.repeat([0.2, 0.8], 50)
    true = np.concatenate([np.arange(50) < 20, np.arange(50) < 35]).astype(float)
    counts = Ranking(scores, true).count(np.ones((1, 100)))
    # Shares of positives are .4 and .7: .2 and .1 away, in bins of 50 each.
    assert counts.calibration_error(2)[0] == pytest.approx(0.15)
    assert counts.calibration_error(10)[0] == pytest.approx(0.15)  # equal scores share a bin
    mass, said, so = counts.bins(2)
    assert mass[0].tolist() == [50, 50]
    assert said[0] == pytest.approx([0.8, 0.2])
    assert so[0] == pytest.approx([0.7, 0.4])


def test_few_rows_have_few_bins() -> None:
    assert [bins_of(n) for n in (0, 5, 30, 10_000)] == [1, 1, 3, 15]


def test_bins_have_equal_mass() -> None:
    rng = np.random.default_rng(0)
    mass = (
        Ranking(rng.random(1000), rng.integers(0, 2, 1000) * 1.0).count(np.ones((1, 1000))).bins(8)
    )
    assert mass[0][0].tolist() == [125] * 8
