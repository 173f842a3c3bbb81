"""Metrics as people read them: their names, what they are, numbers and intervals."""

from __future__ import annotations

import math

from openmarlin.tasks.evaluation import Evaluation
from openmarlin.tasks.metrics import split_name
from openmarlin.tasks.resampling import Score

_WORDS = {
    "auc": ("AUC", "chance that a positive ranks above a negative"),
    "auc_macro": ("AUC, macro", "mean over classes or labels, each against the rest"),
    "auc_micro": ("AUC, micro", "over all pairs of a row and a label"),
    "ap": ("Average precision", "precision, averaged over the positives"),
    "map": ("Mean average precision", "mean over classes or labels"),
    "accuracy": ("Accuracy", "share of right answers; for classes also called WAR"),
    "accuracy_micro": ("Accuracy, micro", "over all pairs of a row and a label"),
    "accuracy_macro": ("Accuracy, macro", "mean over labels"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the recalls of yes and no"),
    "balanced_accuracy_macro": ("Balanced accuracy, macro", "mean over labels"),
    "uar": ("UAR", "mean of the recalls of all classes"),
    "recall": ("Recall", "share of a class that is found"),
    "f1": ("F1", "of precision and recall, the harmonic mean"),
    "f1_macro": ("F1, macro", "mean over classes or labels"),
    "f1_micro": ("F1, micro", "over all pairs of a row and a label"),
    "eer": ("Equal error rate", "where as many positives are missed as negatives let through"),
    "tpr_at_fpr_1": ("TPR at 1 % FPR", "positives found when at most 1 % of negatives pass"),
    "tpr_at_fpr_5": ("TPR at 5 % FPR", "positives found when at most 5 % of negatives pass"),
    "brier": ("Brier score", "squared distance of the probabilities from the truth"),
    "ece": ("ECE", "distance of probability and frequency, bins of equal mass"),
    "ccc": ("CCC", "concordance correlation coefficient"),
    "mae": ("MAE", "mean distance from the truth"),
    "rmse": ("RMSE", "root of the mean squared distance"),
    "pearson": ("Pearson", "linear correlation"),
    "kappa": ("Kappa, quadratic", "agreement beyond chance, weighted by squared steps"),
}

SIGNED = frozenset({"ccc", "pearson", "kappa"})
"""Metrics from -1 to 1."""
UNBOUNDED = frozenset({"mae", "rmse"})
"""Metrics without an upper end."""


def title(name: str) -> str:
    """A metric: auc -> AUC; of one output without its name."""
    metric = split_name(name)[0]
    return _WORDS.get(metric, (metric.replace("_", " ").capitalize(), ""))[0]


def meaning(name: str) -> str:
    """What a metric is, in a few words."""
    return _WORDS.get(split_name(name)[0], ("", ""))[1]


def number(value: float) -> str:
    """Three places, more digits of what is large; a dash for what is not defined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return text.replace("-", "−")


def interval(score: Score) -> str:
    """Both ends; nothing where there are none."""
    if not math.isfinite(score.low):
        return ""
    return f"{number(score.low)} to {number(score.high)}"


def signed(score: Score) -> str:
    """A difference."""
    return ("+" if score.value > 0 else "") + number(score.value)


def headline(evaluation: Evaluation) -> str:
    """The main metric with its interval, the prior and how many rows, in one line."""
    parts = [with_prior(evaluation, evaluation.main)]
    accuracy = next((name for name in evaluation.scores if name.startswith("accuracy")), None)
    if accuracy is not None:
        parts.append(with_prior(evaluation, accuracy))
    counts = evaluation.counts
    return f"{'; '.join(parts)}; {counts.labelled:,} rows, {counts.groups:,} groups"


def with_prior(evaluation: Evaluation, name: str) -> str:
    """A metric as in a sentence: AUC 0.913 (0.880 to 0.941, prior 0.500)."""
    score = evaluation.scores[name]
    prior = evaluation.prior.get(name, math.nan)
    aside = [interval(score), f"prior {number(prior)}" if math.isfinite(prior) else ""]
    text = ", ".join(part for part in aside if part)
    return f"{title(name)} {number(score.value)}" + (f" ({text})" if text else "")
