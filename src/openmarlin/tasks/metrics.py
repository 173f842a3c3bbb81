"""How good answers are: the metrics of each kind of label, under any number of weightings at once.

measure(labels, scores, target)["auc"]

A metric that is not defined (a class that no row has) is NaN, never 0. Metrics of one class, label
or column carry its name: `recall[happy]`. Means over classes or labels are over those for which
there is a number.

Legend: N rows, K numbers a label, C outputs, R weightings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from openmarlin.tasks.labels import Kind, Target, Values
from openmarlin.tasks.model import decide
from openmarlin.tasks.ranking import Counts, Ranking, calibration_error, ratio

MAIN_METRIC: dict[Kind, str] = {
    "binary": "auc",
    "class": "uar",
    "multilabel": "auc_macro",
    "regression": "ccc",
    "ordinal": "mae",
}
"""By which models are chosen and reports have their headline."""

_LOWER_IS_BETTER = frozenset({"mae", "rmse", "brier", "ece", "eer"})

Measure = Callable[[Values], dict[str, Values]]
"""Weights of the rows (R, N) -> each metric (R,)."""


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better, be it of all or of one output."""
    return split_name(metric)[0] not in _LOWER_IS_BETTER


def name_of(metric: str, output: str) -> str:
    """The name of a metric of one class, label or column."""
    return f"{metric}[{output}]"


def split_name(name: str) -> tuple[str, str]:
    """Undo `name_of`: the metric, and the output or nothing."""
    metric, _, output = name.partition("[")
    return metric, output.removesuffix("]")


def measure(
    labels: Values, scores: Values, target: Target, thresholds: Sequence[float] = ()
) -> dict[str, float]:
    """All metrics of the target's kind.

    Args:
        labels: (N, K), see `Target.encode`; NaN where there is none.
        scores: (N, C) probabilities or values; rows with NaN are left out.
        target: what was to be predicted.
        thresholds: from which probability on a yes is a yes, one an output; 0.5 without.
    """
    of = prepare(labels, scores, target, thresholds)
    return {name: float(values[0]) for name, values in of(np.ones((1, len(labels)))).items()}


def measure_prior(labels: Values, target: Target, prior: Sequence[float]) -> dict[str, float]:
    """All metrics of the answer that is the same for all rows: `prior`, see `prior_of`."""
    return measure(labels, np.tile(np.asarray(prior, float), (len(labels), 1)), target)


def prepare(
    labels: Values,
    scores: Values,
    target: Target,
    thresholds: Sequence[float] = (),
    *,
    brief: bool = False,
) -> Measure:
    """The metrics as a function of weights, with all that can be done beforehand done.

    Args:
        labels: see `measure`.
        scores: see `measure`.
        target: see `measure`.
        thresholds: see `measure`.
        brief: nothing of single outputs, and of rankings over all pairs: for subgroups.
    """
    decisions = decide(scores, target, thresholds)
    kind = {
        "binary": _binary,
        "class": _class,
        "multilabel": _multilabel,
        "regression": _regression,
        "ordinal": _ordinal,
    }[target.kind]
    if target.kind in ("multilabel", "regression"):
        return kind(labels, scores, decisions, target, brief)
    keep = np.isfinite(labels[:, 0]) & np.isfinite(scores).all(axis=1)
    of = kind(labels[keep], scores[keep], decisions[keep], target, brief)
    return lambda weights: of(weights[:, keep])


def _binary(
    labels: Values, scores: Values, decisions: Values, target: Target, brief: bool
) -> Measure:
    true, score = labels[:, 0], scores[:, 0]
    ranking, squares = Ranking(score, true), (score - true) ** 2
    confusion = _confusion(true, decisions[:, 0], 2)
    ranked = {
        "auc": Counts.auc,
        "ap": Counts.average_precision,
        "eer": Counts.equal_error_rate,
        "tpr_at_fpr_1": lambda counts: counts.true_rate_at(0.01),
        "tpr_at_fpr_5": lambda counts: counts.true_rate_at(0.05),
        "ece": calibration_error(len(true)),
    }

    def of(weights: Values) -> dict[str, Values]:
        table = confusion(weights)
        recall = _recall(table)
        of_ranks = dict(zip(ranked, ranking.measure(weights, *ranked.values()), strict=True))
        metrics = {
            "auc": of_ranks["auc"],
            "accuracy": _accuracy(table),
            "balanced_accuracy": recall.mean(axis=1),
            "f1": _f1(table)[:, 1],
            **of_ranks,
            "brier": _mean_of(squares, weights),
        }
        return metrics if brief else metrics | _each("recall", target.classes, recall)

    return of


def _one_of(
    labels: Values, scores: Values, decisions: Values, target: Target
) -> Callable[[Values], tuple[Values, dict[str, Values]]]:
    """What class and ordinal targets have in common: the confusion matrix, and metrics."""
    true, chosen = labels[:, 0], decisions[:, 0]
    n_classes = len(target.classes)
    confusion = _confusion(true, chosen, n_classes)
    squares = ((scores - np.eye(n_classes)[true.astype(int)]) ** 2).sum(axis=1)
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, int)
    confidence = Ranking(scores.max(axis=1, initial=0.0), (best == true).astype(float))

    def of(weights: Values) -> tuple[Values, dict[str, Values]]:
        table = confusion(weights)
        return table, {
            "accuracy": _accuracy(table),
            "uar": _mean(_recall(table)),
            "f1_macro": _mean(_f1(table)),
            "brier": _mean_of(squares, weights),
            "ece": confidence.measure(weights, calibration_error(len(true)))[0],
        }

    return of


def _class(
    labels: Values, scores: Values, decisions: Values, target: Target, brief: bool
) -> Measure:
    common = _one_of(labels, scores, decisions, target)
    rankings = [
        Ranking(scores[:, i], (labels[:, 0] == i).astype(float)) for i in range(len(target.classes))
    ]

    def of(weights: Values) -> dict[str, Values]:
        table, metrics = common(weights)
        if brief:
            return metrics
        auc, ap = _ranked(rankings, weights, Counts.auc, Counts.average_precision)
        metrics |= {"auc_macro": _mean(auc), "map": _mean(ap)}
        for name, values in {
            "recall": _recall(table),
            "f1": _f1(table),
            "auc": auc,
            "ap": ap,
        }.items():
            metrics |= _each(name, target.classes, values)
        return metrics

    return of


def _ordinal(
    labels: Values, scores: Values, decisions: Values, target: Target, brief: bool
) -> Measure:
    common = _one_of(labels, scores, decisions, target)
    places = np.arange(len(target.classes))
    steps = np.abs(places[:, None] - places)

    def of(weights: Values) -> dict[str, Values]:
        table, metrics = common(weights)
        total = table.sum(axis=(1, 2))
        expected = np.einsum("ri,rj->rij", table.sum(axis=2), table.sum(axis=1))
        chance = ratio((expected * steps**2).sum(axis=(1, 2)), total)
        metrics = {
            "mae": ratio((table * steps).sum(axis=(1, 2)), total),
            "kappa": 1 - ratio((table * steps**2).sum(axis=(1, 2)), chance),
            **metrics,
        }
        return metrics if brief else metrics | _each("recall", target.classes, _recall(table))

    return of


def _multilabel(
    labels: Values, scores: Values, decisions: Values, target: Target, brief: bool
) -> Measure:
    keep = np.isfinite(labels) & np.isfinite(scores)
    true, chosen = (np.where(keep, values, 0.0) for values in (labels, decisions))
    rankings = [
        Ranking(scores[some, i], labels[some, i], np.flatnonzero(some))
        for i, some in enumerate(keep.T)
    ]
    pairs = Ranking(scores[keep], labels[keep], np.nonzero(keep)[0])
    squares = np.where(keep, (scores - labels) ** 2, 0.0).sum(axis=1)

    def of(weights: Values) -> dict[str, Values]:
        hits, n_true = weights @ (true * chosen), weights @ true
        n_chosen, n = weights @ chosen, weights @ keep.astype(float)
        right = n - n_true - n_chosen + 2 * hits
        recall = ratio(hits, n_true) + ratio(right - hits, n - n_true)
        f1 = np.where(n_true > 0, ratio(2 * hits, n_true + n_chosen), np.nan)
        per_label = (Counts.auc,) if brief else (Counts.auc, Counts.average_precision)
        auc, *ap = _ranked(rankings, weights, *per_label)
        metrics = {
            "auc_macro": _mean(auc),
            "accuracy_micro": ratio(right.sum(axis=1), n.sum(axis=1)),
            "accuracy_macro": _mean(ratio(right, n)),
            "balanced_accuracy_macro": _mean(recall / 2),
            "f1_micro": ratio(2 * hits.sum(axis=1), (n_true + n_chosen).sum(axis=1)),
            "f1_macro": _mean(f1),
            "brier": ratio(weights @ squares, n.sum(axis=1)),
        }
        if brief:
            return metrics
        auc_micro, ece = pairs.measure(weights, Counts.auc, calibration_error(int(keep.sum())))
        metrics |= {"auc_micro": auc_micro, "map": _mean(ap[0]), "ece": ece}
        for name, values in {
            "auc": auc,
            "ap": ap[0],
            "accuracy": ratio(right, n),
            "balanced_accuracy": recall / 2,
            "f1": f1,
        }.items():
            metrics |= _each(name, target.classes, values)
        return metrics

    return of


def _regression(labels: Values, scores: Values, _: Values, target: Target, brief: bool) -> Measure:
    keep = np.isfinite(labels) & np.isfinite(scores)

    def of(weights: Values) -> dict[str, Values]:
        columns = [
            _agreement(labels[rows, i], scores[rows, i], weights[:, rows])
            for i, rows in enumerate(keep.T)
        ]
        each = {name: np.stack([c[name] for c in columns], axis=1) for name in columns[0]}
        metrics = {name: _mean(values) for name, values in each.items()}
        if not brief and len(columns) > 1:
            for name, values in each.items():
                metrics |= _each(name, target.classes, values)
        return metrics

    return of


def _agreement(true: Values, said: Values, weights: Values) -> dict[str, Values]:
    """Metrics of one column (n,) under weights (R, n), each (R,).

    CCC: Lin, Biometrics 45 (1989), with variances over n.
    """
    gap = said - true
    middle = true.mean() if len(true) else 0.0
    x, y = true - middle, said - middle  # small numbers have exact squares
    mean_x, mean_y = _mean_of(x, weights), _mean_of(y, weights)
    var_x = _mean_of(x * x, weights) - mean_x**2
    var_y = _mean_of(y * y, weights) - mean_y**2
    shared = _mean_of(x * y, weights) - mean_x * mean_y
    tiny = 1e-12 * (1 + np.abs(mean_x) + np.abs(mean_y)) ** 2  # a variance of rounding alone
    flat = (var_x <= tiny) | (var_y <= tiny)
    spread = np.where(flat, 0.0, np.sqrt(np.maximum(var_x * var_y, 0.0)))
    below = var_x + var_y + (mean_x - mean_y) ** 2
    return {
        "ccc": np.where(var_x <= tiny, np.nan, ratio(2 * shared, below)),
        "mae": _mean_of(np.abs(gap), weights),
        "rmse": np.sqrt(_mean_of(gap**2, weights)),
        "pearson": ratio(shared, spread),
    }


def _ranked(
    rankings: Sequence[Ranking], weights: Values, *metrics: Callable[[Counts], Values]
) -> list[Values]:
    """Metrics (R, C) of each ranking."""
    each = [ranking.measure(weights, *metrics) for ranking in rankings]
    return [np.stack(values, axis=1) for values in zip(*each, strict=True)]


def _confusion(true: Values, chosen: Values, n_classes: int) -> Callable[[Values], Values]:
    """Weights (R, n) -> confusion matrices (R, n_classes, n_classes), true classes in rows."""
    cells = true.astype(int) * n_classes + chosen.astype(int)
    places = (cells, np.arange(len(true)))
    members = sparse.csr_array((np.ones(len(true)), places), shape=(n_classes**2, len(true)))
    return lambda weights: (members @ weights.T).T.reshape(-1, n_classes, n_classes)


def _accuracy(table: Values) -> Values:
    return ratio(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2)))


def _recall(table: Values) -> Values:
    """(R, C), NaN for a class that no row has."""
    return ratio(np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2))


def _f1(table: Values) -> Values:
    """(R, C), NaN for a class that no row has."""
    n_true, n_chosen = table.sum(axis=2), table.sum(axis=1)
    f1 = ratio(2 * np.diagonal(table, axis1=1, axis2=2), n_true + n_chosen)
    return np.where(n_true > 0, f1, np.nan)


def _each(metric: str, names: Sequence[str], values: Values) -> dict[str, Values]:
    return {name_of(metric, name): values[:, i] for i, name in enumerate(names)}


def _mean(values: Values) -> Values:
    """(R, C) -> (R,): over the outputs for which there is a number."""
    finite = np.isfinite(values)
    return ratio(np.where(finite, values, 0.0).sum(axis=1), finite.sum(axis=1).astype(float))


def _mean_of(values: Values, weights: Values) -> Values:
    """(n,) and (R, n) -> (R,)."""
    return ratio(weights @ values, weights.sum(axis=1))
