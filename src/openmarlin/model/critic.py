"""The critic of the adversarial loss: how real does a reconstructed token look?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import MLP, init_weights


class Critic(MLP):
    """(..., P) values -> (..., 1) scores, no sigmoid (Wasserstein): P -> 4 * decoder width -> 1."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        if config.decoder_width is None:
            raise ModelError(
                f"model '{config.name}' is an encoder alone: its config has no decoder_width"
            )
        super().__init__(config.token_values, 4 * config.decoder_width, 1, nn.LeakyReLU(0.01))
        init_weights(self, generator)

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values)
