"""Zero-phase smoothing of squares over time, by local polynomials.

Around every instant a polynomial is fitted to the measurements within half a second, weighted by a
Gaussian over time in seconds, and read off at that instant. The window is symmetric, so nothing is
delayed. At the borders of a track it is one-sided, where a weighted mean would lag behind a moving
face; a polynomial still follows it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RADIUS_S = 0.5
"""How far ahead (and back) in time the smoothed square at an instant depends on measurements."""

_MOTION_SIGMA_S = 0.2  # head motion up to 1 Hz keeps its amplitude within a fifth (0.5 Hz: 2 %)
_SIDE_SIGMA_S = 0.25  # of the side a straight line is enough: it takes out the moving jaw


def smooth(times_s: Floats, squares: Floats, at_s: float) -> Floats:
    """The smoothed square (cx, cy, log side, angle) at one instant.

    Args:
        times_s: (n,) instants of the measurements, ascending; only those within `RADIUS_S` count.
        squares: (n, 4) measured or interpolated cx, cy, log side, angle.
        at_s: the instant, one of `times_s`.
    """
    near = np.abs(times_s - at_s) <= RADIUS_S + 1e-9
    ahead, values = times_s[near] - at_s, squares[near]
    result = _fit(ahead / _MOTION_SIGMA_S, values, 2)
    result[2] = _fit(ahead / _SIDE_SIGMA_S, values[:, 2:3], 1)[0]
    return result


def _fit(x: Floats, values: Floats, degree: int) -> Floats:
    """Weighted least squares of a polynomial; its value at x = 0, per column."""
    powers = x[:, None] ** np.arange(degree + 1)
    weighted = powers * np.exp(-0.5 * x[:, None] ** 2)
    # The tiny ridge decides where there are fewer measurements than coefficients.
    ridge = np.diag([0.0] + [1e-6] * degree)
    solution = np.linalg.solve(weighted.T @ powers + ridge, weighted.T @ (values - values[0]))
    return np.asarray(solution[0] + values[0], dtype=np.float64)
