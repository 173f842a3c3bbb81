from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toys import TOY

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import (
    Autoencoder,
    Decoder,
    denormalize,
    normalize,
    pick_values,
)
from openmarlin.model.config import PRESETS
from openmarlin.model.critic import Critic
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify, to_model_input

PUBLISHED = {  # decoder, projection, critic, tensors of the whole
    "small": (2_376_768, 73_728, 1_181_185, 220),
    "base": (8_290_944, 294_912, 2_362_369, 220),
    "large": (39_414_784, 524_288, 3_149_825, 480),
}
Mask = Callable[..., torch.Tensor]


def count(module: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name: str) -> None:
    with torch.device("meta"):
        model, critic = Autoencoder(PRESETS[name]), Critic(PRESETS[name])
    sizes = count(model.decoder), count(model.enc_dec_proj), count(critic)
    assert (*sizes, len(model.state_dict())) == PUBLISHED[name]


def test_predicts_the_masked_tokens(
    midget: Autoencoder, video: torch.Tensor, make_mask: Mask
) -> None:
    mask = make_mask(2, 32, 28)
    values = midget(video, mask)
    target = pick(patchify(video, 2, 16), mask)
    assert values.shape == target.shape == (2, 28, 1536)


def test_a_step_down_the_gradient_reaches_every_parameter_and_helps(
    midget: Autoencoder, video: torch.Tensor, make_mask: Mask
) -> None:
    mask = make_mask(2, 32, 24)
    target = pick(patchify(video, 2, 16), mask)
    before = (midget(video, mask) - target).square().mean()
    before.backward()
    with torch.no_grad():
        for parameter in midget.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0
            parameter -= 1e-3 * parameter.grad
        assert (midget(video, mask) - target).square().mean() < before


def test_positions_are_not_learnt(midget: Autoencoder) -> None:
    assert not any("pos_embedding" in name for name, _ in midget.named_parameters())
    assert "decoder.pos_embedding.emb" in midget.state_dict()


def test_initial_mask_token_is_small_and_seeded() -> None:
    def token() -> torch.Tensor:
        return Decoder(PRESETS["tiny"], torch.Generator().manual_seed(3)).mask_token

    assert 0.005 < token().abs().max() <= 0.02
    assert torch.equal(token(), token())


def test_a_config_without_decoder_builds_none() -> None:
    config = PRESETS["tiny"].encoder_alone()
    for part in (Autoencoder, Critic):
        with pytest.raises(ModelError, match="encoder alone"):
            part(config)


def test_critic_scores_every_token(midget: Autoencoder) -> None:
    critic = Critic(midget.config)
    scores = critic(torch.rand(2, 5, 1536))
    assert scores.shape == (2, 5, 1)
    names = [f"layers.{i}.linear.{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    assert list(critic.state_dict()) == names
    hidden = torch.nn.functional.leaky_relu(critic.layers[0].linear(torch.ones(1536)), 0.01)
    torch.testing.assert_close(critic(torch.ones(1536)), critic.layers[1].linear(hidden))


# The forward pass of training: bytes, some of the masked tokens, the feature alone

TOY_CONFIG = PRESETS["tiny"].changed(**TOY["shape"])


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(*, activation_checkpointing: bool = False) -> Autoencoder:
    model = Autoencoder(TOY_CONFIG, chance(0))
    model.activation_checkpointing = activation_checkpointing
    return model


def toy_batch(clips: int = 3, visible: int = 8) -> tuple[Tensor, Tensor]:
    video = torch.randint(0, 256, (clips, 4, 32, 32, 3), generator=chance(1), dtype=torch.uint8)
    order = torch.rand(clips, TOY_CONFIG.n_tokens, generator=chance(2)).argsort(dim=1)
    return video, order >= visible


def toy_targets(mask: Tensor) -> Tensor:
    """About half of the masked tokens, the same count in every row."""
    targets = mask & (torch.arange(TOY_CONFIG.n_tokens) % 2 == 0)
    return targets & (targets.cumsum(dim=1) <= int(targets.sum(dim=1).min()))


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_bytes_are_seen_as_floats_are(checkpointing: bool) -> None:
    video, mask = toy_batch()
    plain, ours = toy(), toy(activation_checkpointing=checkpointing)
    by_parts = plain.decoder(plain.enc_dec_proj(plain.encoder(to_model_input(video), mask)), mask)
    from_bytes = ours(video, mask)
    torch.testing.assert_close(from_bytes, by_parts, rtol=0, atol=0)
    torch.testing.assert_close(ours(to_model_input(video), mask), by_parts, rtol=0, atol=0)
    for values in (from_bytes, by_parts):
        values.square().mean().backward()
    torch.testing.assert_close(gradients(ours), gradients(plain), rtol=1e-4, atol=1e-7)


def test_a_part_of_the_masked_tokens_is_decoded_among_themselves() -> None:
    """The decoder sees the visible tokens and those to predict, and no other."""
    video, mask = toy_batch()
    targets, model = toy_targets(mask), toy()
    values = model(video, mask, targets)
    visible = model.enc_dec_proj(model.encoder(to_model_input(video), mask))
    decoder = model.decoder
    tokens = decoder.blocks(decoder.embed(visible, mask, targets))[:, 8:]
    true = pick(patchify(to_model_input(video), 2, 8), targets)
    torch.testing.assert_close(values, decoder.predict(tokens), rtol=0, atol=0)
    torch.testing.assert_close(pick_values(video, targets, TOY_CONFIG), true, rtol=0, atol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_feature_alone_is_decoded_too(checkpointing: bool) -> None:
    """The decoder sees it as one token without a position, and the places to predict."""
    video, mask = toy_batch()
    model = toy(activation_checkpointing=checkpointing)
    from_tokens, from_feature = model(video, mask, from_feature=True)
    feature = model.encoder.norm(model.encoder.trunk(to_model_input(video), mask).mean(dim=1))
    places = pick(model.decoder.pos_embedding.emb.expand(3, -1, -1), mask)
    places = places + model.decoder.mask_token
    tokens = torch.cat([model.enc_dec_proj(feature)[:, None], places], dim=1)
    expected = model.decoder.predict(model.decoder.blocks(tokens)[:, 1:])
    torch.testing.assert_close(from_feature, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(from_tokens, model(video, mask), rtol=0, atol=0)


def test_under_autocast_products_and_sums_are_bfloat16_and_gradients_float32() -> None:
    video, mask = toy_batch()
    model = toy()
    exact = model(video, mask)
    with torch.autocast("cpu", torch.bfloat16):
        values = model(video, mask)
    assert values.dtype == torch.bfloat16
    torch.testing.assert_close(values.float(), exact, rtol=0.05, atol=0.05)
    values.float().square().mean().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_normalised_tokens_are_those_of_videomae() -> None:
    """Each channel of each token less its mean, by its deviation (unbiased) + 1e-6."""
    video, mask = toy_batch(clips=1)
    tokens = pick_values(video, mask, TOY_CONFIG)
    by_hand = torch.empty_like(tokens)
    values = TOY_CONFIG.token_values // 3
    for n in range(tokens.shape[1]):
        for c in range(3):
            part = slice(c * values, (c + 1) * values)
            one = tokens[0, n, part].double()
            by_hand[0, n, part] = ((one - one.mean()) / (one.std() + 1e-6)).float()
    torch.testing.assert_close(normalize(tokens), by_hand, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(denormalize(normalize(tokens), tokens), tokens)


def test_a_flat_token_is_normalised_to_nothing() -> None:
    flat = torch.full((1, 2, TOY_CONFIG.token_values), 0.3)
    assert normalize(flat).abs().max() < 0.1
    torch.testing.assert_close(denormalize(normalize(flat), flat), flat)
