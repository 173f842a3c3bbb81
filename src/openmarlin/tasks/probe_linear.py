"""The linear probe: logistic or ridge regression, its penalty and normalisation by validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.tasks.heads import LinearHead, Normalisation, make_head
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.logistic import Axes, fit_logistic
from openmarlin.tasks.selection import (
    Examples,
    Fitted,
    Trial,
    best_of,
    check_examples,
    class_weights,
    one_hot,
)

STRENGTHS = tuple(np.logspace(-6, 5, 45).tolist())
"""C, the inverse of the penalty, from strong to weak (DINOv2, arXiv 2304.07193); of a ridge
regression alpha is 1 / C."""

_NEVER = -20.0  # the logit of a class that no training row has

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Solution:
    """A linear layer: answers are x @ coefficients + intercepts, (D, C) and (C,)."""

    coefficients: Floats
    intercepts: Floats


def fit_linear(train: Examples, val: Examples, target: Target, *, balanced: bool = False) -> Fitted:
    """Every normalisation with every penalty; what does best on validation.

    Args:
        train: what is learnt from.
        val: what is chosen by.
        target: what is predicted.
        balanced: classes count as if they were equally frequent.

    Raises:
        InputError: the training labels are all the same, or nothing can be chosen.
    """
    check_examples(train, target)
    trials: list[Trial] = []
    heads: dict[int, LinearHead] = {}  # the best of every normalisation, by the place of its trial
    for normalisation in get_args(Normalisation):
        scale = _Scale.of(train.vectors, normalisation)
        x_val, first = scale(val.vectors), len(trials)
        best, solution = first, None
        for name, strength, some in _path(scale(train.vectors), train, target, balanced):
            answers = (x_val @ some.coefficients + some.intercepts).astype(np.float64)
            settings = {"normalisation": normalisation, name: strength}
            trials.append(Trial.of(settings, answers, val.labels, target))
            if first + best_of(trials[first:], target) == len(trials) - 1:
                best, solution = len(trials) - 1, some
        if solution is not None:
            heads[best] = scale.head(solution, len(target.outputs))
    places = list(heads)
    chosen = places[best_of([trials[i] for i in places], target)]
    return Fitted(heads[chosen], trials, chosen)


@dataclass(frozen=True)
class _Scale:
    """The normalisation of features, learnt on training rows."""

    normalisation: Normalisation
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, x: Floats, normalisation: Normalisation) -> _Scale:
        deviation = x.std(axis=0, dtype=np.float64).astype(np.float32)
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(normalisation, mean, np.where(deviation > 0, deviation, 1))

    def __call__(self, x: Floats) -> Floats:
        if self.normalisation == "standard":
            return (x - self.mean) / self.deviation
        if self.normalisation == "l2":
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            return np.asarray(x / np.maximum(lengths, 1e-12))
        return x

    def head(self, solution: Solution, n_outputs: int) -> LinearHead:
        config = {"width": len(self.mean), "n_outputs": n_outputs}
        head = make_head({"kind": "linear", "normalisation": self.normalisation, **config})
        assert isinstance(head, LinearHead)
        with torch.no_grad():
            if self.normalisation == "standard":
                head.mean.copy_(torch.from_numpy(self.mean))
                head.deviation.copy_(torch.from_numpy(self.deviation))
            head.linear.weight.copy_(torch.from_numpy(solution.coefficients.T))
            head.linear.bias.copy_(torch.from_numpy(solution.intercepts))
        return head.eval()


def _path(
    x: Floats, train: Examples, target: Target, balanced: bool
) -> Iterator[tuple[str, float, Solution]]:
    """Solutions for all penalties, strong ones first: name and value of the setting with each."""
    if target.kind == "regression":
        for strength, solution in zip(STRENGTHS, _ridge(x, train.labels), strict=True):
            yield "alpha", 1 / strength, solution
    elif target.is_one_of:
        solutions = _softmax(x, train.labels, len(target.classes), balanced)
        for strength, solution in zip(STRENGTHS, solutions, strict=True):
            yield "C", strength, solution
    else:
        for strength, solution in zip(STRENGTHS, _sigmoids(x, train.labels, balanced), strict=True):
            yield "C", strength, solution


def _softmax(x: Floats, labels: Values, n_classes: int, balanced: bool) -> Iterator[Solution]:
    """Classes that no row has get a logit out of reach."""
    answers = one_hot(labels, n_classes)
    present = np.flatnonzero(answers.sum(axis=0) > 0)
    weights = class_weights(answers, balanced=balanced, is_one_of=True)
    targets = answers[:, None, present].astype(np.float32)
    for _, coefficients, intercepts in fit_logistic(
        x, targets, weights.astype(np.float32), STRENGTHS
    ):
        whole = Solution(
            np.zeros((x.shape[1], n_classes), np.float32),
            np.full(n_classes, _NEVER, np.float32),
        )
        whole.coefficients[:, present] = coefficients[:, 0]
        whole.intercepts[present] = intercepts[0]
        yield whole


def _sigmoids(x: Floats, labels: Values, balanced: bool) -> Iterator[Solution]:
    """One problem a label; a label that all rows have, or none, gets its frequency as answer."""
    weights = class_weights(labels, balanced=balanced, is_one_of=False)
    filled = np.nan_to_num(labels)
    yes, total = filled.sum(axis=0), np.isfinite(labels).sum(axis=0)
    two_sided = np.flatnonzero((yes > 0) & (yes < total))
    frequency = (yes + 0.5) / (total + 1)
    constant = np.log(frequency / (1 - frequency)).astype(np.float32)
    targets = filled[:, two_sided, None].astype(np.float32)
    for _, coefficients, intercepts in fit_logistic(
        x, targets, weights[:, two_sided].astype(np.float32), STRENGTHS
    ):
        whole = Solution(np.zeros((x.shape[1], labels.shape[1]), np.float32), constant.copy())
        whole.coefficients[:, two_sided] = coefficients[..., 0]
        whole.intercepts[two_sided] = intercepts[:, 0]
        yield whole


def _ridge(x: Floats, labels: Values) -> Sequence[Solution]:
    """In closed form for all penalties; columns with the same labelled rows share their axes."""
    path = [
        Solution(
            np.zeros((x.shape[1], labels.shape[1]), np.float32),
            np.zeros(labels.shape[1], np.float32),
        )
        for _ in STRENGTHS
    ]
    present = np.isfinite(labels)
    for mask in np.unique(present.T, axis=0):
        columns = np.flatnonzero((mask == present.T).all(axis=1))
        if not mask.any():
            continue
        axes = Axes.of(x[mask])
        y = torch.from_numpy(labels[mask][:, columns])
        middle = y.mean(dim=0)
        places = axes.places[:, :-1].double()
        products, squares = places.T @ (y - middle), (places**2).sum(dim=0)
        for strength, solution in zip(STRENGTHS, path, strict=True):
            turned = products / (squares + 1 / strength)[:, None]
            coefficients = axes.axes.double() @ turned
            solution.coefficients[:, columns] = coefficients.float().numpy()
            intercepts = middle - axes.mean.double() @ coefficients
            solution.intercepts[columns] = intercepts.float().numpy()
    return path
