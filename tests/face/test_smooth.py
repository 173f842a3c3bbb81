"""Smoothing: no lag, no bias at the ends, steady on noise, fine with few or repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.face.smooth import RADIUS_S, smooth


def smoothed(times: np.ndarray, squares: np.ndarray) -> np.ndarray:
    return np.array([smooth(times, squares, t) for t in times])


def line(times: np.ndarray, slope: float) -> np.ndarray:
    start, slopes = np.array([100, 50, 4, 0]), np.array([slope, -slope, 0.1, 0.2])
    return start + times[:, None] * slopes


@pytest.mark.parametrize("fps", [2.0, 7.5, 15.0, 60.0])
def test_a_face_at_constant_speed_is_followed_exactly_to_the_ends(fps: float) -> None:
    times = np.arange(30) / fps
    squares = line(times, 400.0)
    assert np.abs(smoothed(times, squares) - squares).max() < 0.05


@pytest.mark.parametrize(("frequency", "tolerance"), [(0.25, 0.005), (0.5, 0.02), (1.0, 0.2)])
def test_head_motion_keeps_its_amplitude_and_phase(frequency: float, tolerance: float) -> None:
    times = np.arange(90) / 15
    squares = np.zeros((90, 4))
    squares[:, 0] = np.sin(2 * np.pi * frequency * times)
    inner = slice(10, -10)
    assert np.abs(smoothed(times, squares) - squares)[inner].max() < tolerance


def test_noise_is_taken_out() -> None:
    times = np.arange(300) / 15
    noisy = np.random.default_rng(0).normal(0, 1.0, (300, 4))
    result = smoothed(times, noisy)
    steps = np.abs(np.diff(result, axis=0))[10:-10]
    before = np.abs(np.diff(noisy, axis=0))
    assert steps[:, [0, 1, 3]].mean() < 0.2 * before.mean()
    assert steps[:, 2].mean() < 0.1 * before.mean()  # the side is held stiller


def test_only_what_is_near_in_time_counts() -> None:
    times = np.arange(60) / 15
    squares = np.random.default_rng(1).normal(0, 1, (60, 4))
    near = np.abs(times - times[30]) <= RADIUS_S + 1e-9
    alone = smooth(times[near], squares[near], times[30])
    assert np.allclose(smooth(times, squares, times[30]), alone)


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.07, 0.3, 5.0]), min_size=0, max_size=20),
    slope=st.floats(-500, 500),
)
def test_any_sampling_gives_finite_values_near_the_samples(gaps: list[float], slope: float) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    squares = line(times, slope)
    result = smoothed(times, squares)
    assert np.isfinite(result).all()
    assert np.abs(result - squares).max() < 1e-2 + 1e-4 * abs(slope)
