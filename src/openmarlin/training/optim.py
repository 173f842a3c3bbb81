"""Optimizers, learning rates and the EMA of weights: how far a step goes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from openmarlin.model.layers import Block
from openmarlin.native import has_bf16
from openmarlin.training.muon import Float32Muon
from openmarlin.training.settings import RunSettings

MakeOptimizer = Callable[[nn.Module, float], torch.optim.Optimizer]
"""A module and its peak learning rate -> its optimizer."""

FACTOR = "factor"
"""Key of a parameter group: its learning rate as a multiple of the schedule's, 1 without it."""


Groups = Callable[[nn.Module], Iterable[dict[str, Any]]]
"""A module -> the groups of its parameters that learn, as torch's optimizers take them."""


def make_adamw(settings: RunSettings, groups: Groups | None = None) -> MakeOptimizer:
    """AdamW as the settings say.

    Args:
        settings: of the run.
        groups: of the parameters, with what is different for each; without it all of a module.
    """

    def make(module: nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            module.parameters() if groups is None else groups(module),
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
            _muon(matrices)(matrices, muon_lr, weight_decay),
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


def _muon(matrices: Sequence[Tensor]) -> type[torch.optim.Muon]:
    """torch's, or where that would be emulated the one in float32."""
    on_cpu = all(matrix.device.type == "cpu" for matrix in matrices)
    return Float32Muon if on_cpu and not has_bf16() else torch.optim.Muon


LR_BATCH = 256
"""The effective batch that `base_lr` is meant for (MARLIN, section 4.1; arXiv 1706.02677)."""


@dataclass
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
        return self._after_warmup(step)

    def _after_warmup(self, step: int) -> float:
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * done)) / 2

    @property
    def has_ended(self) -> bool:
        """Whether training is over before the last step."""
        return False

    def observe(self, step: int, loss: float) -> None:
        """Hear of the loss of a step, 0 and up."""

    def state(self) -> list[float]:
        """What it knows of past losses."""
        return []

    def restore(self, state: Sequence[float]) -> None:
        """Undo `state`."""


@dataclass
class Plateau(Schedule):
    """Linear warm-up, then a rate that is halved when the training loss falls no more.

    So the reference trains its tasks (torch's ReduceLROnPlateau, factor 0.5, patience 7): an epoch
    is a bad one unless its mean loss is below 0.9999 of the best; the eighth bad one in a row
    halves the rate. A rate below `floor` ends the training.

    Attributes:
        epoch_steps: steps of an epoch, perhaps broken.
    """

    epoch_steps: float = 1.0
    factor: ClassVar[float] = 0.5
    patience: ClassVar[int] = 7
    threshold: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        self._rate, self._best, self._bad = self.peak, math.inf, 0
        self._total, self._count = 0.0, 0  # of the epoch's losses

    def _after_warmup(self, step: int) -> float:  # noqa: ARG002 - it is the rate of today
        return self._rate

    @property
    def has_ended(self) -> bool:
        return self._rate < self.floor

    def observe(self, step: int, loss: float) -> None:
        self._total, self._count = self._total + loss, self._count + 1
        if int((step + 1) / self.epoch_steps) == int(step / self.epoch_steps):
            return
        mean = self._total / self._count
        self._total, self._count = 0.0, 0
        if mean < self._best * (1 - self.threshold):
            self._best, self._bad = mean, 0
            return
        self._bad += 1
        if self._bad > self.patience:
            self._rate, self._bad = self._rate * self.factor, 0

    def state(self) -> list[float]:
        return [self._rate, self._best, self._bad, self._total, self._count]

    def restore(self, state: Sequence[float]) -> None:
        self._rate, self._best, bad, self._total, count = state
        self._bad, self._count = int(bad), int(count)


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


def schedule_of(settings: RunSettings, epoch_clips: int, effective_batch: int) -> Schedule:
    """The schedule that the settings of a run ask for.

    Args:
        settings: of the run.
        epoch_clips: clips of an epoch.
        effective_batch: clips a step, of all processes together.
    """
    steps = settings.steps or count_steps(settings.epochs or 1, epoch_clips, effective_batch)
    cosine = make_schedule(
        steps, settings.warmup, settings.base_lr, settings.min_lr, effective_batch
    )
    if settings.schedule == "cosine":
        return cosine
    epoch_steps = epoch_clips / effective_batch
    return Plateau(cosine.steps, cosine.warmup, cosine.peak, cosine.floor, epoch_steps)


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
