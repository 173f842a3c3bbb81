"""What fine-tuning minimises: the loss of each kind of label, and two on the feature.

Legend: B clips, K numbers a label (see `Target.encode`), C outputs, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from openmarlin.tasks.labels import Target, Values

Regression = Literal["ccc", "mse"]

_EPS = 1e-8


@dataclass(frozen=True)
class LabelLoss:
    """The loss of answers to clips whose labels are known; a missing label (NaN) counts nothing.

    Attributes:
        target: what is predicted. Binary and multilabel: cross-entropy of each output by itself;
            class and ordinal: cross-entropy over the classes; regression: see `regression`.
        weights: (2, C) of no and yes of each output, or (C,) of the classes; None for equal ones.
        smoothing: share of a label that is spread over all classes (arXiv 1512.00567).
        regression: 1 - the concordance correlation of a batch, or the mean squared error.
    """

    target: Target
    weights: Tensor | None = None
    smoothing: float = 0.0
    regression: Regression = "ccc"

    def __call__(self, answers: Tensor, labels: Tensor, share: Tensor | None = None) -> Tensor:
        """The mean loss of a batch.

        Args:
            answers: (B, C) logits, or values of a regression.
            labels: (B, K).
            share: (B,) how much of each clip's label is its own, the rest being that of the clip at
                the other end of the batch (mixup); None for all.
        """
        aims = self._aims(labels)
        if share is not None:
            aims = torch.lerp(aims.flip(0), aims, share[:, None])
        there = aims.isfinite()
        aims = torch.where(there, aims, 0.0)
        weights = None if self.weights is None else self.weights.to(aims)
        if self.target.kind == "regression":
            return self._of_quantities(answers, aims, there)
        if self.target.is_one_of:
            losses = -(aims * answers.log_softmax(dim=1))
            losses = (losses if weights is None else losses * weights).sum(dim=1)
            return _mean(losses, there[:, 0])
        losses = functional.binary_cross_entropy_with_logits(answers, aims, reduction="none")
        if weights is not None:
            no, yes = weights
            losses = losses * (no + (yes - no) * aims)
        return _mean(losses, there)

    def _aims(self, labels: Tensor) -> Tensor:
        """What the answers should be, (B, C)."""
        if self.target.kind == "regression":
            return labels
        n_classes = 2
        aims = labels
        if self.target.is_one_of:
            n_classes = len(self.target.classes)
            numbers = labels[:, 0].nan_to_num(0).long()
            aims = functional.one_hot(numbers, n_classes).to(labels)
            aims = torch.where(labels.isnan(), torch.nan, aims)
        return aims * (1 - self.smoothing) + self.smoothing / n_classes

    def _of_quantities(self, answers: Tensor, aims: Tensor, there: Tensor) -> Tensor:
        if self.regression == "mse" or len(answers) < 2:
            return _mean((answers - aims).square(), there)
        count = there.sum(dim=0).clamp(min=1)
        x, y = (torch.where(there, values, 0.0) for values in (answers, aims))
        mean_x, mean_y = x.sum(dim=0) / count, y.sum(dim=0) / count
        x, y = torch.where(there, x - mean_x, 0.0), torch.where(there, y - mean_y, 0.0)
        covariance = (x * y).sum(dim=0) / count
        spread = (x.square().sum(dim=0) + y.square().sum(dim=0)) / count
        concordance = 2 * covariance / (spread + (mean_x - mean_y).square() + _EPS)
        return (1 - concordance).mean()


def balanced_weights(labels: Values, target: Target) -> Tensor | None:
    """Weights for `LabelLoss` as if the values of a label were equally frequent.

    Args:
        labels: (N, K) of the training rows.
        target: what is predicted; a regression has none.
    """
    if target.kind == "regression":
        return None
    if target.is_one_of:
        numbers = labels[np.isfinite(labels[:, 0]), 0].astype(int)
        counts = np.bincount(numbers, minlength=len(target.classes))
    else:
        counts = np.stack([(labels == value).sum(axis=0) for value in (0, 1)])
    # Of what there is: a class without rows would take the weight of all others.
    n_there = np.maximum((counts > 0).sum(axis=0), 1)
    weights = counts.sum(axis=0) / (n_there * np.maximum(counts, 1))
    return torch.from_numpy(np.where(counts > 0, weights, 1.0)).float()


def alignment(features: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance of clips with equal labels (Wang and Isola, arXiv 2005.10242, alpha 2).

    Args:
        features: (B, D) of length 1.
        labels: (B, K).
    """
    same = (labels[:, None] == labels[None]).all(dim=-1)
    same &= ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return _mean(_square_distances(features), same)


def uniformity(features: Tensor) -> Tensor:
    """Logarithm of the mean of exp(-2 d²) over pairs (Wang and Isola, arXiv 2005.10242, t 2).

    Args:
        features: (B, D) of length 1.
    """
    if len(features) < 2:
        return features.sum() * 0
    pairs = torch.triu_indices(len(features), len(features), 1)
    return _square_distances(features)[pairs[0], pairs[1]].mul(-2).exp().mean().log()


def _square_distances(features: Tensor) -> Tensor:
    return (features[:, None] - features[None]).square().sum(dim=-1)


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """Of what is there; 0, still with a graph, where nothing is."""
    return torch.where(there, values, 0.0).sum() / there.sum().clamp(min=1)
