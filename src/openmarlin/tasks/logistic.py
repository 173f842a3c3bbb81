"""Logistic regression with a ridge penalty: many labels and a whole grid of penalties at once.

The objective is scikit-learn's, C * sum(weight * loss) + |w|² / 2 with a free intercept, for one
logit a label or for the softmax over classes. What makes it fast is shared by all problems:

* Features are turned onto their principal axes once. There are at most as many axes as rows, so
  few labels cost little.
* On those axes the curvature of the loss is at most 1/4 (softmax: 1/2) of the variance (Böhning
  1992), so a scale an axis makes every problem nearly round, whatever its penalty.
* L-BFGS runs on all problems of a batch together: a step is two products of matrices. Stronger
  penalties come first, and weaker ones start from their solutions.

Legend: n rows, D features, R axes (and the intercept), L labels, K logits a label (1, or the number
of classes), G penalties, P problems in a batch (a label with a penalty each).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MAX_STEPS = 1000
"""Of L-BFGS, as DINOv2's probe has it."""

_TOLERANCE = 1e-4  # of the gradient in round coordinates, where its square bounds what is to gain
_MEMORY = 10  # pairs of L-BFGS
_COLUMNS = 64  # of a batch: enough to keep a product of matrices busy
_ARMIJO = 1e-4
_MAX_HALVINGS = 12
_SMALL = 1e-6  # of the largest variance: axes below it are noise of rounding

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """Features on their principal axes.

    Attributes:
        mean: (D,) of the rows.
        axes: (D, R - 1), orthonormal.
        places: (n, R) the rows, and a column of ones for the intercept.
        variances: (R,) mean squares of the columns.
    """

    mean: Tensor
    axes: Tensor
    places: Tensor
    variances: Tensor

    @classmethod
    def of(cls, features: Floats) -> Axes:
        """The principal axes of features (n, D)."""
        x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        mean = x.mean(dim=0, dtype=torch.float64)
        centred = x - mean.float()
        n, width = centred.shape
        if n < width:  # the smaller of the two matrices of products
            squares, left = torch.linalg.eigh((centred @ centred.T).double())
            axes = centred.T.double() @ left / squares.clamp_min(1e-300).sqrt()
        else:
            squares, axes = torch.linalg.eigh((centred.T @ centred).double())
        keep = squares > _SMALL * squares[-1].clamp_min(1e-30)
        axes = axes[:, keep].float()
        places = functional.pad(centred @ axes, (0, 1), value=1.0)
        return cls(mean.float(), axes, places, (places**2).mean(dim=0))


def fit_logistic(
    features: Floats,
    targets: Floats,
    weights: Floats,
    strengths: Sequence[float],
    *,
    tolerance: float = _TOLERANCE,
) -> Iterator[tuple[int, Floats, Floats]]:
    """Every label with every penalty.

    Args:
        features: (n, D).
        targets: (n, L, K), 0 or 1; with K > 1 exactly one of K is 1.
        weights: (n, L) of the rows; 0 leaves a row out.
        strengths: G values of C, ascending.
        tolerance: of the norm of the gradient, see the top of the file.

    Yields:
        For every penalty its place, coefficients (D, L, K) and intercepts (L, K).
    """
    axes = Axes.of(features)
    y = torch.from_numpy(np.ascontiguousarray(targets, np.float32))
    weight = torch.from_numpy(np.ascontiguousarray(weights, np.float32))
    totals = weight.sum(dim=0)
    weight = weight / totals
    n_labels, n_logits = y.shape[1:]
    at_once = max(1, _COLUMNS // (n_labels * n_logits))
    start = torch.zeros(axes.places.shape[1], n_labels, n_logits)
    for first in range(0, len(strengths), at_once):
        some = torch.tensor(strengths[first : first + at_once], dtype=torch.float32)
        penalties = (1 / (some[:, None] * totals)).reshape(-1)  # (G', L) one after the other
        labels = torch.arange(n_labels).repeat(len(some))
        batch = _Batch(axes, y[:, labels], weight[:, labels], penalties)
        solved = batch.solve(start.repeat(1, len(some), 1), tolerance)
        solved = solved.reshape(-1, len(some), n_labels, n_logits)
        start = solved[:, -1]
        for i in range(len(some)):
            turned = solved[:-1, i]
            coefficients = torch.tensordot(axes.axes, turned, dims=1)
            intercepts = solved[-1, i] - torch.tensordot(axes.mean, coefficients, dims=1)
            yield first + i, coefficients.numpy(), intercepts.numpy()


class _Batch:
    """P problems in round coordinates: v = w / scale.

    Args:
        axes: of the features.
        targets: (n, P, K).
        weights: (n, P), each column sums to 1.
        penalties: (P,) of |w|² / 2, beside the mean loss.
    """

    def __init__(self, axes: Axes, targets: Tensor, weights: Tensor, penalties: Tensor) -> None:
        self.places, self.targets, self.weights = axes.places, targets, weights
        curvature = 0.25 if targets.shape[2] == 1 else 0.5
        ridge = penalties.repeat(len(axes.variances), 1)
        ridge[-1] = 0  # the intercept is free
        self.ridge = ridge[..., None]  # (R, P, 1)
        self.scale = (self.ridge + curvature * axes.variances[:, None, None]).rsqrt()

    def take(self, kept: Tensor) -> None:
        """Go on with some of the problems."""
        self.targets, self.weights = self.targets[:, kept], self.weights[:, kept]
        self.ridge, self.scale = self.ridge[:, kept], self.scale[:, kept]

    def value(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v (R, P, K) -> objectives (P,) and gradients (R, P, K)."""
        w = v * self.scale
        logits = (self.places @ w.flatten(1)).reshape(-1, *v.shape[1:])
        if v.shape[2] == 1:
            losses = (functional.softplus(logits) - self.targets * logits)[..., 0]
            error = logits.sigmoid() - self.targets
        else:
            log_shares = logits.log_softmax(dim=2)
            losses = -(self.targets * log_shares).sum(dim=2)
            error = log_shares.exp() - self.targets
        error *= self.weights[..., None]
        gradient = (self.places.T @ error.flatten(1)).reshape(v.shape) + self.ridge * w
        penalty = (self.ridge * w * w).sum(dim=(0, 2), dtype=torch.float64) / 2
        objective = (self.weights * losses).sum(dim=0, dtype=torch.float64) + penalty
        return objective, gradient * self.scale

    def solve(self, w: Tensor, tolerance: float) -> Tensor:
        """The solutions w (R, P, K), from a start."""
        solved, open_ = w.clone(), torch.arange(w.shape[1])
        v = w / self.scale
        value, gradient = self.value(v)
        pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(MAX_STEPS):
            busy = gradient.square().sum(dim=(0, 2)).sqrt() > tolerance
            if busy.sum() <= len(busy) // 2 or not busy.any():  # what is solved costs no more time
                solved[:, open_] = v * self.scale
                if not busy.any():
                    return solved
                self.take(busy)
                open_, v, value = open_[busy], v[:, busy], value[busy]
                gradient = gradient[:, busy]
                pairs = [(s[:, busy], y[:, busy], r[busy]) for s, y, r in pairs]
                busy = busy[busy]
            direction = _direction(gradient, pairs) * busy[:, None]
            moved, value, after = self._search(v, value, gradient, direction)
            step, change = moved - v, after - gradient
            curvature = (step * change).sum(dim=(0, 2))
            safe = curvature > 1e-10 * change.square().sum(dim=(0, 2))
            inverse = torch.where(safe, 1 / curvature.where(safe, torch.ones(())), 0)
            pairs = [*pairs, (step, change, inverse)][-_MEMORY:]
            if not bool((step != 0).any()):
                break  # as near as numbers of this precision come
            v, gradient = moved, after
        solved[:, open_] = v * self.scale
        return solved

    def _search(
        self, v: Tensor, value: Tensor, gradient: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A step that lowers each objective enough; where there is none, no step."""
        slope = (gradient * direction).sum(dim=(0, 2)).double()
        length = torch.ones(len(value))
        rounding = 1e-7 * value.abs()
        for _ in range(_MAX_HALVINGS):
            moved = v + length[:, None] * direction
            after, gradient_after = self.value(moved)
            high = after > value + _ARMIJO * length * slope + rounding
            if not high.any():
                return moved, after, gradient_after
            length = torch.where(high, length / 2, length)
        length = torch.where(high, 0, length)
        moved = v + length[:, None] * direction
        return moved, *self.value(moved)


def _direction(gradient: Tensor, pairs: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two loops of L-BFGS (Nocedal and Wright, algorithm 7.4), a problem a column."""
    q = gradient.clone()
    shares = []
    for step, change, inverse in reversed(pairs):
        share = inverse * (step * q).sum(dim=(0, 2))
        q -= share[:, None] * change
        shares.append(share)
    if pairs:
        step, change, inverse = pairs[-1]
        curvature = (step * change).sum(dim=(0, 2))
        square = change.square().sum(dim=(0, 2))
        q *= torch.where(inverse > 0, curvature / square.clamp_min(1e-30), 1)[:, None]
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        q += (share - inverse * (change * q).sum(dim=(0, 2)))[:, None] * step
    return -q
