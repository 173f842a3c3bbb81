"""Rows ordered by a score, counted under many weightings at once: AUC, EER, calibration error.

scikit-learn has these for one weighting a call. Intervals need a thousand (one a resample) for
every label, so rows are sorted once and each weighting is a cumulative sum; the tests hold every
number to scikit-learn's.

Legend: R weightings, n rows, U distinct scores, from high to low.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmarlin.tasks.labels import Values

BINS = 15
"""Of equal mass, for the calibration error (as Guo et al., ICML 2017, count them)."""
ROWS_A_BIN = 10
"""Fewer rows than this a bin are noise: small sets have fewer bins."""


class Ranking:
    """Scores (n,) in order, and which rows are positive.

    Args:
        scores: finite.
        positive: (n,) 0 or 1.

    Attributes:
        values: (U,) the distinct scores, from high to low.
    """

    def __init__(self, scores: Values, positive: Values) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._ends = np.flatnonzero(np.append(np.diff(ordered) != 0, len(ordered) > 0))
        self._positive = positive[self._order]
        self.values: Values = ordered[self._ends]

    def count(self, weights: Values | None = None) -> Counts:
        """What lies at or above each distinct score, by weights (R, n); without, each row once."""
        if weights is None:
            weights = np.ones((1, len(self._order)))
        ordered = weights[:, self._order]
        above = ordered.cumsum(axis=1)[:, self._ends]
        ordered *= self._positive
        true = ordered.cumsum(axis=1)[:, self._ends]
        return Counts(true, above - true, self.values)


@dataclass(frozen=True)
class Counts:
    """Weights at or above each threshold.

    Attributes:
        true: (R, U) of positive rows.
        false: (R, U) of negative rows.
        values: (U,) the thresholds, from high to low.
    """

    true: Values
    false: Values
    values: Values

    @property
    def n_true(self) -> Values:
        """(R,) of all positive rows."""
        return self._last(self.true)

    @property
    def n_false(self) -> Values:
        """(R,) of all negative rows."""
        return self._last(self.false)

    def _last(self, counts: Values) -> Values:
        return np.asarray(counts[:, -1] if counts.shape[1] else np.zeros(len(counts)))

    def rates(self) -> tuple[Values, Values]:
        """True and false positive rates (R, U + 1), from 0 to 1; NaN where a class is missing."""
        return (
            _from_zero(ratio(self.true, self.n_true[:, None])),
            _from_zero(ratio(self.false, self.n_false[:, None])),
        )

    def auc(self) -> Values:
        """(R,) area under the ROC curve: equal scores count half."""
        true, false = _from_zero(self.true), _from_zero(self.false)
        area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1])).sum(axis=1) / 2
        return ratio(area, self.n_true * self.n_false)

    def average_precision(self) -> Values:
        """(R,) mean precision over the positives, without interpolation."""
        precision = self.true / np.maximum(self.true + self.false, np.finfo(float).tiny)
        gain = np.diff(_from_zero(self.true), axis=1)
        return ratio((gain * precision).sum(axis=1), self.n_true)

    def equal_error_rate(self) -> Values:
        """(R,) where as many positives are missed as negatives are let through; interpolated."""
        true, false = self.rates()
        if true.shape[1] < 2:
            return np.full(len(true), np.nan)
        gap = false + true - 1  # of false positives over false negatives, rising from -1 to 1
        after = np.maximum((gap >= 0).argmax(axis=1), 1)
        rows = np.arange(len(gap))
        low, high = gap[rows, after - 1], gap[rows, after]
        share = ratio(-low, high - low)
        before = false[rows, after - 1]
        return np.asarray(before + share * (false[rows, after] - before))

    def true_rate_at(self, false_rate: float) -> Values:
        """(R,) the highest true positive rate with at most this false positive rate."""
        true, false = self.rates()
        best = np.where(false <= false_rate + 1e-12, true, 0.0).max(axis=1)
        missing = (self.n_true == 0) | (self.n_false == 0)
        return np.where(missing, np.nan, best)

    def bins(self, n_bins: int) -> tuple[Values, Values, Values]:
        """Bins of equal mass: their mass, mean score and share of positives, each (R, n_bins).

        Equal scores share a bin, so a constant score has one; a bin may be empty (NaN).
        """
        above = self.true + self.false
        mass = np.diff(_from_zero(above), axis=1)
        middle = above - mass / 2
        summed = _from_zero((mass * self.values).cumsum(axis=1))
        steps = np.arange(n_bins + 1) / n_bins
        total = self._last(above)
        ends = np.stack(
            [np.searchsorted(*pair) for pair in zip(middle, total[:, None] * steps, strict=True)]
        )
        ends[:, -1] = above.shape[1]
        sums = (
            np.diff(np.take_along_axis(sum_, ends, axis=1), axis=1)
            for sum_ in (_from_zero(above), summed, _from_zero(self.true))
        )
        size, score, true = sums
        return size, ratio(score, size), ratio(true, size)

    def calibration_error(self, n_bins: int) -> Values:
        """(R,) mean distance between score and share of positives over bins of equal mass."""
        mass, score, true = self.bins(n_bins)
        gap = np.nan_to_num(np.abs(score - true))
        return ratio((mass * gap).sum(axis=1), mass.sum(axis=1))


def bins_of(n_rows: int) -> int:
    """How many bins a calibration error of so many rows has."""
    return max(1, min(BINS, n_rows // ROWS_A_BIN))


def ratio(above: Values, below: Values) -> Values:
    """A fraction; NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _from_zero(sums: Values) -> NDArray[np.float64]:
    """(R, U) -> (R, U + 1), each row beginning with 0; of rates that are NaN, too."""
    return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
