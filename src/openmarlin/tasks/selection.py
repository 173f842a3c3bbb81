"""Choosing on validation: what was tried, how well each did there, and what was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax

from openmarlin.errors import InputError
from openmarlin.tasks.heads import Head
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.metrics import MAIN_METRIC, higher_is_better, prepare
from openmarlin.tasks.model import as_scores

Floats = NDArray[np.float32]

_EQUAL = 1e-9  # scores that differ less are the same


@dataclass(frozen=True)
class Examples:
    """Rows to learn from or to choose by: all show a face, all have a label.

    Attributes:
        places: (n,) positions of the rows in the manifest.
        vectors: (n, D) a feature each.
        labels: (n, K), see `Target.encode`.
    """

    places: NDArray[np.int64]
    vectors: Floats
    labels: Values

    def __len__(self) -> int:
        return len(self.places)

    def take(self, some: NDArray[np.int64]) -> Examples:
        """Some of them."""
        return Examples(self.places[some], self.vectors[some], self.labels[some])


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: by name.
        score: the main metric on validation.
        loss: the mean negative log likelihood there; of quantities the mean squared error.
    """

    settings: dict[str, Any]
    score: float
    loss: float

    @classmethod
    def of(cls, settings: dict[str, Any], logits: Values, labels: Values, target: Target) -> Trial:
        """Judged by logits (n, C) and labels (n, K) of validation rows."""
        of = prepare(labels, as_scores(logits, target), target, brief=True)
        score = of(np.ones((1, len(labels))))[MAIN_METRIC[target.kind]][0]
        return cls(settings, float(score), _loss(logits, labels, target))


@dataclass(frozen=True)
class Fitted:
    """A head that was trained.

    Attributes:
        head: the best one.
        trials: all that was tried, in order.
        best: which of them it is.
        notes: sentences for whoever reads the results.
    """

    head: Head
    trials: Sequence[Trial]
    best: int
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen."""
        return self.trials[self.best].settings

    @property
    def score(self) -> float:
        """How well it does on validation."""
        return self.trials[self.best].score


def _loss(logits: Values, labels: Values, target: Target) -> float:
    if target.is_one_of:
        answers = one_hot(labels, len(target.classes))
        losses = -(answers * log_softmax(logits, axis=1)).sum(axis=1)
    elif target.kind == "regression":
        losses = (logits - labels) ** 2
    else:
        losses = -np.where(labels > 0, log_expit(logits), log_expit(-logits))
        losses = np.where(np.isfinite(labels), losses, np.nan)
    return float(np.nanmean(losses))


def best_of(trials: Sequence[Trial], target: Target) -> int:
    """The place of the best score; of equal ones, of the least loss; of those, the first one.

    With few validation rows many settings have equal scores. Some of them hardly tell rows apart:
    their loss says so. What is tried first is the most regularised.

    Raises:
        InputError: the metric is not defined on these validation rows.
    """
    metric = MAIN_METRIC[target.kind]
    sign = 1 if higher_is_better(metric) else -1
    scores = np.array([sign * trial.score for trial in trials])
    if not np.isfinite(scores).any():
        raise InputError(
            f"nothing can be chosen: {metric} is not defined on the validation rows, which are "
            "all alike; put rows of every class into val"
        )
    losses = np.array([trial.loss for trial in trials])
    losses = np.where(scores >= np.nanmax(scores) - _EQUAL, losses, np.inf)
    return int(np.flatnonzero(losses <= losses.min() + _EQUAL)[0])


def check_choice(labels: Values, target: Target) -> None:
    """The main metric is defined on validation labels (n, K).

    Raises:
        InputError: it is not.
    """
    noise = np.random.default_rng(0).normal(size=(len(labels), len(target.outputs)))
    best_of([Trial.of({}, noise, labels, target)], target)


def check_examples(train: Examples, target: Target) -> None:
    """There is something to tell apart.

    Raises:
        InputError: all labels are the same.
    """
    columns = [y[np.isfinite(y)] for y in train.labels.T]
    if all(len(np.unique(y)) < 2 for y in columns):
        value = columns[0][0] if len(columns[0]) else np.nan
        words = target.words([value] * len(columns))[0] or "unlabelled"
        rows = f"{len(train)} training row" + "s" * (len(train) != 1)
        raise InputError(
            f"{rows} with a face, all with one value of {target.name} ('{words}'): there is "
            "nothing to tell apart; label more videos"
        )


def one_hot(labels: Values, n_classes: int) -> Values:
    """Numbers of classes (n, 1) -> (n, n_classes); NaN stays NaN."""
    hot = (labels == np.arange(n_classes)).astype(float)
    return np.where(np.isfinite(labels), hot, np.nan)


def class_weights(answers: Values, *, balanced: bool, is_one_of: bool) -> Values:
    """What each row counts for each output; 0 where it has no label.

    Args:
        answers: (n, C) of 0, 1 and NaN.
        balanced: every class counts as much as another: n / (classes * rows of the class), as
            scikit-learn has it.
        is_one_of: of C classes one applies: (n, 1) weights instead of (n, C).
    """
    present = np.isfinite(answers)
    if is_one_of:
        present = present[:, :1]
    if not balanced:
        return present.astype(float)
    filled = np.nan_to_num(answers)
    counts = filled.sum(axis=0)
    total = present.sum(axis=0)
    if is_one_of:
        each = total[0] / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return np.asarray((filled * each).sum(axis=1, keepdims=True))
    yes, no = (total / (2 * np.maximum(n, 1)) for n in (counts, total - counts))
    return np.asarray(np.where(filled > 0, yes, no) * present)
