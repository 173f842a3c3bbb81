"""Learning rate and length of a run as plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

LR_BATCH = 256
"""The effective batch that `base_lr` is meant for (MARLIN, section 4.1; arXiv 1706.02677)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then a cosine; both networks follow it.

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


def count_steps(epochs: float, n_tracks: int, effective_batch: int) -> int:
    """Steps in which every track is seen `epochs` times."""
    return max(1, math.ceil(epochs * n_tracks / effective_batch))
