"""The losses: masked tokens are predicted, and a critic is to take predictions for real ones.

Legend: B clips, M tokens to predict, P values a token.
Source: MARLIN (arXiv 2211.06627), with options of VideoMAE (2203.12602, 2303.16727).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional


def reconstruction_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the tokens, float32 whatever the prediction is."""
    return functional.mse_loss(prediction.float(), target)


def critic_loss(
    critic: nn.Module,
    fake: Tensor,
    real: Tensor,
    penalty: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean D(fake) - mean D(real): as it is logged, and as it is minimised, with the penalty.

    Args:
        critic: (..., P) -> (..., 1).
        fake: predictions (B, M, P), without a graph.
        real: the tokens (B, M, P).
        penalty: weight of (|grad D| - 1)² between fake and real (arXiv 1704.00028).
        generator: of the places in between.
    """
    wasserstein = _mean_score(critic, fake) - _mean_score(critic, real)
    if not penalty:
        return wasserstein, wasserstein
    return wasserstein, wasserstein + penalty * _penalty(critic, fake, real, generator)


def adversarial_loss(critic: nn.Module, fake: Tensor) -> Tensor:
    """-mean D(fake), for the autoencoder: no gradient reaches the critic's weights."""
    frozen = {name: tensor.detach() for name, tensor in critic.named_parameters()}
    return -_mean_score(partial(torch.func.functional_call, critic, frozen), fake)


@torch.no_grad()
def clip_weights(critic: nn.Module, bound: float) -> None:
    """Weights of the critic into -bound .. bound (arXiv 1701.07875)."""
    for parameter in critic.parameters():
        parameter.clamp_(-bound, bound)


def _mean_score(critic: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    if not torch.is_autocast_enabled(tokens.device.type):
        tokens = tokens.float()
    return critic(tokens).float().mean()


def _penalty(
    critic: nn.Module, fake: Tensor, real: Tensor, generator: torch.Generator | None
) -> Tensor:
    place = torch.rand(*fake.shape[:-1], 1, generator=generator).to(fake.device)
    between = torch.lerp(fake.float(), real, place).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.norm(dim=-1) - 1).square().mean()
    return penalty
