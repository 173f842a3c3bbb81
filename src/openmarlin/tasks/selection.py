"""Choosing on validation: what was tried, how well each did there, and what was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    settings: dict[str, Any]
    score: float


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


def validation_score(logits: Values, labels: Values, target: Target) -> float:
    """The main metric of the target's kind: logits (n, C), labels (n, K)."""
    of = prepare(labels, as_scores(logits, target), target, brief=True)
    return float(of(np.ones((1, len(labels))))[MAIN_METRIC[target.kind]][0])


def best_of(scores: Sequence[float], target: Target) -> int:
    """The first of the best scores; of equal ones the earliest, which is the most regularised.

    Raises:
        InputError: the metric is not defined on these validation rows.
    """
    metric = MAIN_METRIC[target.kind]
    values = np.array(scores) * (1 if higher_is_better(metric) else -1)
    if not np.isfinite(values).any():
        raise InputError(
            f"nothing can be chosen: {metric} is not defined on the validation rows, which are "
            "all alike; put rows of every class into val"
        )
    return int(np.flatnonzero(values >= np.nanmax(values) - _EQUAL)[0])


def check_choice(labels: Values, target: Target) -> None:
    """The main metric is defined on validation labels (n, K).

    Raises:
        InputError: it is not.
    """
    noise = np.random.default_rng(0).normal(size=(len(labels), len(target.outputs)))
    best_of([validation_score(noise, labels, target)], target)


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
