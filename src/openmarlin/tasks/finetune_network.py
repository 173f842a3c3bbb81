"""The network that is fine-tuned: an encoder and a head, and which of their weights learn.

Legend: B clips, T frames, S side of the pictures, L blocks, D width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openmarlin.model.encoder import Encoder, pick
from openmarlin.model.layers import Block, patchify
from openmarlin.tasks.heads import Head
from openmarlin.tasks.lora import adapt
from openmarlin.training.optim import FACTOR

Part = Literal["full", "head", "layernorm", "lora"]
"""What learns: everything, the head alone, it and the layer norms, it and low-rank changes."""


class TaskNetwork(nn.Module):
    """Clips -> features and answers.

    Args:
        encoder: in float32.
        head: reads the encoder's feature.

    Attributes:
        activation_checkpointing: blocks hold their input only, and compute again to go backward.
    """

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.activation_checkpointing = False

    def forward(
        self,
        video: Tensor,
        mix: Tensor | None = None,
        kept: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features (B, D), and logits or values (B, C), both float32.

        Args:
            video: uint8 RGB (B, T, S, S, 3).
            mix: (B,) how much of each clip is its own; the rest is of the clip at the other end of
                the batch (mixup). Without it all.
            kept: (B, L, 2), which branches of the blocks (attention, MLP) each clip goes through,
                and above 1 how much more they count for those that are left out (`draw_branches`).
                Without it all.
            seen: bool (B, N) the tokens that are not left out, equally many of each clip. Without
                it all.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._encoder_learns):
            feature = self.encoder.norm(self._tokens(video, mix, kept, seen).mean(dim=1)).float()
        device = feature.device.type
        with torch.autocast(device, enabled=False):  # a head is small, and its answers are sums
            return feature, self.head(feature)

    @property
    def _encoder_learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.encoder.parameters())

    def _tokens(
        self, video: Tensor, mix: Tensor | None, kept: Tensor | None, seen: Tensor | None
    ) -> Tensor:
        encoder = self.encoder
        values = self._values(video, seen)
        if mix is not None:
            values = torch.lerp(self._values(video.flip(0), seen), values, mix[:, None, None])
        tokens = encoder.embed(values, None if seen is None else ~seen)
        device = tokens.device.type
        if torch.is_autocast_enabled(device):
            # The sums between blocks are then as narrow as the products: half the memory traffic.
            tokens = tokens.to(torch.get_autocast_dtype(device))
        for i, block in enumerate(encoder.blocks):
            kept_here = None if kept is None else kept[:, i]
            if self.activation_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(_run_block, block, tokens, kept_here, use_reentrant=False)
            else:
                tokens = _run_block(block, tokens, kept_here)
        return tokens

    def _values(self, video: Tensor, seen: Tensor | None) -> Tensor:
        """Pixel values (B, V, P) in [0, 1]; what is left out never becomes a float."""
        config = self.encoder.config
        values = patchify(video.permute(0, 4, 1, 2, 3), config.tubelet, config.patch)
        if seen is not None:
            values = pick(values, seen)
        return values.to(torch.float32).div_(255)


def _run_block(block: nn.Module, x: Tensor, kept: Tensor | None) -> Tensor:
    """A block for some clips; `kept` (B, 2) is how much each branch counts, 0 for not at all."""
    if kept is None or not isinstance(block, Block):
        return block(x)  # type: ignore[no-any-return]
    x = _run_branch(nn.Sequential(block.norm1, block.attn), x, kept[:, 0])
    return _run_branch(nn.Sequential(block.norm2, block.mlp), x, kept[:, 1])


def _run_branch(branch: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """x + weight * branch(x), computed for the clips alone whose weight is not 0.

    Where it is 0 for all, the branch sees no clip, and its gradients are zeros: processes that
    average gradients expect some of every parameter.
    """
    places = weight.nonzero()[:, 0]
    change = branch(x[places]) * weight[places, None, None].to(x.dtype)
    return x.index_add(0, places, change.to(x.dtype))


def drop_rates(depth: int, most: float) -> list[float]:
    """How often each block's branches are left out: from never to `most`, linear in depth.

    Stochastic depth (arXiv 1603.09382).
    """
    return torch.linspace(0, most, depth).tolist()


def choose_learning(network: TaskNetwork, part: Part, lora: tuple[int, float], seed: int) -> None:
    """Say which parameters learn; with `lora`, put them beside those that do not.

    Args:
        network: its head always learns.
        part: of it.
        lora: rank and alpha.
        seed: of initial weights.
    """
    encoder = network.encoder
    encoder.requires_grad_(part == "full")
    if part == "lora":
        adapt(encoder, *lora, torch.Generator().manual_seed(seed))
    elif part == "layernorm":
        for module in encoder.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)


def parameter_groups(
    network: nn.Module, depth: int, layer_decay: float
) -> Iterator[dict[str, Any]]:
    """What learns, grouped by learning rate and weight decay.

    The rate falls by `layer_decay` from each layer to the one below it (BEiT, arXiv 2106.08254):
    the head and the final norm have the whole, the last block a step less, the embedding the least.
    Vectors (biases, norms) have no weight decay.

    Args:
        network: a `TaskNetwork`.
        depth: blocks of its encoder.
        layer_decay: at most 1.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (_layer(name, depth), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    for (layer, decays), parameters in groups.items():
        group = {"params": parameters, FACTOR: layer_decay ** (depth + 1 - layer)}
        yield group if decays else {**group, "weight_decay": 0.0}


def _layer(name: str, depth: int) -> int:
    """0 for the embedding, 1 .. depth for blocks, depth + 1 for what comes after."""
    words = name.split(".")
    if words[:2] == ["encoder", "blocks"]:
        return 1 + int(words[2])
    return 0 if words[1].endswith("embedding") else depth + 1
