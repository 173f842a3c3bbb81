"""The encoder: what pre-training is for, and what gives the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import Block, PositionTable, TokenEmbedding, init_weights, patchify

if TYPE_CHECKING:
    from openmarlin.model.runner import Floats, Pixels


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
            video: (B, 3, T, H, W), float in [0, 1] or uint8.
            mask: bool (B, N), True = masked (left out), the same count in every row.

        Returns:
            (B, V, D), the tokens that are not masked in (t, h, w) order, after the final norm.
        """
        return self.norm(self.trunk(video, mask))  # type: ignore[no-any-return]

    @overload
    def encode(self, clips: Pixels | Tensor, *, tokens: Literal[False] = False) -> Floats: ...
    @overload
    def encode(self, clips: Pixels | Tensor, *, tokens: Literal[True]) -> tuple[Floats, Floats]: ...
    def encode(
        self, clips: Pixels | Tensor, *, tokens: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Features the fast way: on the engine and in the precision that `extract` uses.

        The first call prepares the engine, which takes about a second; so does the first one after
        the weights have changed or moved. No gradients come out of it.

        Args:
            clips: uint8 RGB (B, T, H, W, 3), face crops; B may be large, as memory stays level.
            tokens: give the tokens as well.

        Returns:
            float32 (B, D), one vector a clip, as `features`; with `tokens` also float32 (B, N, D).

        Raises:
            ModelError: the clips have another shape or type than the model takes.
        """
        from openmarlin.model import runner  # it knows this class

        return runner.encode(self, clips, tokens=tokens)

    def features(self, video: Tensor) -> Tensor:
        """(B, D), one vector a clip: the norm of the mean token, not the mean of normed tokens.

        Args:
            video: as for `forward`. It can be differentiated; `encode` is faster.
        """
        return self.norm(self.trunk(video).mean(dim=1))  # type: ignore[no-any-return]

    def trunk(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `forward`, but before the final layer norm."""
        self._check(video)
        if video.dtype == torch.uint8:
            video = video.to(torch.float32).div_(255)
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
        shape = (3, self.config.frames, size, size)
        if tuple(video.shape[1:]) != shape:
            raise ModelError(
                f"the model takes clips of shape (B, {', '.join(map(str, shape))}), "
                f"not {tuple(video.shape)}; frames= and image_size= of load() change that"
            )
        if not (video.is_floating_point() or video.dtype == torch.uint8):
            raise ModelError(f"the model takes clips in float [0, 1] or uint8, not {video.dtype}")


def pick(tokens: Tensor, chosen: Tensor) -> Tensor:
    """(B, N, D), bool (B, N) with n True in every row -> (B, n, D), in order."""
    return tokens[chosen].reshape(tokens.shape[0], -1, tokens.shape[2])
