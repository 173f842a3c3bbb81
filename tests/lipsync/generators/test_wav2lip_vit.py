"""Wav2Lip with a video transformer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.make import make_generator
from openmarlin.lipsync.generators.wav2lip_vit import Wav2LipViT
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load

SMALL: dict[str, Any] = {"system": "wav2lip_vit", "width": 0.25, "size": 32, "encoder_size": 32}


def small(**fields: Any) -> Wav2LipViT:
    generator = make_generator(GeneratorConfig(**{**SMALL, "encoder": "tiny", **fields}))
    assert isinstance(generator, Wav2LipViT)
    return generator


def test_the_published_decoder() -> None:
    config = GeneratorConfig(system="wav2lip_vit")
    with torch.device("meta"):
        encoder = Encoder(PRESETS["base"].encoder_alone())
        generator = Wav2LipViT(config, encoder)
    first = generator.decoder[0]
    shapes = [tuple(layer.conv_block[0].weight.shape) for layer in first]
    assert shapes == [(774, 774, 1, 1), (774, 774, 3, 3), (774, 378, 4, 4)]
    joined = [block[-1].conv_block[0].weight.shape[0] for block in generator.decoder]
    assert joined == [774, 384, 192, 96]
    assert generator.output_block[0].conv_block[0].weight.shape[:2] == (32, 48)


def test_tokens_lie_where_and_when_their_frames_are() -> None:
    """Tokens that carry their numbers: the first half of a token's values is its first frame."""
    generator = small()
    t, h, w = generator.encoder.config.grid
    width = generator.encoder.config.width
    tokens = torch.arange(t * h * w).float()[:, None] + torch.arange(width) / 1000

    class Numbers(torch.nn.Module):
        config = generator.encoder.config

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return tokens.expand(len(clips), -1, -1)

    generator.encoder = Numbers()  # type: ignore[assignment]
    seen = generator.look(torch.zeros(2, 6, 16, 32, 32))
    assert seen.shape == (2, 16, width // 2, h, w)
    for frame in (0, 5, 15):
        for half, row, column in ((0, 0, 0), (width // 2 - 1, 1, 0)):
            number = (frame // 2 * h + row) * w + column
            value = number + (frame % 2 * width // 2 + half) / 1000
            assert seen[1, frame, half, row, column].item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_is_not_trained(frozen: bool) -> None:
    generator = small(encoder_frozen=frozen).train()
    assert generator.encoder.training is not frozen
    generator(torch.randn(2, 16, 1, 80, 16), torch.rand(2, 6, 16, 32, 32)).mean().backward()
    gradients = [p.grad is not None for p in generator.encoder.parameters()]
    assert not any(gradients) if frozen else all(gradients)


def test_what_the_encoder_saw_can_be_kept() -> None:
    generator = small().eval()
    sound, faces = torch.randn(1, 16, 1, 80, 16), torch.rand(1, 6, 16, 32, 32)
    with torch.inference_mode():
        seen = generator.look(faces)
        torch.testing.assert_close(
            generator.draw(seen, sound, faces).sigmoid(), generator(sound, faces)
        )


def test_the_start_of_the_encoder() -> None:
    trained = small(init="marlin", encoder="openmarlin_vit_tiny")
    weight = "blocks.0.attn.qkv.weight"
    expected = load("openmarlin_vit_tiny").state_dict()[weight]
    assert torch.equal(trained.encoder.state_dict()[weight], expected)
    config = GeneratorConfig(**SMALL, encoder="tiny")
    a, b = (make_generator(config, seed=seed).state_dict() for seed in (0, 1))
    assert not torch.equal(a["encoder." + weight], b["encoder." + weight])


@pytest.mark.parametrize(
    "fields",
    [
        {"init": "marlin", "encoder": "tiny"},
        {"init": "none", "encoder": "openmarlin_vit_tiny"},
        {"init": "videomae", "encoder": "/no/such/file.pth"},
    ],
)
def test_encoders_that_do_not_go_with_init(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        small(**fields)


def test_an_encoder_of_another_size() -> None:
    encoder = Encoder(PRESETS["tiny"].encoder_alone())
    with pytest.raises(ModelError, match="224 px"):
        Wav2LipViT(GeneratorConfig(**SMALL), encoder)
