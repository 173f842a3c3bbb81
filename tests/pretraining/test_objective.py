"""The losses, against the plain way to write them down."""

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
from openmarlin.pretraining.objective import (
    adversarial_loss,
    clip_weights,
    critic_loss,
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


def true_values(video: Tensor, mask: Tensor) -> Tensor:
    return pick(patchify(to_model_input(video), CONFIG.tubelet, CONFIG.patch), mask)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_the_reconstruction_loss_is_the_mean_square() -> None:
    prediction = torch.randn(2, 5, 7, generator=chance()).requires_grad_()
    same = prediction.detach().clone().requires_grad_()
    target = torch.randn(2, 5, 7, generator=chance(1))
    (3 * reconstruction_loss(prediction, target)).backward()
    (3 * functional.mse_loss(same, target)).backward()
    torch.testing.assert_close(prediction.grad, same.grad)


def test_a_prediction_in_bfloat16_has_its_loss_in_float32() -> None:
    prediction = torch.randn(2, 5, 7, generator=chance()).bfloat16().requires_grad_()
    target = torch.randn(2, 5, 7, generator=chance(1))
    loss = reconstruction_loss(prediction, target)
    torch.testing.assert_close(loss, functional.mse_loss(prediction.float(), target))
    loss.backward()
    assert prediction.grad.dtype == torch.bfloat16


# Critic


def values(seed: int, clips: int = 2) -> Tensor:
    return torch.rand(clips, 6, CONFIG.token_values, generator=chance(seed))


def test_one_forward_gives_the_critic_the_gradients_of_two() -> None:
    """The reference predicts anew for the critic and lets it go backward through the generator."""
    video, mask = batch()
    theirs, ours = Critic(CONFIG, chance(3)), Critic(CONFIG, chance(3))
    real = true_values(video, mask)
    generator = model()
    fake = generator(to_model_input(video), mask)
    loss = theirs(fake).mean() - theirs(real).mean()
    loss.backward()

    prediction = model()(video, mask)
    gap, minimised = critic_loss(ours, prediction.detach(), real)
    minimised.backward()
    torch.testing.assert_close(gap, loss)
    torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=1e-4, atol=1e-7)


def test_the_adversarial_loss_leaves_the_critic_alone() -> None:
    critic, fake = Critic(CONFIG, chance()), values(0).requires_grad_()
    same = fake.detach().clone().requires_grad_()
    adversarial_loss(critic, fake).backward()
    assert gradients(critic) == {}
    (-critic(same).mean()).backward()
    torch.testing.assert_close(fake.grad, same.grad)


def test_the_adversarial_loss_keeps_gradients_the_critic_has() -> None:
    critic = Critic(CONFIG, chance())
    critic(values(0)).mean().backward()
    before = gradients(critic)
    adversarial_loss(critic, values(1).requires_grad_()).backward()
    torch.testing.assert_close(gradients(critic), before, rtol=0, atol=0)


def test_the_gradient_penalty_by_hand() -> None:
    """A linear critic has the same slope everywhere: (|w| - 1)²."""
    critic = nn.Linear(CONFIG.token_values, 1)
    fake, real = values(0), values(1)
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
    critic, fake, real = Square(), values(0), values(1)
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
