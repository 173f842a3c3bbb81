"""Loading and saving models."""

from __future__ import annotations

from typing import Literal, overload

import torch

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.encoder import Encoder
from openmarlin.model.zoo import PRESETS, ModelConfig

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def build(config: ModelConfig, part: str) -> Encoder | Autoencoder:
    """Untrained weights that are the same on every call."""
    generator = torch.Generator().manual_seed(0)
    return Encoder(config, generator) if part == "encoder" else Autoencoder(config, generator)


@overload
def load(
    source: str, part: Literal["encoder"] = ..., *, device: str = ..., precision: str = ...
) -> Encoder: ...
@overload
def load(
    source: str, part: Literal["full"], *, device: str = ..., precision: str = ...
) -> Autoencoder: ...
def load(
    source: str, part: str = "encoder", *, device: str = "cpu", precision: str = "fp32"
) -> Encoder | Autoencoder:
    """A model in evaluation mode."""
    if source not in PRESETS:
        raise ModelError(f"no model '{source}'")
    return build(PRESETS[source], part).to(device=device, dtype=_DTYPES[precision]).eval()
