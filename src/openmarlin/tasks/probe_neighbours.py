"""The probe without training: neighbours vote, and validation says how many."""

from __future__ import annotations

import numpy as np
import torch

from openmarlin.tasks.heads import NeighbourHead
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.selection import (
    Examples,
    Fitted,
    Floats,
    Trial,
    best_of,
    check_examples,
    one_hot,
)

NEIGHBOURS = (10, 20, 100, 200)
"""k (DINO, arXiv 2104.14294); those above the number of training rows are left out."""


def fit_neighbours(train: Examples, val: Examples, target: Target) -> Fitted:
    """The k that does best on validation.

    A label that a training row lacks votes as the mean of those that have it.

    Raises:
        InputError: the training labels are all the same, or nothing can be chosen.
    """
    check_examples(train, target)
    votes = one_hot(train.labels, len(target.classes)) if target.is_one_of else train.labels
    present = np.isfinite(votes)
    means = np.nan_to_num(votes).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    votes = np.where(present, votes, means)
    counts = [k for k in NEIGHBOURS if k <= len(train)] or [len(train)]
    heads = [_head(train.vectors, votes, k, target) for k in reversed(counts)]
    trials = []
    for head in heads:
        with torch.inference_mode():
            logits = head.answer(torch.from_numpy(val.vectors)).double().numpy()
        trials.append(Trial.of({"k": head.k}, logits, val.labels, target))
    best = best_of(trials, target)
    return Fitted(heads[best], trials, best)


def _head(vectors: Floats, votes: Values, k: int, target: Target) -> NeighbourHead:
    head = NeighbourHead(
        vectors.shape[1],
        votes.shape[1],
        len(vectors),
        k,
        is_one_of=target.is_one_of,
        is_value=target.kind == "regression",
    )
    head.items.copy_(torch.from_numpy(vectors))
    head.votes.copy_(torch.from_numpy(votes))
    return head.eval()
