"""The masked autoencoder: the encoder, and the shallow decoder that pre-training needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder, pick
from openmarlin.model.layers import Block, PositionTable, init_weights


class Decoder(nn.Module):
    """A shallow transformer from visible tokens to the pixel values of the masked ones."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width, depth, heads = config.decoder_width, config.decoder_depth, config.decoder_heads
        if width is None or depth is None or heads is None:
            raise ModelError(
                f"model '{config.name}' is an encoder alone: its config has no decoder_width"
            )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = PositionTable(config, width)
        self.blocks = nn.Sequential(
            *(Block(width, heads, config.mlp_ratio, config.layer_norm_eps) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.head = nn.Linear(width, config.token_values)
        init_weights(self, generator)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02, generator=generator)

    def forward(self, visible: Tensor, mask: Tensor) -> Tensor:
        """(B, V, decoder width) visible tokens, mask bool (B, N) -> (B, M, P) values."""
        tokens = self.blocks(self.embed(visible, mask, mask))
        return self.predict(tokens[:, visible.shape[1] :])

    def embed(self, visible: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Visible tokens, then one mask token for each to predict, with positions.

        Args:
            visible: (B, V, decoder width).
            mask: bool (B, N).
            targets: bool (B, N), the masked tokens to predict, equally many in every row.
        """
        return torch.cat([visible + self._positions(~mask), self._queries(targets)], dim=1)

    def embed_feature(self, feature: Tensor, targets: Tensor) -> Tensor:
        """As `embed`, with one token without a position in place of the visible ones.

        Args:
            feature: (B, decoder width), what the encoder says of the whole clip.
            targets: bool (B, N), the tokens to predict, equally many in every row.
        """
        return torch.cat([feature[:, None], self._queries(targets)], dim=1)

    def predict(self, tokens: Tensor) -> Tensor:
        """(..., decoder width) tokens after the blocks -> (..., P) pixel values."""
        return self.head(self.norm(tokens))  # type: ignore[no-any-return]

    def _queries(self, targets: Tensor) -> Tensor:
        return self.mask_token + self._positions(targets)

    def _positions(self, chosen: Tensor) -> Tensor:
        return pick(self.pos_embedding.emb.expand(len(chosen), -1, -1), chosen)


class Autoencoder(nn.Module):
    """Video with a mask -> the pixels behind the mask.

    Args:
        config: Its shape, with the decoder's fields.
        generator: Source of the initial weights; the global one without it.
    """

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder = Encoder(config, generator)
        self.decoder = Decoder(config, generator)
        self.enc_dec_proj = nn.Linear(config.width, self.decoder.norm.weight.shape[0], bias=False)
        init_weights(self.enc_dec_proj, generator)

    @property
    def config(self) -> ModelConfig:
        """The config of the whole; the encoder carries it."""
        return self.encoder.config

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """The pixel values of the masked tokens, as predicted.

        Args:
            video: float (B, 3, T, H, W) in [0, 1].
            mask: bool (B, N), True = masked, the same count M in every row.

        Returns:
            (B, M, P), the masked tokens in (t, h, w) order, their values in (c, t, h, w) order, so
            that `pick(patchify(video, ...), mask)` is the target.
        """
        return self.decoder(self.enc_dec_proj(self.encoder(video, mask)), mask)  # type: ignore[no-any-return]
