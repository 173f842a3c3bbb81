"""The encoder: what pre-training is for, and what gives the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import Block, PositionTable, TokenEmbedding, init_weights, patchify


class Encoder(nn.Module):
    """A plain video transformer over patches of a few frames; no class token.

    Args:
        config: Its shape. The decoder's fields are not looked at.
        generator: Source of the initial weights; the global one without it.
    """

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = TokenEmbedding(config.width, config.tubelet, config.patch)
        self.pos_embedding = PositionTable(config, config.width)
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, config.mlp_ratio, config.layer_norm_eps)
                for _ in range(config.depth)
            )
        )
        self.norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        init_weights(self, generator)

    def forward(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalised tokens.

        Args:
            video: float (B, 3, T, H, W) in [0, 1].
            mask: bool (B, N), True = masked (left out), the same count in every row.

        Returns:
            (B, V, D), the tokens that are not masked in (t, h, w) order, after the final norm.
        """
        return self.norm(self.trunk(video, mask))  # type: ignore[no-any-return]

    def features(self, video: Tensor) -> Tensor:
        """(B, D), one vector a clip: the norm of the mean token, not the mean of normed tokens."""
        return self.norm(self.trunk(video).mean(dim=1))  # type: ignore[no-any-return]

    def trunk(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `forward`, but before the final layer norm."""
        self._check(video)
        weight = self.patch_embedding.projection.weight
        values = patchify(video.to(weight.dtype), self.config.tubelet, self.config.patch)
        if mask is not None:
            values = pick(values, ~mask)
        return self.blocks(self.embed(values, mask))  # type: ignore[no-any-return]

    def embed(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Values of tokens that are not masked (B, V, P) -> tokens with positions (B, V, D)."""
        positions = self.pos_embedding.emb
        if mask is not None:
            positions = pick(positions.expand(len(mask), -1, -1), ~mask)
        return self.patch_embedding(values) + positions  # type: ignore[no-any-return]

    def _check(self, video: Tensor) -> None:
        size = self.config.image_size
        wanted = (3, self.config.frames, size, size)
        if tuple(video.shape[1:]) != wanted:
            raise ModelError(
                f"the model takes clips of shape (B, {', '.join(map(str, wanted))}), "
                f"not {tuple(video.shape)}; frames= and image_size= of load() change that"
            )


def pick(tokens: Tensor, chosen: Tensor) -> Tensor:
    """(B, N, D), bool (B, N) with n True in every row -> (B, n, D), in order."""
    return tokens[chosen].reshape(tokens.shape[0], -1, tokens.shape[2])
