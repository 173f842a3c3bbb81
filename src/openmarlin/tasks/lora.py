"""Low-rank adaptation: a frozen encoder learns by small matrices beside its own.

Hu et al., "LoRA" (arXiv 2106.09685). Merged into the frozen matrices when training is over, they
leave a plain encoder of the same shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.model.encoder import Encoder
from openmarlin.model.tensor_files import Tensors

_FROZEN, _DOWN, _UP = ".frozen.", ".down", ".up"


class LowRank(nn.Module):
    """A frozen linear layer W, and a learnt change of it: (W + alpha / rank * up down) x.

    The change is a path of its own: nothing of the size of W, and no gradient of it, is computed.

    Args:
        frozen: the layer; its parameters stop learning.
        rank: of the change.
        alpha: how much it counts, divided by the rank.
        generator: of the initial weights: `down` as a linear layer's, `up` zero, so that training
            starts from the frozen model.
    """

    def __init__(
        self, frozen: nn.Linear, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, frozen.in_features))
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5), generator=generator)

    def forward(self, x: Tensor, *bias: Tensor) -> Tensor:
        change = functional.linear(functional.linear(x, self.scale * self.down), self.up)
        return self.frozen(x, *bias) + change  # type: ignore[no-any-return]


def adapt(encoder: Encoder, rank: int, alpha: float, generator: torch.Generator) -> None:
    """Freeze an encoder and put low-rank changes beside all matrices of its blocks.

    Those are qkv and proj of the attention, and both layers of the MLP.
    """
    encoder.requires_grad_(False)
    for block in encoder.blocks:
        layers = list(block.named_modules())
        for name, layer in layers:
            if isinstance(layer, nn.Linear):
                parent, _, own = name.rpartition(".")
                setattr(block.get_submodule(parent), own, LowRank(layer, rank, alpha, generator))


def merge(weights: Tensors, scale: float) -> Tensors:
    """The weights of an adapted encoder as those of a plain one.

    Args:
        weights: by name, whatever else is among them stays.
        scale: alpha / rank.
    """
    merged: Tensors = {}
    for name, tensor in weights.items():
        layer, frozen, field = name.rpartition(_FROZEN)
        if frozen:
            if field == "weight":
                change = weights[layer + _UP].double() @ weights[layer + _DOWN].double()
                tensor = (tensor.double() + scale * change).to(tensor.dtype)
            merged[f"{layer}.{field}"] = tensor
        elif not _is_part(name, weights):
            merged[name] = tensor
    return merged


def _is_part(name: str, weights: Tensors) -> bool:
    """Whether a tensor is one of the two of a low-rank change."""
    return any(
        name.endswith(end) and f"{name.removesuffix(end)}{_FROZEN}weight" in weights
        for end in (_DOWN, _UP)
    )
