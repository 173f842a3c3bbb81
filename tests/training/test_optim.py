"""How far a step goes: Muon, the learning rate, the EMA."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import TOY

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.training.optim import (
    EMA,
    MuonAndAdamW,
    Plateau,
    Schedule,
    count_steps,
    make_schedule,
)


def test_matrices_of_blocks_move_along_orthogonal_ones_and_the_rest_as_with_adamw() -> None:
    config = PRESETS["tiny"].changed(**TOY["shape"])
    model = Autoencoder(config, torch.Generator().manual_seed(0))
    optimizer = MuonAndAdamW(model, lr=1e-3, muon_lr=0.02, betas=(0.9, 0.95), weight_decay=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(
        torch.rand(2, 3, 4, 32, 32), torch.arange(32).expand(2, -1) >= 8
    ).square().mean().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        moved = parameter.detach() - before[name]
        if "blocks" in name and parameter.ndim == 2:
            rows, columns = parameter.shape
            length = torch.linalg.svdvals(moved)[0] / (0.02 * max(1, rows / columns) ** 0.5)
            assert 0.6 < length < 1.3, name  # as near to 1 as five iterations in bfloat16 bring it
        else:
            assert moved.abs().max() == pytest.approx(1e-3, rel=0.01), name
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_rates_of_the_paper() -> None:
    """4 x 16 clips: a peak of 1.5e-4 * 64 / 256 after 40 of 2000 epochs, then down to 1e-5 / 4."""
    schedule = make_schedule(2000, 0.02, 1.5e-4, 1e-5, 64)
    assert (schedule.warmup, schedule.peak, schedule.floor) == (40, 3.75e-5, 2.5e-6)
    assert schedule.lr(0) == pytest.approx(3.75e-5 / 40)
    assert schedule.lr(39) == schedule.lr(40) == pytest.approx(3.75e-5)
    middle = (3.75e-5 + 2.5e-6) / 2
    assert schedule.lr(40 + 980) == pytest.approx(middle)
    assert schedule.lr(1999) == pytest.approx(2.5e-6, rel=1e-3)


@given(steps=st.integers(1, 400), warmup=st.floats(0, 1), data=st.data())
def test_up_and_then_down(steps: int, warmup: float, data: st.DataObject) -> None:
    floor = data.draw(st.floats(0, 1))
    schedule = make_schedule(steps, warmup, 1.0, floor, 256)
    rates = [schedule.lr(step) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-12 for rate in rates)
    rising, falling = rates[: schedule.warmup], rates[schedule.warmup :]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if rising:
        assert rising[-1] == pytest.approx(1)
        assert rising[0] == pytest.approx(1 / len(rising))
    if falling:
        assert falling[0] == pytest.approx(1)
        assert falling[-1] >= floor - 1e-12


def test_without_a_warm_up_the_first_step_has_the_peak() -> None:
    assert Schedule(10, 0, 1.0, 0.1).lr(0) == 1.0


@given(epochs=st.floats(0.01, 50), tracks=st.integers(1, 5000), batch=st.integers(1, 512))
def test_steps_cover_the_epochs_and_no_more(epochs: float, tracks: int, batch: int) -> None:
    steps = count_steps(epochs, tracks, batch)
    assert steps * batch >= epochs * tracks or math.isclose(steps * batch, epochs * tracks)
    assert steps == 1 or (steps - 1) * batch < epochs * tracks


def test_an_ema_follows_and_takes_the_place_of_its_tensors_for_a_while() -> None:
    tensor = torch.zeros(3)
    ema = EMA([tensor], 0.9)
    for value in (1.0, 2.0):
        tensor.fill_(value)
        ema.update()
    expected = torch.full((3,), 0.9 * 0.1 + 0.1 * 2)
    with ema.in_place():
        torch.testing.assert_close(tensor, expected)
    torch.testing.assert_close(tensor, torch.full((3,), 2.0), rtol=0, atol=0)
    ema.reset()
    with ema.in_place():
        assert tensor.tolist() == [2.0] * 3


def test_the_plateau_is_that_of_torch() -> None:
    """Rates as ReduceLROnPlateau gives them (factor .5, patience 7), told of a loss an epoch."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=7)
    ours = Plateau(1000, 0, 0.1, 1e-3, epoch_steps=2.0)
    rng = np.random.default_rng(0)
    for epoch in range(150):
        loss = max(0.3, 1 / (1 + epoch)) + 0.01 * rng.random()
        theirs.step(loss)
        for step in (2 * epoch, 2 * epoch + 1):  # the mean of an epoch counts
            ours.observe(step, loss + (0.1 if step % 2 else -0.1))
        assert ours.lr(2 * epoch + 2) == pytest.approx(optimizer.param_groups[0]["lr"])
        assert ours.has_ended == (optimizer.param_groups[0]["lr"] < 1e-3)
    assert ours.has_ended


def test_a_plateau_goes_on_where_it_stopped() -> None:
    one, other = (Plateau(1000, 3, 0.1, 1e-6, epoch_steps=2.5) for _ in range(2))
    for step in range(47):
        one.observe(step, 1.0)
    other.restore(one.state())
    for step in range(47, 300):
        for schedule in (one, other):
            schedule.observe(step, 1 / (1 + step // 90))
        assert one.lr(step + 1) == other.lr(step + 1)
    assert one.lr(300) < 0.01
    assert one.lr(1) == pytest.approx(0.1 * 2 / 3)  # warm-up
