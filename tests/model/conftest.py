"""A model small enough that a test of it takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reference import randomised

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import ModelConfig

SMALL = ModelConfig(
    name="midget",
    image_size=32,
    width=192,
    depth=2,
    heads=3,
    decoder_width=192,
    decoder_depth=1,
    decoder_heads=3,
    trained=True,
)


@pytest.fixture(autouse=True)
def _few_threads_and_a_seed() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)


@pytest.fixture
def midget() -> Autoencoder:
    """An autoencoder of 32 tokens, of which no parameter is zero."""
    model: Autoencoder = randomised(Autoencoder(SMALL, torch.Generator().manual_seed(0))).eval()
    return model


@pytest.fixture
def video() -> torch.Tensor:
    """(2, 3, 16, 32, 32) in [0, 1]."""
    return torch.rand(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def make_mask() -> Callable[..., torch.Tensor]:
    """bool (clips, tokens) with `masked` True in every row, at other places in each."""

    def make(clips: int, tokens: int, masked: int) -> torch.Tensor:
        noise = torch.rand(clips, tokens, generator=torch.Generator().manual_seed(2))
        return noise.argsort(dim=1).argsort(dim=1) < masked

    return make
