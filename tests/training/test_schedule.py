"""The learning rate as arithmetic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.training.schedule import Schedule, count_steps, make_schedule


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
