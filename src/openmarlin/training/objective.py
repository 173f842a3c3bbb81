"""What is learnt: hidden cubes are predicted, and a critic is to take them for real ones.

Legend: B clips, N cubes, V visible ones, W wanted ones (to predict), P values a cube.
Source: MARLIN (arXiv 2211.06627), with options of VideoMAE (2203.12602, 2303.16727).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify

_CHANNELS = 3
_EPS = 1e-6


class Prediction(NamedTuple):
    """The wanted cubes (B, W, P): pixels in [0, 1], or normalised.

    Attributes:
        from_tokens: from the visible tokens.
        target: as they are, float32.
        from_feature: from the clip's feature alone; None where that is not asked for.
    """

    from_tokens: Tensor
    target: Tensor
    from_feature: Tensor | None


class MaskedPrediction(nn.Module):
    """Clips with masks -> the wanted cubes, as predicted and as they are.

    It does what `Autoencoder.forward` does, without touching a pixel more than is needed: cubes
    are picked while they are bytes, and residual streams have the width of the products. This is
    the module that is copied to or divided among devices.

    Args:
        model: the autoencoder to train.
        normalize_targets: see `normalize`.
        from_feature: predict the wanted cubes once more, from the clip's feature alone, as RetroMAE
            (arXiv 2205.12035) does with sentences.
        activation_checkpointing: blocks hold their input only and compute again to go backward.
    """

    def __init__(
        self,
        model: Autoencoder,
        *,
        normalize_targets: bool = False,
        from_feature: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.normalize_targets = normalize_targets
        self.from_feature = from_feature
        self.activation_checkpointing = activation_checkpointing

    def forward(self, video: Tensor, mask: Tensor, wanted: Tensor) -> Prediction:
        """Predict.

        Args:
            video: uint8 RGB (B, T, H, W, 3).
            mask: bool (B, N), the same count in every row.
            wanted: bool (B, N), those of the masked cubes to predict, the same count in every row.

        Returns:
            the prediction from the feature only where gradients are wanted: it is for learning.
        """
        config, encoder, decoder = self.model.config, self.model.encoder, self.model.decoder
        cubes = patchify(video.permute(0, 4, 1, 2, 3), config.tubelet, config.patch)
        visible = _floats(pick(cubes, ~mask))
        tokens = self._run(encoder.blocks, encoder.embed(visible, mask))
        known = self.model.enc_dec_proj(encoder.norm(tokens))
        from_tokens = self._decode(decoder.embed(known, mask, wanted), known.shape[1])
        from_feature = None
        if self.from_feature and torch.is_grad_enabled():
            feature = self.model.enc_dec_proj(encoder.norm(tokens.mean(dim=1)))
            from_feature = self._decode(decoder.embed_feature(feature, wanted), 1)
        target = _floats(pick(cubes, wanted))
        if self.normalize_targets:
            target = normalize(target)
        return Prediction(from_tokens, target, from_feature)

    def _decode(self, tokens: Tensor, known: int) -> Tensor:
        decoder = self.model.decoder
        return decoder.predict(self._run(decoder.blocks, tokens)[:, known:])

    def _run(self, blocks: nn.Sequential, tokens: Tensor) -> Tensor:
        device = tokens.device.type
        if torch.is_autocast_enabled(device):
            tokens = tokens.to(torch.get_autocast_dtype(device))
        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            return blocks(tokens)  # type: ignore[no-any-return]
        for block in blocks:
            tokens = checkpoint(block, tokens, use_reentrant=False)
        return tokens


def normalize(cubes: Tensor) -> Tensor:
    """(..., P) less its mean, by its deviation, of each channel of each cube (VideoMAE)."""
    mean, deviation = _moments(cubes)
    return ((_channels(cubes) - mean) / deviation).reshape(cubes.shape)


def denormalize(prediction: Tensor, cubes: Tensor) -> Tensor:
    """Predictions of normalised cubes -> pixels, with the moments of the true `cubes`."""
    mean, deviation = _moments(cubes)
    return (_channels(prediction) * deviation + mean).reshape(cubes.shape)


def reconstruction_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the wanted cubes, float32 whatever the prediction is."""
    loss: Tensor = _SquaredError.apply(prediction, target)  # type: ignore[no-untyped-call]
    return loss


class _SquaredError(torch.autograd.Function):
    """As functional.mse_loss, in half as many walks through memory, and of mixed types."""

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> Tensor:
        error = prediction - target
        ctx.save_for_backward(error)
        ctx.dtype = prediction.dtype
        mean: Tensor = torch.linalg.vector_norm(error).square() / error.numel()
        return mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (error,) = ctx.saved_tensors
        slope = torch.empty_like(error, dtype=ctx.dtype)
        return torch.mul(error, grads[0] * (2 / error.numel()), out=slope), None


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
        fake: predictions (B, W, P), without a graph.
        real: cubes (B, W, P).
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


def _mean_score(critic: Callable[[Tensor], Tensor], cubes: Tensor) -> Tensor:
    if not torch.is_autocast_enabled(cubes.device.type):
        cubes = cubes.float()
    return critic(cubes).float().mean()


def _penalty(
    critic: nn.Module, fake: Tensor, real: Tensor, generator: torch.Generator | None
) -> Tensor:
    place = torch.rand(*fake.shape[:-1], 1, generator=generator).to(fake.device)
    between = torch.lerp(fake.float(), real, place).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.norm(dim=-1) - 1).square().mean()
    return penalty


def _floats(cubes: Tensor) -> Tensor:
    return cubes.to(torch.float32).div_(255)


def _channels(cubes: Tensor) -> Tensor:
    return cubes.reshape(*cubes.shape[:-1], _CHANNELS, -1)


def _moments(cubes: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(_channels(cubes), dim=-1, keepdim=True)
    return mean, deviation + _EPS
