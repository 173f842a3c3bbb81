"""The attentive probe: many settings trained at once on tokens that are read once a batch.

The recipe of V-JEPA 2 (arXiv 2506.09985): 20 heads over learning rates and weight decays, AdamW,
20 epochs, a cosine to zero without warm-up. A row shows one window an epoch, drawn anew; its answer
is that to the mean over its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmarlin.console import job_progress
from openmarlin.tasks.heads import AttentiveHead, look, make_head
from openmarlin.tasks.labels import Target
from openmarlin.tasks.losses import TargetLoss
from openmarlin.tasks.probe_features import RowFeatures
from openmarlin.tasks.selection import (
    Examples,
    Fitted,
    Floats,
    Trial,
    best_of,
    check_examples,
)

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 5e-3)
WEIGHT_DECAYS = (0.8, 0.4, 0.1, 0.01)
EPOCHS = 20
_BATCH = 16
_HEADS = 16  # of attention, or the most below that divide the width


class Tokens(Protocol):
    """Rows and the tokens of their windows; `RowFeatures` is one."""

    def windows_of(self) -> list[NDArray[np.int64]]:
        """For every row the windows with a face, their numbers."""

    def tokens(self, windows: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Tokens (n, N, D) of some windows, by their numbers."""


def fit_attentive(
    train: Examples,
    val: Examples,
    target: Target,
    features: Tokens,
    seed: int,
    *,
    blocks: int = 0,
    balanced: bool = False,
    epochs: int = EPOCHS,
    progress: bool = False,
) -> Fitted:
    """The best of all settings, on validation after the last epoch.

    Args:
        train: what is learnt from.
        val: what is chosen by.
        target: what is predicted.
        features: hold the tokens.
        seed: of weights, order and windows.
        blocks: of self-attention below the query.
        balanced: classes count as if they were equally frequent.
        epochs: of the training rows.
        progress: show a progress bar.

    Raises:
        InputError: the training labels are all the same, nothing can be chosen, or tokens are
            missing.
    """
    check_examples(train, target)
    rng = np.random.default_rng(seed)
    loss_of = TargetLoss.of(train.labels, target, balanced=balanced)
    grid = list(product(LEARNING_RATES, WEIGHT_DECAYS))
    heads = [
        _initial(train.vectors.shape[1], len(target.outputs), blocks, seed + i)
        for i in range(len(grid))
    ]
    optimisers = [_optimiser(head, *pair) for head, pair in zip(heads, grid, strict=True)]
    windows = features.windows_of()
    steps = epochs * math.ceil(len(train) / _BATCH)
    with job_progress("steps") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task("attentive probe", total=steps, note="")
        for step, places in enumerate(_batches(len(train), epochs, rng)):
            some = [int(rng.choice(windows[row])) for row in train.places[places]]
            tokens = torch.from_numpy(features.tokens(some))
            rate = (1 + math.cos(math.pi * step / steps)) / 2
            _step(heads, optimisers, grid, rate, tokens, loss_of, torch.from_numpy(places))
            bar.update(task, advance=1)
    for head in heads:
        loss_of.in_units(head.linear)
        head.eval()
    pooled = pool_rows(heads, features, [windows[row] for row in val.places])
    trials = []
    for (rate, decay), head, vectors in zip(grid, heads, pooled, strict=True):
        with torch.inference_mode():
            logits = head.answer(torch.from_numpy(vectors)).double().numpy()
        settings = {"lr": rate, "weight_decay": decay}
        trials.append(Trial.of(settings, logits, val.labels, target))
    best = best_of(trials, target)
    return Fitted(heads[best], trials, best)


def pool_windows(head: AttentiveHead, features: RowFeatures) -> Floats:
    """Pooled vectors (W, D) of all windows; NaN where there is no face."""
    ok = features.extracted.features.table.column("ok").to_numpy()
    pooled = np.full((len(ok), head.width), np.nan, np.float32)
    for some in np.array_split(np.flatnonzero(ok), max(1, math.ceil(ok.sum() / _BATCH))):
        if len(some):
            pooled[some] = _pooled([head], features, some)[0]
    return pooled


def pool_rows(
    heads: Sequence[AttentiveHead], features: Tokens, windows: Sequence[NDArray[np.int64]]
) -> Floats:
    """The mean over windows, for every head and row: (heads, n, D)."""
    pooled = np.zeros((len(heads), len(windows), heads[0].width), np.float32)
    flat = np.concatenate(windows)
    row_of = np.repeat(np.arange(len(windows)), [len(some) for some in windows])
    for first in range(0, len(flat), _BATCH):
        part = slice(first, first + _BATCH)
        for sums, vectors in zip(pooled, _pooled(heads, features, flat[part]), strict=True):
            np.add.at(sums, row_of[part], vectors)
    return np.asarray(pooled / np.bincount(row_of)[None, :, None], np.float32)


@torch.inference_mode()
def _pooled(
    heads: Sequence[AttentiveHead], features: Tokens, windows: NDArray[np.int64]
) -> list[Floats]:
    tokens = torch.from_numpy(features.tokens(windows))
    return [vectors.numpy() for vectors in _attend(heads, tokens)]


def _attend(heads: Sequence[AttentiveHead], tokens: Tensor) -> list[Tensor]:
    """Pooled vectors (B, D) of every head.

    Without blocks all heads see the same tokens: their queries then share one product of matrices,
    which takes a quarter of the time.
    """
    if len(heads[0].blocks):
        return [head.pool(tokens) for head in heads]
    keys = [head.keys() for head in heads]
    seen = look(torch.cat(keys), heads[0].standardise(tokens))
    parts = torch.split(seen, [len(k) for k in keys], dim=1)
    return [head.mix(part) for head, part in zip(heads, parts, strict=True)]


def _step(
    heads: Sequence[AttentiveHead],
    optimisers: Sequence[torch.optim.Optimizer],
    grid: Sequence[tuple[float, float]],
    rate: float,
    tokens: Tensor,
    loss_of: TargetLoss,
    places: Tensor,
) -> None:
    """One batch for all heads, each with its own loss."""
    for optimiser, (peak, _) in zip(optimisers, grid, strict=True):
        optimiser.zero_grad()
        for group in optimiser.param_groups:
            group["lr"] = peak * rate
    pooled = zip(heads, _attend(heads, tokens), strict=True)
    losses = [loss_of(head.answer(vectors), places) for head, vectors in pooled]
    torch.autograd.backward(torch.stack(losses).sum())
    for optimiser in optimisers:
        optimiser.step()


def _batches(n: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(epochs):
        order = rng.permutation(n)
        yield from np.array_split(order, math.ceil(n / _BATCH))


def _initial(width: int, n_outputs: int, blocks: int, seed: int) -> AttentiveHead:
    heads = max(h for h in range(1, _HEADS + 1) if width % h == 0)
    config = {"width": width, "n_outputs": n_outputs, "blocks": blocks, "heads": heads}
    head = make_head({"kind": "attentive", **config})
    assert isinstance(head, AttentiveHead)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def _optimiser(head: AttentiveHead, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; gains, biases and the query do not decay."""
    named = list(head.named_parameters())
    matrices = [p for name, p in named if p.ndim > 1 and name != "query"]
    rest = [p for name, p in named if p.ndim <= 1 or name == "query"]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, rate)
