"""Nominal rates and repaired times."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.video.clock import FALLBACK_FPS, MAX_GAP_S, Clock, nominal_fps


def rounded(fps: float, quantum_s: float, n: int = 300) -> list[float]:
    return [round(i / fps / quantum_s) * quantum_s for i in range(n)]


@pytest.mark.parametrize(
    "fps", [12, 15, Fraction(24000, 1001), 25, Fraction(30000, 1001), 30, 50, 60, 120]
)
def test_milliseconds_do_not_change_the_stated_rate(fps):
    """Matroska rounds to milliseconds: 29.97 fps looks like steps of 33 and 34 ms."""
    assert nominal_fps(rounded(float(fps), 1e-3), [Fraction(fps)], 1e-3) == float(fps)


def test_rounded_steps_are_averaged():
    """A GIF of 30 fps has delays of 3, 3, 4 hundredths, and FFmpeg states 33.3 fps."""
    assert nominal_fps(rounded(30, 0.01), [Fraction(100, 3)], 0.01) == pytest.approx(30, rel=0.01)


def test_a_wrong_stated_rate_is_not_believed():
    times = rounded(30, 1 / 90000)
    assert nominal_fps(times, [Fraction(24)], 1 / 90000) == pytest.approx(30)
    assert nominal_fps(times, [Fraction(24), Fraction(30)], 1 / 90000) == 30
    assert nominal_fps(times, [Fraction(90000), None], 1 / 90000) == pytest.approx(30)


def test_variable_rate_takes_the_typical_step():
    """A screen recording at 30 fps that pauses; the average rate it states would lose frames."""
    times = [i / 30 + 5 * (i // 50) for i in range(200)]
    assert nominal_fps(times, [Fraction(9)], 1e-3) == pytest.approx(30)


@pytest.mark.parametrize(
    ("times", "rates", "fps"),
    [
        ([], [], FALLBACK_FPS),
        ([3.0], [None, Fraction(0)], FALLBACK_FPS),
        ([3.0, 3.0], [Fraction(12)], 12),
        ([0.0, 0.5], [], 2),
        ([0.0, 1e-9], [], 1000),
    ],
)
def test_little_is_known(times, rates, fps):
    assert nominal_fps(times, rates, 1e-3) == pytest.approx(fps)


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=30),
    st.lists(st.none() | st.fractions(-10, 10**6), max_size=3),
    st.sampled_from([1e-9, 1e-3, 0.01]),
)
def test_always_a_usable_rate(times, rates, quantum):
    assert 0 < nominal_fps(times, rates, quantum) <= 1000


def times_of(raws: list[float | None], fps: float = 10) -> tuple[list[float], int]:
    clock = Clock(fps)
    told = [clock.time(raw) for raw in raws]
    broken = sum(stamp == "broken" for _, stamp in told)
    return [round(time, 6) for time, _ in told], broken


def test_good_times_stay():
    raws = [5.0, 5.1, 5.5, 30.0, 30.01]
    assert times_of(raws) == (raws, 0)


def test_missing_times_follow_the_rate():
    assert times_of([None, None, None]) == ([0.0, 0.1, 0.2], 0)
    assert times_of([1.0, None, None, 1.35]) == ([1.0, 1.1, 1.2, 1.35], 0)


def test_frames_without_times_before_the_first_that_has_one():
    clock = Clock(10, start_s=-0.2)
    raws = [None, None, 0.0, 0.1]
    assert [clock.time(raw) for raw in raws] == [
        (pytest.approx(time_s), "good") for time_s in (-0.2, -0.1, 0.0, 0.1)
    ]


def test_one_bad_time_changes_no_other():
    assert times_of([1.0, 1.1, 0.3, 1.3, 1.4]) == ([1.0, 1.1, 1.2, 1.3, 1.4], 1)
    assert times_of([1.0, 1.1, 95443.7, 1.3, 1.4]) == ([1.0, 1.1, 1.2, 1.3, 1.4], 1)
    assert times_of([1.0, 1.0, 1.2]) == ([1.0, 1.1, 1.2], 1)


def test_long_pauses_within_the_stated_duration_stay():
    """A lecture that shows one slide for minutes."""
    clock = Clock(10, duration_s=600)
    assert [clock.time(raw) for raw in (5.0, 5.1, 405.0, 9999.0)] == [
        (5.0, "good"),
        (5.1, "good"),
        (405.0, "good"),
        (405.1, "broken"),
    ]


@pytest.mark.parametrize("origin", [0.0, 95443.7])
def test_a_new_origin_is_adopted(origin):
    """Two recordings in one file, or a counter that wrapped: variable steps are kept."""
    raws = [100.0, 100.1, origin, origin + 0.3, origin + 0.4, origin + 1.0]
    assert times_of(raws) == ([100.0, 100.1, 100.2, 100.5, 100.6, 101.2], 1)
    clock = Clock(10)
    assert [clock.time(raw)[1] for raw in raws][2:5] == ["broken", "joined", "good"]


stamps = st.integers(-(10**12), 10**12) | st.integers(-(10**7), 10**7)


@given(st.lists(st.none() | stamps, max_size=60), st.floats(0.1, 240))
def test_times_always_move_forward(stamps, fps):
    clock = Clock(fps)
    raws = [None if stamp is None else stamp / 90000 for stamp in stamps]
    times = [clock.time(raw)[0] for raw in raws]
    assert all(0 < after - before <= MAX_GAP_S + 1e-6 for before, after in pairwise(times))
