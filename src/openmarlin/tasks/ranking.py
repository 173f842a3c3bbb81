"""Rows ordered by a score, counted under many weightings at once: AUC, EER, calibration error.

scikit-learn has these for one weighting a call. Intervals need a thousand (one a resample) for
every label, so rows are sorted once and each weighting is a cumulative sum; the tests hold every
number to scikit-learn's.

Legend: R weightings, n rows, U distinct scores, from high to low.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from openmarlin.tasks.labels import Values

BINS = 15
"""Of equal mass, for the calibration error (as Guo et al., ICML 2017, count them)."""
ROWS_A_BIN = 10
"""Fewer rows than this a bin are noise: small sets have fewer bins."""
_CELLS = 16_384  # numbers in an array that is counted with: 128 KiB


class Ranking:
    """Scores (n,) in order, and which rows are positive.

    Args:
        scores: finite.
        positive: (n,) 0 or 1.
        rows: (n,) which weight each has; several scores may be of one row. In order without.

    Attributes:
        values: (U,) the distinct scores, from high to low.
    """

    def __init__(
        self, scores: Values, positive: Values, rows: NDArray[np.intp] | None = None
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        starts = np.append(len(ordered) > 0, np.diff(ordered) != 0)[: len(ordered)]
        self._starts = np.flatnonzero(starts)
        self._rows = order if rows is None else rows[order]
        self._positive = positive[order]
        self.values: Values = ordered[self._starts]

    def count(self, weights: Values) -> Counts:
        """What lies at or above each distinct score, by weights (R, n)."""
        ordered = weights.take(self._rows, axis=1)
        true = ordered * self._positive
        if len(self._starts) < len(self._rows):
            ordered = np.add.reduceat(ordered, self._starts, axis=1)
            true = np.add.reduceat(true, self._starts, axis=1)
        return Counts(true, ordered, self.values)

    def measure(self, weights: Values, *metrics: Callable[[Counts], Values]) -> list[Values]:
        """Metrics, each (R,), such as `Counts.auc`, under weights (R, n).

        A few weightings at a time: what is counted stays in the cache.
        """
        step = max(1, _CELLS // max(len(self._rows), 1))
        parts: list[list[Values]] = [[] for _ in metrics]
        for start in range(0, len(weights), step):
            counts = self.count(weights[start : start + step])
            for part, metric in zip(parts, metrics, strict=True):
                part.append(metric(counts))
        return [np.concatenate(part) for part in parts]


@dataclass(frozen=True)
class Counts:
    """Weights of the rows with each distinct score.

    Attributes:
        positive: (R, U) of positive rows.
        mass: (R, U) of all rows.
        values: (U,) the scores, from high to low.
    """

    positive: Values
    mass: Values
    values: Values

    @cached_property
    def true(self) -> Values:
        """(R, U) of the positive rows at or above each score."""
        return self.positive.cumsum(axis=1)

    @cached_property
    def above(self) -> Values:
        """(R, U) of all rows at or above each score."""
        return self.mass.cumsum(axis=1)

    @cached_property
    def n_true(self) -> Values:
        """(R,) of all positive rows."""
        return np.asarray(self.positive.sum(axis=1))

    @cached_property
    def n_false(self) -> Values:
        """(R,) of all negative rows."""
        return np.asarray(self.mass.sum(axis=1) - self.n_true)

    @cached_property
    def rates(self) -> tuple[Values, Values]:
        """True and false positive rates (R, U + 1), from 0 to 1; NaN where a class is missing."""
        return (
            _from_zero(ratio(self.true, self.n_true[:, None])),
            _from_zero(ratio(self.above - self.true, self.n_false[:, None])),
        )

    def auc(self) -> Values:
        """(R,) area under the ROC curve: equal scores count half."""
        middle = self.true - self.positive / 2
        area = np.einsum("ru,ru->r", self.mass - self.positive, middle)
        return ratio(area, self.n_true * self.n_false)

    def average_precision(self) -> Values:
        """(R,) mean precision over the positives, without interpolation."""
        precision = self.true / np.maximum(self.above, np.finfo(float).tiny)
        return ratio(np.einsum("ru,ru->r", self.positive, precision), self.n_true)

    def equal_error_rate(self) -> Values:
        """(R,) where as many positives are missed as negatives are let through; interpolated."""
        true, false = self.rates
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
        true, false = self.rates
        best = np.where(false <= false_rate + 1e-12, true, 0.0).max(axis=1)
        missing = (self.n_true == 0) | (self.n_false == 0)
        return np.where(missing, np.nan, best)

    def bins(self, n_bins: int) -> tuple[Values, Values, Values]:
        """Bins of equal mass: their mass, mean score and share of positives, each (R, n_bins).

        Equal scores share a bin, so a constant score has one; a bin may be empty (NaN).
        """
        middle = self.above - self.mass / 2
        steps = np.arange(n_bins + 1) / n_bins
        total = self.mass.sum(axis=1)
        ends = np.stack(
            [np.searchsorted(*pair) for pair in zip(middle, total[:, None] * steps, strict=True)]
        )
        ends[:, -1] = middle.shape[1]
        sums = (
            np.diff(np.take_along_axis(_from_zero(sums), ends, axis=1), axis=1)
            for sums in (self.above, (self.mass * self.values).cumsum(axis=1), self.true)
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


def calibration_error(n_rows: int) -> Callable[[Counts], Values]:
    """The metric for so many rows; see `Counts.calibration_error`."""
    n_bins = bins_of(n_rows)
    return lambda counts: counts.calibration_error(n_bins)


def ratio(above: Values, below: Values) -> Values:
    """A fraction; NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _from_zero(sums: Values) -> NDArray[np.float64]:
    """(R, U) -> (R, U + 1), each row beginning with 0; of rates that are NaN, too."""
    return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
