"""Temperature and thresholds: what validation says of how far probabilities can be believed."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.ranking import Ranking

_HOTTEST = 20.0  # temperatures are looked for from 1 / this to this


def fit_temperature(logits: Values, labels: Values, target: Target) -> float:
    """The number to divide logits by, the same for all outputs: least negative log likelihood.

    Labels count a little less than fully (Platt, 1999: (n + 1) / (n + 2) of n rows of a class), so
    that a few rows that are told apart without a mistake do not ask for a temperature of 0.

    Args:
        logits: (N, C) of validation rows.
        labels: (N, K), see `Target.encode`; NaN where there is none.
        target: what is predicted.

    Returns:
        1 where there is nothing to fit: a regression, no labels, or labels of one class alone.
    """
    if target.kind == "regression":
        return 1.0
    if target.is_one_of:
        keep = np.isfinite(labels[:, 0]) & np.isfinite(logits).all(axis=1)
        logits, true = logits[keep], labels[keep, 0].astype(int)
        n_classes = logits.shape[1]
        n = np.bincount(true, minlength=n_classes)
        if (n > 0).sum() < 2:
            return 1.0
        smooth = (np.eye(n_classes) * n[:, None] + 1) / (n[:, None] + n_classes)
        aims = smooth[true]

        def loss(log_t: float) -> float:
            return -float((aims * log_softmax(logits / np.exp(log_t), axis=1)).sum())

    else:
        columns = _two_sided(logits, labels)
        if not columns:
            return 1.0
        x = np.concatenate([values for values, _ in columns])
        yes = np.concatenate([_softened(true) for _, true in columns])

        def loss(log_t: float) -> float:
            scaled = x / np.exp(log_t)
            return -float((yes * log_expit(scaled) + (1 - yes) * log_expit(-scaled)).sum())

    limit = float(np.log(_HOTTEST))
    best = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def fit_thresholds(scores: Values, labels: Values, target: Target) -> tuple[float, ...]:
    """From which probability on a yes is a yes, one an output: highest balanced accuracy.

    Thresholds lie halfway between two scores; of several that are as good the one nearest to 0.5
    is taken, and 0.5 itself where it does.

    Args:
        scores: (N, C) probabilities of validation rows.
        labels: (N, K), see `Target.encode`; NaN where there is none.
        target: what is predicted.

    Returns:
        None for class, ordinal and regression. 0.5 for an output of which validation lacks yes or
        no; see `not_calibrated`.
    """
    if target.kind not in ("binary", "multilabel"):
        return ()
    return tuple(_threshold(scores[:, i], labels[:, i]) for i in range(scores.shape[1]))


def not_calibrated(labels: Values, target: Target) -> list[str]:
    """Outputs of which validation labels (N, K) lack yes or no: their threshold stays 0.5."""
    if target.kind not in ("binary", "multilabel"):
        return []
    return [name for name, y in zip(target.outputs, labels.T, strict=True) if not _has_both(y)]


def _threshold(scores: Values, labels: Values) -> float:
    keep = np.isfinite(scores) & np.isfinite(labels)
    if not _has_both(labels[keep]):
        return 0.5
    counts = Ranking(scores[keep], labels[keep]).count(np.ones((1, int(keep.sum()))))
    true, false = counts.rates
    balanced = (true - false)[0, 1:]
    below = np.append(counts.values[1:], 0.0)
    limits = (counts.values + below) / 2
    limits[(below < 0.5) & (counts.values >= 0.5)] = 0.5
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return float(limits[best[np.abs(limits[best] - 0.5).argmin()]])


def _two_sided(logits: Values, labels: Values) -> list[tuple[Values, Values]]:
    """Logits and labels of the outputs of which there is a yes and a no."""
    columns = []
    for x, y in zip(logits.T, labels.T, strict=True):
        keep = np.isfinite(x) & np.isfinite(y)
        if _has_both(y[keep]):
            columns.append((x[keep], y[keep]))
    return columns


def _softened(true: Values) -> Values:
    n_true, n_false = true.sum(), (1 - true).sum()
    return np.asarray(np.where(true > 0, (n_true + 1) / (n_true + 2), 1 / (n_false + 2)))


def _has_both(labels: Values) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())
