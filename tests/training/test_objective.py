"""What is learnt, against the plain way to write it down."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toys import TOY

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.critic import Critic
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify, to_model_input
from openmarlin.training.objective import (
    MaskedPrediction,
    adversarial_loss,
    clip_weights,
    critic_loss,
    denormalize,
    normalize,
    reconstruction_loss,
)

CONFIG = PRESETS["tiny"].changed(**TOY["shape"])


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(seed: int = 0) -> Autoencoder:
    return Autoencoder(CONFIG, chance(seed))


def batch(clips: int = 3, visible: int = 8) -> tuple[Tensor, Tensor]:
    video = torch.randint(0, 256, (clips, 4, 32, 32, 3), generator=chance(1), dtype=torch.uint8)
    order = torch.rand(clips, CONFIG.n_tokens, generator=chance(2)).argsort(dim=1)
    return video, order >= visible


def true_cubes(video: Tensor, mask: Tensor) -> Tensor:
    return pick(patchify(to_model_input(video), CONFIG.tubelet, CONFIG.patch), mask)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


# Prediction


@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_is_the_autoencoders_forward_and_the_mean_square(checkpointing: bool) -> None:
    video, mask = batch()
    plain, ours = model(), model()
    expected = plain(to_model_input(video), mask)
    loss = functional.mse_loss(expected, true_cubes(video, mask))
    loss.backward()

    objective = MaskedPrediction(ours, activation_checkpointing=checkpointing)
    prediction, target, _ = objective(video, mask, mask)
    mine = reconstruction_loss(prediction, target)
    mine.backward()
    torch.testing.assert_close(prediction, expected)
    torch.testing.assert_close(target, true_cubes(video, mask), rtol=0, atol=0)
    torch.testing.assert_close(mine, loss)
    torch.testing.assert_close(gradients(ours), gradients(plain), rtol=1e-4, atol=1e-7)


def test_a_part_of_the_masked_cubes_is_decoded_among_themselves() -> None:
    """The decoder sees the visible and the wanted tokens, and no other."""
    video, mask = batch()
    wanted = mask & (torch.arange(CONFIG.n_tokens) % 2 == 0)
    least = int(wanted.sum(dim=1).min())
    wanted &= wanted.cumsum(dim=1) <= least
    it = model()
    prediction, target, _ = MaskedPrediction(it)(video, mask, wanted)
    visible = it.enc_dec_proj(it.encoder(to_model_input(video), mask))
    decoder = it.decoder
    tokens = decoder.blocks(decoder.embed(visible, mask, wanted))[:, 8:]
    assert prediction.shape == (3, least, CONFIG.token_values)
    torch.testing.assert_close(prediction, decoder.predict(tokens))
    torch.testing.assert_close(target, true_cubes(video, wanted), rtol=0, atol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_feature_alone_is_decoded_while_learning(checkpointing: bool) -> None:
    """The decoder sees it as one token without a position, and the places that are wanted."""
    video, mask = batch()
    it = model()
    objective = MaskedPrediction(it, from_feature=True, activation_checkpointing=checkpointing)
    made, target, from_feature = objective(video, mask, mask)
    feature = it.encoder.norm(it.encoder.trunk(to_model_input(video), mask).mean(dim=1))
    places = pick(it.decoder.pos_embedding.emb.expand(3, -1, -1), mask) + it.decoder.mask_token
    tokens = torch.cat([it.enc_dec_proj(feature)[:, None], places], dim=1)
    torch.testing.assert_close(
        from_feature, it.decoder.predict(it.decoder.blocks(tokens)[:, 1:]), rtol=1e-4, atol=1e-5
    )
    plain = MaskedPrediction(it)(video, mask, mask)
    torch.testing.assert_close((made, target), plain[:2])
    assert plain.from_feature is None
    with torch.no_grad():
        assert objective(video, mask, mask).from_feature is None


def test_in_bfloat16_targets_stay_exact_and_the_loss_is_float32() -> None:
    video, mask = batch()
    it = MaskedPrediction(model())
    exact, target, _ = it(video, mask, mask)
    with torch.autocast("cpu", torch.bfloat16):
        prediction, same, _ = it(video, mask, mask)
    assert (prediction.dtype, same.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(same, target, rtol=0, atol=0)
    torch.testing.assert_close(prediction.float(), exact, rtol=0.05, atol=0.05)
    loss = reconstruction_loss(prediction, same)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, functional.mse_loss(prediction.float(), target))
    loss.backward()
    assert {p.grad.dtype for p in it.parameters()} == {torch.float32}


def test_normalised_targets_are_those_of_videomae() -> None:
    """Each channel of each cube less its mean, by its deviation (unbiased) + 1e-6."""
    video, mask = batch()
    _, target, _ = MaskedPrediction(model(), normalize_targets=True)(video, mask, mask)
    cubes = true_cubes(video, mask)
    by_hand = torch.empty_like(cubes)
    values = CONFIG.token_values // 3
    for b in range(cubes.shape[0]):
        for n in range(cubes.shape[1]):
            for c in range(3):
                one = cubes[b, n, c * values : (c + 1) * values].double()
                result = (one - one.mean()) / (one.var(unbiased=True).sqrt() + 1e-6)
                by_hand[b, n, c * values : (c + 1) * values] = result.float()
    torch.testing.assert_close(target, by_hand, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(denormalize(target, cubes), cubes)


def test_a_flat_cube_is_normalised_to_nothing() -> None:
    flat = torch.full((1, 2, CONFIG.token_values), 0.3)
    assert normalize(flat).abs().max() < 0.1
    torch.testing.assert_close(denormalize(normalize(flat), flat), flat)


def test_the_squared_error_as_torch_has_it() -> None:
    prediction = torch.randn(2, 5, 7, generator=chance()).requires_grad_()
    same = prediction.detach().clone().requires_grad_()
    target = torch.randn(2, 5, 7, generator=chance(1))
    (3 * reconstruction_loss(prediction, target)).backward()
    (3 * functional.mse_loss(same, target)).backward()
    torch.testing.assert_close(prediction.grad, same.grad)


# Critic


def cubes(seed: int, clips: int = 2) -> Tensor:
    return torch.rand(clips, 6, CONFIG.token_values, generator=chance(seed))


def test_one_forward_gives_the_critic_the_gradients_of_two() -> None:
    """The reference predicts anew for the critic and lets it go backward through the generator."""
    video, mask = batch()
    theirs, ours = Critic(CONFIG, chance(3)), Critic(CONFIG, chance(3))
    real = true_cubes(video, mask)
    generator = model()
    fake = generator(to_model_input(video), mask)
    loss = theirs(fake).mean() - theirs(real).mean()
    loss.backward()

    prediction, target, _ = MaskedPrediction(model())(video, mask, mask)
    gap, minimised = critic_loss(ours, prediction.detach(), target)
    minimised.backward()
    torch.testing.assert_close(gap, loss)
    torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=1e-4, atol=1e-7)


def test_the_adversarial_loss_leaves_the_critic_alone() -> None:
    critic, fake = Critic(CONFIG, chance()), cubes(0).requires_grad_()
    same = fake.detach().clone().requires_grad_()
    adversarial_loss(critic, fake).backward()
    assert gradients(critic) == {}
    (-critic(same).mean()).backward()
    torch.testing.assert_close(fake.grad, same.grad)


def test_the_adversarial_loss_keeps_gradients_the_critic_has() -> None:
    critic = Critic(CONFIG, chance())
    critic(cubes(0)).mean().backward()
    before = gradients(critic)
    adversarial_loss(critic, cubes(1).requires_grad_()).backward()
    torch.testing.assert_close(gradients(critic), before, rtol=0, atol=0)


def test_the_gradient_penalty_by_hand() -> None:
    """A linear critic has the same slope everywhere: (|w| - 1)²."""
    critic = nn.Linear(CONFIG.token_values, 1)
    fake, real = cubes(0), cubes(1)
    gap, loss = critic_loss(critic, fake, real, 10.0, chance())
    penalty = 10 * (critic.weight.norm() - 1) ** 2
    torch.testing.assert_close(gap, critic(fake).mean() - critic(real).mean())
    torch.testing.assert_close(loss, gap + penalty)
    critic.zero_grad()
    (loss - gap).backward()
    (by_hand,) = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(critic.weight.grad, by_hand)


class Square(nn.Module):
    """D(x) = a |x|² / 2, whose slope at x is a x."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x.square().sum(dim=-1, keepdim=True) / 2


def test_the_gradient_penalty_is_taken_between_fake_and_real() -> None:
    critic, fake, real = Square(), cubes(0), cubes(1)
    _, loss = critic_loss(critic, fake, real, 2.0, chance(5))
    place = torch.rand(2, 6, 1, generator=chance(5))  # one place a cube
    between = fake + place * (real - fake)
    penalty = 2 * ((0.7 * between.norm(dim=-1)) - 1).square().mean()
    gap = critic(fake).mean() - critic(real).mean()
    torch.testing.assert_close(loss, gap + penalty)


def test_clipped_weights() -> None:
    critic = Critic(CONFIG, chance())
    before = [p.clone() for p in critic.parameters()]
    clip_weights(critic, 0.01)
    for old, new in zip(before, critic.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old.detach().clamp(-0.01, 0.01), rtol=0, atol=0)
    assert max(p.abs().max().item() for p in critic.parameters()) == pytest.approx(0.01)
