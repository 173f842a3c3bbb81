"""Intervals by the bootstrap: whole groups are drawn again, with replacement.

A group is a person or a source video: its rows are alike, so drawing rows would make intervals too
narrow. All that is compared is weighted by the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from openmarlin.data.manifest import Row
from openmarlin.tasks.labels import Values
from openmarlin.tasks.metrics import Measure
from openmarlin.tasks.splits import group_of

_LOW, _HIGH = 2.5, 97.5  # percentiles
_CELLS = 2_000_000  # weights in memory at once
_MOSTLY = 0.95  # of the resamples must have a number, or it is said


@dataclass(frozen=True)
class Score:
    """A number with its interval.

    Attributes:
        value: of the rows as they are; NaN where it is not defined.
        low: 2.5th percentile over the resamples; NaN where there is none.
        high: 97.5th percentile.
        note: why something is missing; or empty.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""


class Resamples:
    """How often each group is drawn, in each of many resamples.

    Args:
        rows: whose groups are drawn.
        n: resamples.
        seed: equal seeds draw equally.
    """

    def __init__(self, rows: Sequence[Row], n: int, seed: int) -> None:
        self._places = {
            name: i for i, name in enumerate(dict.fromkeys(group_of(row) for row in rows))
        }
        self.n_groups, self.n = len(self._places), n
        chances = np.full(self.n_groups, 1 / max(self.n_groups, 1))
        rng = np.random.default_rng(seed)
        draws = (
            rng.multinomial(self.n_groups, chances, size=n) if self.n_groups else np.zeros((n, 0))
        )
        self._draws = draws.astype(np.float64)

    def run(self, rows: Sequence[Row], measure: Measure) -> dict[str, Values]:
        """Metrics (R,) of every resample; rows are of the groups that are drawn."""
        members = np.array([self._places[group_of(row)] for row in rows], dtype=int)
        parts = [measure(draws[:, members]) for draws in self._chunks(len(rows))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunks(self, n_rows: int) -> Iterator[Values]:
        size = max(1, _CELLS // max(n_rows, 1))
        for start in range(0, self.n, size):
            yield self._draws[start : start + size]

    def score(self, value: float, drawn: Values) -> Score:
        """A number and what the resamples make of it."""
        finite = drawn[np.isfinite(drawn)]
        if not np.isfinite(value) or not len(finite):
            return Score(value)
        if self.n_groups < 2:
            return Score(value, note="one group alone: there is no interval")
        low, high = np.percentile(finite, (_LOW, _HIGH))
        few = len(finite) < _MOSTLY * len(drawn)
        note = f"interval of the {len(finite)} resamples in which it is defined" if few else ""
        return Score(value, float(low), float(high), note)
