"""Optimizers, learning rates and the EMA of weights: how far a step goes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openmarlin.model.layers import Block
from openmarlin.training.settings import RunSettings

MakeOptimizer = Callable[[nn.Module, float], torch.optim.Optimizer]
"""A module and its peak learning rate -> its optimizer."""

FACTOR = "factor"
"""Key of a parameter group: its learning rate as a multiple of the schedule's, 1 without it."""


def make_adamw(settings: RunSettings) -> MakeOptimizer:
    """AdamW for all of a module, as the settings say."""

    def make(module: nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            module.parameters(),
            lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    return make


def make_optimizer(settings: RunSettings) -> MakeOptimizer:
    """What the settings ask for: AdamW, or with `muon_lr` Muon where it applies."""
    muon_lr = settings.muon_lr
    if muon_lr is None:
        return make_adamw(settings)

    def make(module: nn.Module, lr: float) -> torch.optim.Optimizer:
        betas, weight_decay = settings.betas, settings.weight_decay
        return MuonAndAdamW(module, lr=lr, muon_lr=muon_lr, betas=betas, weight_decay=weight_decay)

    return make


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon) where it applies, AdamW elsewhere.

    Muon steps along the nearest orthogonal matrix to the momentum, so that weak directions of a
    matrix learn as fast as the loud ones. Both keep their state here, under their own names.

    Args:
        module: matrices inside its `Block`s are Muon's.
        lr: of AdamW.
        muon_lr: of Muon; the update of an m x n matrix is scaled by sqrt(max(1, m / n)).
        betas: of AdamW.
        weight_decay: of both.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        lr: float,
        muon_lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        blocks = [part for part in module.modules() if isinstance(part, Block)]
        matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
        ids = set(map(id, matrices))
        others = [p for p in module.parameters() if id(p) not in ids]
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, muon_lr, weight_decay),
            torch.optim.AdamW(others, lr, betas, weight_decay=weight_decay, fused=True),
        )
        super().__init__([*matrices, *others], {})
        self.state = defaultdict(dict)
        for part in self._parts:
            part.state = self.state
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        self.param_groups[0][FACTOR] = muon_lr / lr

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; a closure is not taken."""
        assert closure is None
        for part in self._parts:
            part.step()


LR_BATCH = 256
"""The effective batch that `base_lr` is meant for (MARLIN, section 4.1; arXiv 1706.02677)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine; all players follow it.

    Attributes:
        steps: length of the training.
        warmup: steps in which the rate rises.
        peak: where it rises to.
        floor: what it ends in.
    """

    steps: int
    warmup: int
    peak: float
    floor: float

    def lr(self, step: int) -> float:
        """The rate of a step, 0 .. steps - 1: first of `warmup` even rises, then down to floor."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * done)) / 2


def make_schedule(
    steps: int, warmup: float, base_lr: float, min_lr: float, effective_batch: int
) -> Schedule:
    """A schedule whose rates are scaled linearly to the effective batch.

    Args:
        steps: length of the training.
        warmup: share of them in which the rate rises.
        base_lr: peak for an effective batch of 256.
        min_lr: floor for an effective batch of 256.
        effective_batch: clips a step, of all processes together.
    """
    scale = effective_batch / LR_BATCH
    return Schedule(steps, round(warmup * steps), base_lr * scale, min_lr * scale)


def count_steps(epochs: float, n_clips: int, effective_batch: int) -> int:
    """Steps in which each of the clips of an epoch is seen `epochs` times."""
    return max(1, math.ceil(epochs * n_clips / effective_batch))


class EMA:
    """The exponential moving average of some tensors.

    Args:
        tensors: what is averaged; they change in place as training goes.
        decay: share of the average that stays at every update.
    """

    def __init__(self, tensors: list[Tensor], decay: float) -> None:
        self.tensors, self.decay = tensors, decay
        self.average = [tensor.clone() for tensor in tensors]

    def update(self) -> None:
        torch._foreach_lerp_(self.average, self.tensors, 1 - self.decay)

    def reset(self) -> None:
        """Begin anew from the tensors as they are."""
        torch._foreach_copy_(self.average, self.tensors)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The average in place of the tensors."""
        trained = [tensor.clone() for tensor in self.tensors]
        torch._foreach_copy_(self.tensors, self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(self.tensors, trained)
