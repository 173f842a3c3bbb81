"""Low-rank changes: gradients reach them and nothing else, and they merge into a plain encoder."""

from __future__ import annotations

import torch
from toys import TOY

from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.tasks.lora import LowRank, adapt, merge

RANK, ALPHA = 2, 8.0


def config() -> ModelConfig:
    return PRESETS["tiny"].changed(**TOY["shape"]).encoder_alone()


def adapted() -> tuple[Encoder, Encoder]:
    """An encoder, and its twin with changes that are not 0."""
    plain, encoder = (Encoder(config(), torch.Generator().manual_seed(1)) for _ in range(2))
    adapt(encoder, RANK, ALPHA, torch.Generator().manual_seed(2))
    return plain, encoder


def test_it_starts_as_the_frozen_encoder() -> None:
    plain, encoder = adapted()
    video = torch.rand(2, 3, 4, 32, 32)
    torch.testing.assert_close(encoder.features(video), plain.features(video), rtol=0, atol=0)


def test_gradients_reach_the_changes_of_every_matrix_and_nothing_else() -> None:
    _, encoder = adapted()
    names = {name for name, module in encoder.named_modules() if isinstance(module, LowRank)}
    kinds = ("attn.qkv", "attn.proj", "mlp.layers.0.linear", "mlp.layers.1.linear")
    assert names == {f"blocks.{i}.{kind}" for i in range(config().depth) for kind in kinds}
    for name in names:  # at 0 the gradient of the other factor is 0, too
        torch.nn.init.normal_(encoder.get_submodule(name).up)
    encoder.features(torch.rand(2, 3, 4, 32, 32)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        learns = name.endswith((".down", ".up"))
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == learns, name


def test_merged_it_is_a_plain_encoder_with_the_same_output() -> None:
    plain, encoder = adapted()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in encoder.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    weights = {"head.linear.weight": torch.ones(1)}
    weights |= {f"encoder.{name}": t for name, t in encoder.state_dict().items()}
    merged = merge(weights, ALPHA / RANK)
    assert merged.pop("head.linear.weight") is weights["head.linear.weight"]
    video = torch.rand(2, 3, 4, 32, 32)
    before = plain.features(video)
    plain.load_state_dict({name.removeprefix("encoder."): t for name, t in merged.items()})
    torch.testing.assert_close(plain.features(video), encoder.features(video), rtol=1e-4, atol=1e-5)
    assert (plain.features(video) - before).abs().max() > 0.01
