"""How many frames a result has, and which."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.lipsync.schedule import make_schedule


def test_as_long_as_the_video() -> None:
    times_s = 5 + np.array([0, 0.1, 0.15, 0.4])
    for sound_s in (0.01, 0.2, 100):
        plan = make_schedule(times_s, 10, sound_s, "video")
        assert plan.frames.tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(plan.times_s, times_s - 5)
        assert plan.end_s == pytest.approx(0.5)


@given(
    n=st.integers(1, 60),
    fps=st.sampled_from([12, 23.976, 24, 25, 29.97, 30, 50, 59.94]),
    sound_s=st.floats(0.05, 8),
)
def test_as_long_as_the_sound_at_a_constant_rate(n: int, fps: float, sound_s: float) -> None:
    plan = make_schedule(np.arange(n) / fps, fps, sound_s, "audio")
    assert len(plan) in {math.ceil(sound_s * fps - 0.01), math.ceil(sound_s * fps)}
    np.testing.assert_allclose(plan.times_s, np.arange(len(plan)) / fps, atol=1e-9)
    period = max(1, 2 * n - 2)
    phase = np.arange(len(plan)) % period
    assert plan.frames.tolist() == np.minimum(phase, period - phase).tolist()
    assert plan.times_s[-1] < plan.end_s <= sound_s + 1e-4


@given(steps=st.lists(st.floats(0.01, 0.5), min_size=1, max_size=20), sound_s=st.floats(0.1, 5))
def test_as_long_as_the_sound_at_any_rate(steps: list[float], sound_s: float) -> None:
    times_s = np.cumsum([0, *steps])
    plan = make_schedule(times_s, 25, sound_s, "audio")
    lasts = np.append(np.diff(times_s), 1 / 25)
    assert (np.diff(plan.times_s) > 0).all()
    np.testing.assert_allclose(np.diff(plan.times_s), lasts[plan.frames[:-1]], atol=1e-9)
    assert (np.abs(np.diff(plan.frames)) == 1).all()
    assert plan.times_s[-1] + lasts[plan.frames[-1]] >= sound_s - 2e-4
