"""Steps of the autoencoder and its critic, without files around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import TOY

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify, to_model_input
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.pretraining.task import Pretraining
from openmarlin.training.engine import Engine
from openmarlin.training.optim import Schedule
from openmarlin.training.task import Batch
from openmarlin.training.trainer import NonFiniteLossError, Trainer

LR = 1e-3


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[..., Trainer]]:
    with Engine(accelerator="cpu", precision="fp32") as engine:

        def trainer(lr: float = LR, **values: Any) -> Trainer:
            settings = PretrainSettings.of({**TOY, "data": Path(), "out": Path(), **values})
            model = Autoencoder(settings.architecture(), torch.Generator().manual_seed(0))
            task = Pretraining(model, settings)
            return Trainer(engine, task, settings, Schedule(1000, 0, lr, lr))

        yield trainer


def batch(clips: int = 4, seed: int = 0) -> Batch:
    """Smooth clips: a wave of its own frequency and colour each."""
    chance = torch.Generator().manual_seed(seed)
    place = torch.linspace(0, 3, 32)
    wave = torch.rand(clips, 1, 1, 3, 3, generator=chance) * 4
    x, y = place[None, None, None, :, None], place[None, None, :, None, None]
    picture = 128 + 100 * torch.sin(wave[..., 0, :] * x + wave[..., 1, :] * y + wave[..., 2, :])
    video = picture.expand(clips, 4, 32, 32, 3).to(torch.uint8)
    mask = torch.rand(clips, 32, generator=chance).argsort(dim=1) >= 8
    return {
        "video": video,
        "mask": mask,
        "targets": mask,
        "id": [f"clip-{i}" for i in range(clips)],
    }


def halves(whole: Batch) -> list[Batch]:
    return [{name: v[part] for name, v in whole.items()} for part in (slice(0, 2), slice(2, 4))]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.task.model.module.named_parameters()}


def critic(trainer: Trainer) -> dict[str, Tensor]:
    return {
        name: p.detach().clone()
        for name, p in trainer.task.players["critic"].module.named_parameters()
    }


def moved(trainer: Trainer, before: dict[str, Tensor]) -> float:
    return max((weights(trainer)[name] - old).abs().max().item() for name, old in before.items())


def test_the_loss_falls_and_is_the_sum_of_its_parts(make: Callable[..., Trainer]) -> None:
    trainer, one = make(lr=2e-3), batch()
    losses = [trainer.step(number, [one]) for number in range(60)]
    assert losses[-1]["rec"] < 0.35 * losses[0]["rec"]
    assert set(losses[0]) == {"loss", "rec", "adv", "critic"}
    for now in losses:
        assert now["loss"] == pytest.approx(now["rec"] + 0.01 * now["adv"], abs=1e-6)


def test_the_critic_learns_to_tell_and_the_autoencoder_to_be_taken_for_real(
    make: Callable[..., Trainer],
) -> None:
    """critic is mean D(fake) - mean D(real): it falls where the autoencoder stands still."""
    trainer, one = make(), batch()
    still = make(lr=1e-3)
    for player in still.task.players.values():
        player.updates = 10 if player.replicated else 1
    gap = still.step(0, [one])["critic"]  # of the tenth update
    assert gap < trainer.step(0, [one])["critic"] - 0.05
    trainer = make(lr=1e-3, w_adv=100.0)
    before = critic(trainer)
    scores = [trainer.step(number, [one])["adv"] for number in range(10)]
    assert scores[-1] < scores[0]
    assert any((critic(trainer)[name] != old).any() for name, old in before.items())


def test_the_prediction_from_the_feature_alone_is_learnt_too(make: Callable[..., Trainer]) -> None:
    trainer, one = make(lr=2e-3, w_feature=0.5), batch()
    losses = [trainer.step(number, [one]) for number in range(60)]
    assert list(losses[0]) == ["loss", "rec", "rec_feature", "adv", "critic"]
    assert losses[-1]["rec_feature"] < 0.35 * losses[0]["rec_feature"]
    for now in losses:
        whole = now["rec"] + 0.5 * now["rec_feature"] + 0.01 * now["adv"]
        assert now["loss"] == pytest.approx(whole, abs=1e-6)


def test_without_a_critic_nothing_is_said_of_it(make: Callable[..., Trainer]) -> None:
    trainer = make(w_adv=0)
    losses = trainer.step(0, [batch()])
    assert list(trainer.task.players) == ["autoencoder"]
    assert set(losses) == {"loss", "rec"}
    assert losses["loss"] == losses["rec"]


def test_the_first_step_by_hand(make: Callable[..., Trainer]) -> None:
    """The first step of AdamW goes against the gradient's sign, as far as the learning rate."""
    trainer, one = make(w_adv=0), batch()
    before = weights(trainer)
    model = Autoencoder(trainer.task.config, torch.Generator().manual_seed(0))
    true = pick(patchify(to_model_input(one["video"]), 2, 8), one["mask"])
    loss = (model(to_model_input(one["video"]), one["mask"]) - true).square().mean()
    loss.backward()
    assert trainer.step(0, [one])["rec"] == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        clear = parameter.grad.abs() > 1e-5
        went = (weights(trainer)[name] - before[name])[clear]
        torch.testing.assert_close(went, -LR * parameter.grad[clear].sign(), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("values", [{}, {"w_adv": 0}, {"critic_steps": 2}, {"clip_grad": 0.01}])
def test_two_batches_are_one_of_twice_the_size(
    make: Callable[..., Trainer], values: dict[str, Any]
) -> None:
    one, two, whole = make(**values), make(**values), batch()
    for number in range(3):
        a, b = one.step(number, [whole]), two.step(number, halves(whole))
        assert b == pytest.approx(a, rel=1e-4, abs=1e-6)
    assert_same_but_for_signs_of_nothing(weights(two), weights(one))
    if "critic" in one.task.players:
        assert_same_but_for_signs_of_nothing(critic(two), critic(one))


def assert_same_but_for_signs_of_nothing(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """AdamW takes whole steps along gradients that are rounding errors: one value in a hundred."""
    for name, tensor in a.items():
        apart = (tensor - b[name]).abs() > 3e-5 + 1e-3 * b[name].abs()
        assert apart.float().mean() < 0.01, name


def test_critic_steps_and_clipped_weights(make: Callable[..., Trainer]) -> None:
    trainer = make(critic_steps=3, weight_clip=0.01)
    for number in range(2):
        trainer.step(number, [batch()])
    state = trainer.task.players["critic"].optimizer.state
    assert {int(s["step"]) for s in state.values()} == {6}
    assert max(p.abs().max().item() for p in critic(trainer).values()) <= 0.01 + 1e-8


def test_the_gradient_penalty_is_the_same_at_every_try(make: Callable[..., Trainer]) -> None:
    def ends(**values: Any) -> dict[str, Tensor]:
        trainer = make(**values)
        for number in range(2):
            trainer.step(number, [batch()])
        return critic(trainer)

    penalised = ends(gradient_penalty=10.0)
    torch.testing.assert_close(ends(gradient_penalty=10.0), penalised, rtol=0, atol=0)
    assert any((ends()[name] != value).any() for name, value in penalised.items())


def test_averaged_weights_follow_and_are_what_is_validated_and_saved(
    make: Callable[..., Trainer],
) -> None:
    trainer = make(ema=0.9)
    expected = weights(trainer)
    for number in range(3):
        trainer.step(number, [batch()])
        now = weights(trainer)
        expected = {k: 0.9 * e + 0.1 * now[k] for k, e in expected.items()}
    trained = weights(trainer)
    saved, rest = trainer.state()
    for name, value in expected.items():
        torch.testing.assert_close(saved[name], value)
        kept = rest[f"autoencoder/weights/{name}"]
        torch.testing.assert_close(kept, trained[name], rtol=0, atol=0)
    plain = make()
    plain.task.model.module.load_state_dict(saved)
    expected_rec = plain.validate([batch(seed=1)])["val_rec"]
    assert trainer.validate([batch(seed=1)])["val_rec"] == pytest.approx(expected_rec, rel=1e-6)
    assert moved(trainer, trained) == 0


@pytest.mark.parametrize("values", [{}, {"ema": 0.9}, {"w_adv": 0}, {"muon_lr": 0.02}])
def test_what_is_restored_goes_on_bit_for_bit(
    make: Callable[..., Trainer], values: dict[str, Any]
) -> None:
    first = make(**values)
    for number in range(3):
        first.step(number, [batch(seed=number)])
    _, rest = first.state()
    rest = {name: tensor.clone() for name, tensor in rest.items()}
    second = make(seed=7, **values)
    second.settings = first.settings
    second.restore(rest)
    for number in range(3, 5):
        assert second.step(number, [batch(seed=9)]) == first.step(number, [batch(seed=9)])
    for one, other in zip(first.state(), second.state(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0)


def test_a_loss_that_is_no_number_leaves_the_autoencoder_as_it_was(
    make: Callable[..., Trainer],
) -> None:
    trainer = make()
    with torch.no_grad():
        trainer.task.model.module.decoder.head.bias[0] = float("nan")
    before = weights(trainer)
    with pytest.raises(NonFiniteLossError, match="loss nan, rec nan"):
        trainer.step(0, [batch()])
    for name, old in before.items():
        torch.testing.assert_close(weights(trainer)[name], old, rtol=0, atol=0, equal_nan=True)
    assert not trainer.task.model.optimizer.state_dict()["state"]


def test_an_average_over_batches_of_unequal_size(make: Callable[..., Trainer]) -> None:
    trainer, whole = make(), batch()
    parts = [{k: v[s] for k, v in whole.items()} for s in (slice(0, 3), slice(3, 4))]
    by_parts, at_once = trainer.validate(parts), trainer.validate([whole])
    assert by_parts == pytest.approx(at_once)


@pytest.mark.parametrize("normalize", [False, True])
def test_one_batch_is_learnt_by_heart_and_comes_back_as_pixels(
    make: Callable[..., Trainer], normalize: bool
) -> None:
    """Whatever the targets were; the mean picture would have an error of the variance."""
    trainer, one = make(lr=1e-2, normalize_targets=normalize, w_adv=0, pictures=6), batch()
    for number in range(90):
        trainer.step(number, [one])
    trainer.validate([one, one])
    clips = trainer.task.pictures()
    assert len(clips) == 6
    for clip in clips[:4]:
        values = patchify(to_model_input(torch.from_numpy(clip.video)[None]), 2, 8)[0]
        true = values[torch.from_numpy(clip.mask)]
        error = (torch.from_numpy(clip.values) - true).square().mean()
        assert error < 0.5 * true.var()


def test_the_learning_rate_is_the_schedules(make: Callable[..., Trainer]) -> None:
    trainer = make()
    trainer.schedule = Schedule(10, 4, 1e-3, 1e-4)
    for number in (0, 9):
        trainer.step(number, [batch()])
        for player in trainer.task.players.values():
            rates = {group["lr"] for group in player.optimizer.param_groups}
            assert rates == {trainer.schedule.lr(number)}


def test_muon_follows_the_schedule_at_a_rate_of_its_own(make: Callable[..., Trainer]) -> None:
    trainer = make(muon_lr=0.02)
    trainer.schedule = Schedule(10, 4, LR, LR / 10)
    trainer.step(9, [batch()])
    now = trainer.schedule.lr(9)
    critic, model = trainer.task.players.values()
    rates = [group["lr"] for group in model.optimizer.param_groups]
    assert rates == pytest.approx([20 * now, now])
    assert [group["lr"] for group in critic.optimizer.param_groups] == [now]
