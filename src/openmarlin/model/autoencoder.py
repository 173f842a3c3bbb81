"""The masked autoencoder: the encoder, and the shallow decoder that pre-training needs."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder, pick
from openmarlin.model.layers import Block, PositionTable, init_weights, patchify


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

    Attributes:
        activation_checkpointing: blocks hold their input only, and compute again to go backward.
    """

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.activation_checkpointing = False
        self.encoder = Encoder(config, generator)
        self.decoder = Decoder(config, generator)
        self.enc_dec_proj = nn.Linear(config.width, self.decoder.norm.weight.shape[0], bias=False)
        init_weights(self.enc_dec_proj, generator)

    @property
    def config(self) -> ModelConfig:
        """The config of the whole; the encoder carries it."""
        return self.encoder.config

    @overload
    def forward(
        self,
        video: Tensor,
        mask: Tensor,
        targets: Tensor | None = None,
        *,
        from_feature: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        video: Tensor,
        mask: Tensor,
        targets: Tensor | None = None,
        *,
        from_feature: bool,
    ) -> tuple[Tensor, Tensor] | Tensor: ...

    def forward(
        self,
        video: Tensor,
        mask: Tensor,
        targets: Tensor | None = None,
        *,
        from_feature: bool = False,
    ) -> tuple[Tensor, Tensor] | Tensor:
        """The masked tokens as predicted.

        Args:
            video: uint8 RGB (B, T, H, W, 3), or float (B, 3, T, H, W) in [0, 1]. Bytes are faster:
                masked tokens are left out before any of them becomes a float.
            mask: bool (B, N), True = masked, the same count M in every row.
            targets: bool (B, N), the masked tokens to predict, the same count M in every row; all
                without it.
            from_feature: predict them once more, from the clip's feature alone, as RetroMAE
                (arXiv 2205.12035) does with sentences.

        Returns:
            (B, M, P), the tokens to predict in (t, h, w) order, their values in (c, t, h, w) order,
            so that `pick_values(video, targets, config)` is the target. With `from_feature` the
            same from the feature, too.
        """
        encoder, decoder = self.encoder, self.decoder
        targets = mask if targets is None else targets
        if video.dtype != torch.uint8:
            encoder._check(video)
            video = video.to(encoder.norm.weight.dtype)
        values = pick_values(video, ~mask, self.config)
        tokens = self._run(encoder.blocks, encoder.embed(values, mask))
        visible = self.enc_dec_proj(encoder.norm(tokens))
        from_tokens = self._decode(decoder.embed(visible, mask, targets), visible.shape[1])
        if not from_feature:
            return from_tokens
        feature = self.enc_dec_proj(encoder.norm(tokens.mean(dim=1)))
        return from_tokens, self._decode(decoder.embed_feature(feature, targets), 1)

    def _decode(self, tokens: Tensor, n_context: int) -> Tensor:
        """Tokens to predict are those after the first `n_context`."""
        return self.decoder.predict(self._run(self.decoder.blocks, tokens)[:, n_context:])

    def _run(self, blocks: nn.Sequential, tokens: Tensor) -> Tensor:
        device = tokens.device.type
        if torch.is_autocast_enabled(device):
            # The sums between blocks are then as narrow as the products: half the memory traffic.
            tokens = tokens.to(torch.get_autocast_dtype(device))
        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            return blocks(tokens)  # type: ignore[no-any-return]
        for block in blocks:
            tokens = checkpoint(block, tokens, use_reentrant=False)
        return tokens


def pick_values(video: Tensor, chosen: Tensor, config: ModelConfig) -> Tensor:
    """The pixel values of some tokens, in [0, 1].

    Args:
        video: uint8 RGB (B, T, H, W, 3), or float (B, 3, T, H, W).
        chosen: bool (B, N) with n True in every row.
        config: tells the size of a token.

    Returns:
        (B, n, P), float32 where the video is bytes, otherwise of its own type.
    """
    if video.dtype != torch.uint8:
        return pick(patchify(video, config.tubelet, config.patch), chosen)
    tokens = patchify(video.permute(0, 4, 1, 2, 3), config.tubelet, config.patch)
    return pick(tokens, chosen).to(torch.float32).div_(255)


def normalize(tokens: Tensor) -> Tensor:
    """(..., P) less its mean, by its deviation, of each channel of each token (VideoMAE)."""
    mean, deviation = _moments(tokens)
    return ((_channels(tokens) - mean) / deviation).reshape(tokens.shape)


def denormalize(prediction: Tensor, tokens: Tensor) -> Tensor:
    """Predictions of normalised tokens -> pixels, with the moments of the true `tokens`."""
    mean, deviation = _moments(tokens)
    return (_channels(prediction) * deviation + mean).reshape(tokens.shape)


def _channels(tokens: Tensor) -> Tensor:
    return tokens.reshape(*tokens.shape[:-1], 3, -1)


def _moments(tokens: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(_channels(tokens), dim=-1, keepdim=True)
    return mean, deviation + 1e-6
