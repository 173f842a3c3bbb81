from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder, Decoder
from openmarlin.model.config import PRESETS
from openmarlin.model.critic import Critic
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify

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
