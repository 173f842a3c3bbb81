"""Muon in float32, for processors that do not multiply bfloat16.

torch's Muon orthogonalises in bfloat16. Where that is emulated it takes three times as long as the
whole rest of a training step of a small model (docs/lab/speed.md); in float32, with matrices of one
shape together, a tenth of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor


class Float32Muon(torch.optim.Muon):
    """torch's Muon with products in float32; its settings and its state are torch's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; a closure is not taken."""
        assert closure is None
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for (rows, columns), parameters in by_shape.items():
                updates = torch.stack(
                    [self._momentum(each, group["momentum"]) for each in parameters]
                )
                ortho = _orthogonal(
                    updates, group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                scale = lr * math.sqrt(max(1, rows / columns))
                for parameter, update in zip(parameters, ortho, strict=True):
                    parameter.mul_(1 - lr * decay).sub_(update, alpha=scale)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's update."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)


def _orthogonal(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """The nearest orthogonal matrices (n, a, b), by Newton and Schulz's iteration, roughly."""
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
