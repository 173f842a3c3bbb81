"""AdamW, or Muon for the matrices of the blocks and AdamW for the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from openmarlin.model.layers import Block

FACTOR = "factor"
"""Key of a parameter group: its learning rate as a multiple of the schedule's, 1 without it."""


def adamw(module: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    """AdamW for all of a module; settings are AdamW's."""
    return torch.optim.AdamW(module.parameters(), fused=True, **settings)


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
        known = set(map(id, matrices))
        others = [p for p in module.parameters() if id(p) not in known]
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
