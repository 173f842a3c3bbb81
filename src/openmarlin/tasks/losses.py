"""The loss of every kind of label, for heads that are trained step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.selection import class_weights, one_hot


@dataclass(frozen=True)
class TargetLoss:
    """Cross-entropy, binary cross-entropy or, of standardised quantities, squared errors.

    Attributes:
        answers: (n, C) of the training rows: 0 or 1, or standardised quantities.
        weights: (n, C) what each counts for; 0 where there is no label.
        is_one_of: one of the classes applies.
        middle: (C,) of quantities.
        spread: (C,) of quantities; 1 for other kinds.
    """

    answers: Tensor
    weights: Tensor
    is_one_of: bool
    middle: Tensor
    spread: Tensor
    is_value: bool = False

    @classmethod
    def of(cls, labels: Values, target: Target, *, balanced: bool = False) -> TargetLoss:
        """The loss of training labels (n, K)."""
        answers = one_hot(labels, len(target.classes)) if target.is_one_of else labels
        middle, spread = np.zeros(answers.shape[1]), np.ones(answers.shape[1])
        is_value = target.kind == "regression"
        if is_value:
            middle = np.nan_to_num(np.nanmean(answers, axis=0))
            spread = np.nanstd(answers, axis=0)
            spread = np.where(spread > 0, spread, 1.0)
            weights = np.isfinite(answers).astype(float)
        else:
            weights = class_weights(answers, balanced=balanced, is_one_of=target.is_one_of)
        weights = np.broadcast_to(weights, answers.shape)
        tensors = ((answers - middle) / spread, weights, middle, spread)
        y, w, m, s = (torch.from_numpy(np.nan_to_num(t)).float() for t in tensors)
        return cls(y, w, target.is_one_of, m, s, is_value)

    def __call__(self, logits: Tensor, places: Tensor) -> Tensor:
        """The mean loss of the logits (B, C) of some training rows, by their places (B,)."""
        y, weights = self.answers[places], self.weights[places]
        if self.is_one_of:
            losses = -(y * logits.log_softmax(dim=1)).sum(dim=1)
            return (losses * weights[:, 0]).sum() / weights[:, 0].sum().clamp_min(1e-12)
        if self.is_value:
            losses = (logits - y).square()
        else:
            losses = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
        return (losses * weights).sum() / weights.sum().clamp_min(1e-12)

    @torch.no_grad()
    def in_units(self, layer: nn.Linear) -> None:
        """Let the last layer answer in the units of the labels."""
        layer.weight.mul_(self.spread[:, None])
        layer.bias.mul_(self.spread).add_(self.middle)
