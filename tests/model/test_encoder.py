from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.model.encoder import Encoder, pick

Mask = Callable[..., torch.Tensor]


@pytest.mark.parametrize(
    ("name", "count"), [("small", 22_482_048), ("base", 87_431_424), ("large", 305_466_368)]
)
def test_parameters_are_as_published(name: str, count: int) -> None:
    with torch.device("meta"):
        encoder = Encoder(PRESETS[name])
    assert sum(tensor.numel() for tensor in encoder.state_dict().values()) == count
    assert len(encoder.state_dict()) == (317 if name == "large" else 161)


def test_all_tokens_and_one_vector_a_clip(midget: Autoencoder, video: torch.Tensor) -> None:
    encoder = midget.encoder
    tokens, features = encoder(video), encoder.features(video)
    assert tokens.shape == (2, 32, 192)
    assert features.shape == (2, 192)
    wanted = encoder.norm(encoder.trunk(video).mean(1))
    torch.testing.assert_close(features, wanted)
    assert not torch.allclose(features, tokens.mean(1), atol=1e-3)


@pytest.mark.parametrize(
    ("frames", "size", "patch", "tubelet"),
    [(16, 32, 16, 2), (8, 48, 16, 2), (3, 24, 8, 1), (32, 16, 4, 4)],
)
def test_any_size_that_divides(frames: int, size: int, patch: int, tubelet: int) -> None:
    config = ModelConfig(
        image_size=size, frames=frames, patch=patch, tubelet=tubelet, width=32, depth=1, heads=2
    )
    tokens = Encoder(config)(torch.rand(1, 3, frames, size, size))
    assert tokens.shape == (1, (frames // tubelet) * (size // patch) ** 2, 32)


def test_nothing_masked_is_no_mask(
    midget: Autoencoder, video: torch.Tensor, make_mask: Mask
) -> None:
    plain = midget.encoder(video)
    torch.testing.assert_close(midget.encoder(video, make_mask(2, 32, 0)), plain)


def test_masked_tokens_have_no_influence(
    midget: Autoencoder, video: torch.Tensor, make_mask: Mask
) -> None:
    mask = make_mask(2, 32, 28)
    tokens = midget.encoder(video, mask)
    assert tokens.shape == (2, 4, 192)
    cells = mask.reshape(2, 1, 8, 2, 2).repeat_interleave(2, 2)
    cells = cells.repeat_interleave(16, 3).repeat_interleave(16, 4)
    garbled = torch.where(cells, torch.rand_like(video), video)
    torch.testing.assert_close(midget.encoder(garbled, mask), tokens)
    assert not torch.allclose(midget.encoder(garbled), midget.encoder(video), atol=1e-3)


def test_clips_of_a_batch_do_not_mix(midget: Autoencoder, video: torch.Tensor) -> None:
    both = midget.encoder.features(video)
    torch.testing.assert_close(midget.encoder.features(video[1:]), both[1:], rtol=0, atol=1e-5)


def test_pick_keeps_order() -> None:
    tokens = torch.arange(8.0).reshape(2, 4, 1)
    chosen = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert pick(tokens, chosen).flatten().tolist() == [0, 2, 6, 7]


def test_a_clip_of_another_size_is_refused_in_one_line(midget: Autoencoder) -> None:
    with pytest.raises(ModelError, match=r"\(B, 3, 16, 32, 32\), not \(1, 3, 8, 32, 32\)"):
        midget.encoder(torch.rand(1, 3, 8, 32, 32))


def test_half_precision_weights_take_float_video(midget: Autoencoder, video: torch.Tensor) -> None:
    wanted = midget.encoder.features(video)
    features = midget.encoder.to(torch.bfloat16).features(video)
    assert features.dtype == torch.bfloat16
    assert torch.cosine_similarity(features.float(), wanted).min() > 0.999


def test_bytes_are_scaled_by_their_type(midget: Autoencoder, video: torch.Tensor) -> None:
    pixels = (video * 255).round().to(torch.uint8)
    wanted = midget.encoder.features(pixels.float() / 255)
    torch.testing.assert_close(midget.encoder.features(pixels), wanted)
    with pytest.raises(ModelError, match="int64"):
        midget.encoder.features(pixels.long())
