"""Windows and ticks against brute-force oracles."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.errors import InputError
from openmarlin.video.windows import Window, WindowStream, needs_tick, plan_windows, ticks


@dataclass
class At:
    """A frame as far as `ticks` is concerned."""

    index: int
    time_s: float


@st.composite
def all_plans(draw, tails=("pad", "drop", "reference")):
    tail, length = draw(st.sampled_from(tails)), draw(st.integers(1, 20))
    stride = draw(st.integers(1, length if tail == "pad" else 24))
    return {"length": length, "rate": draw(st.integers(1, 5)), "stride": stride, "tail": tail}


plans = all_plans()
counts = st.integers(0, 400)


def first_principles(n: int, length: int, rate: int, stride: int, tail: str) -> list[Window]:
    """The rules in words, without a formula."""
    if n == 0:
        return []
    if tail == "reference":
        everything = list(range(n))
        if n <= length:
            padded = everything + [everything[-1]] * (length - n)
            return [Window(0, tuple(padded), n)]
        if n <= length * rate:
            return [Window(0, tuple(everything[:length]), length)]
        starts = list(range(0, n - length * rate, stride * rate))
        return [
            Window(i, tuple(everything[start : start + length * rate : rate]), length)
            for i, start in enumerate(starts)
        ]
    samples = [tick for tick in range(n) if tick % rate == 0]
    windows: list[Window] = []
    seen = 0
    for start in range(0, len(samples), stride):
        real = samples[start : start + length]
        if tail == "pad" and seen < len(samples):
            padded = tuple(real + [real[-1]] * (length - len(real)))
            windows.append(Window(len(windows), padded, len(real)))
            seen = start + len(real)
        if tail == "drop" and len(real) == length:
            windows.append(Window(len(windows), tuple(real), length))
    return windows


@given(counts, plans)
def test_plan_follows_the_rules(n, plan):
    assert plan_windows(n, **plan) == first_principles(n, **plan)


@given(counts, plans)
def test_stream_gives_the_plan(n, plan):
    stream, whole, given = WindowStream(**plan), plan_windows(n, **plan), []
    for tick in range(n):
        complete = stream.push(tick)
        assert len(complete) <= 1
        assert all(max(window.ticks) <= tick for window in complete)
        given += complete
        if len(given) < len(whole):
            assert stream.keep_from <= whole[len(given)].ticks[0]
    remaining = stream.finish()
    assert given + remaining == whole
    assert stream.finish() == []
    if plan["tail"] != "reference":  # nothing full waits for the end
        assert all(window.n_real < plan["length"] for window in remaining)


@given(counts, plans)
def test_only_needed_ticks_are_used(n, plan):
    rule = {key: plan[key] for key in ("length", "rate", "tail")}
    used = {tick for window in plan_windows(n, **plan) for tick in window.ticks}
    assert all(needs_tick(tick, **rule) for tick in used)
    if plan["tail"] == "pad":
        assert used == {tick for tick in range(n) if needs_tick(tick, **rule)}


@given(counts.filter(bool), all_plans(["pad"]))
def test_pad_covers_with_the_fewest_windows(n, plan):
    windows = plan_windows(n, **plan)
    last_sample = (n - 1) // plan["rate"] * plan["rate"]
    assert windows[-1].ticks[-1] == last_sample
    assert last_sample not in {tick for window in windows[:-1] for tick in window.ticks}
    for window in windows:
        assert 1 <= window.n_real <= plan["length"] == len(window.ticks)
        assert len(set(window.ticks)) == window.n_real


@pytest.mark.parametrize(
    ("n", "starts"),
    [
        (1, [0]),
        (16, [0]),
        (17, [0]),
        (32, [0]),
        (33, [0]),
        (64, [0]),
        (65, [0, 32]),
        (96, [0, 32]),
        (97, [0, 32, 64]),
    ],
)
def test_reference_drops_the_window_that_ends_at_the_end(n, starts):
    """marlin-pytorch 0.3.4 with its defaults: range(0, n - 32, 32)."""
    windows = plan_windows(n, tail="reference")
    assert [window.ticks[0] for window in windows] == starts
    step = 1 if n <= 32 else 2
    assert windows[0].ticks[1] == min(step, n - 1)


def test_defaults_are_the_model_clip():
    assert plan_windows(64) == [
        Window(0, tuple(range(0, 32, 2)), 16),
        Window(1, tuple(range(32, 64, 2)), 16),
    ]
    assert plan_windows(40)[1] == Window(1, (32, 34, 36, *[38] * 13), 4)
    assert plan_windows(40, tail="drop") == plan_windows(64)[:1]
    assert plan_windows(1) == [Window(0, (0,) * 16, 1)]
    assert plan_windows(30, tail="drop") == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0}, "rate is 0"),
        ({"stride": 0}, "stride is 0"),
        ({"length": -1}, "length is -1"),
        ({"stride": 17}, "stride 17 is more than the window length 16"),
        ({"tail": "keep"}, "give one of pad, drop, reference"),
    ],
)
def test_nonsense_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        plan_windows(50, **wrong)
    with pytest.raises(InputError, match=message):
        WindowStream(**wrong)


def test_more_nonsense_is_refused():
    with pytest.raises(InputError, match="n_ticks is -1"):
        plan_windows(-1)
    with pytest.raises(InputError, match="tick 1 was pushed where 0 is due"):
        WindowStream().push(1)
    with pytest.raises(InputError, match="fps is 0"):
        list(ticks([], 0))


def test_stride_beyond_the_length_is_fine_where_nothing_is_promised():
    assert [w.ticks[0] for w in plan_windows(200, stride=20, tail="drop")] == [0, 40, 80, 120, 160]


# --- ticks


@given(
    st.integers(0, 500),
    st.sampled_from([5.0, 12.0, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 60.0]),
    st.sampled_from([1e-9, 1 / 90000, 1e-3]),
    st.floats(-5, 1e5),
)
def test_constant_rate_is_the_identity(n, fps, quantum, start):
    frames = [At(i, start + round(i / fps / quantum) * quantum) for i in range(n)]
    assert [(tick, frame.index) for tick, frame in ticks(frames, fps)] == [(i, i) for i in range(n)]


increasing = st.lists(st.floats(1e-4, 2.0), min_size=1, max_size=60).map(
    lambda steps: [At(i, 3.0 + sum(steps[:i])) for i in range(len(steps))]
)


@given(increasing, st.floats(0.5, 60))
def test_variable_rate_shows_the_latest_frame(frames, fps):
    shown = list(ticks(frames, fps))
    assert [tick for tick, _ in shown] == list(range(len(shown)))
    indices = [frame.index for _, frame in shown]
    assert indices == sorted(indices)
    assert indices[-1] == len(frames) - 1
    start, slack = frames[0].time_s, 1e-6
    for tick, frame in shown:
        deadline = start + (tick + 0.5) / fps
        assert frame.time_s <= deadline + slack
        assert all(later.time_s > deadline - slack for later in frames[frame.index + 1 :])
    whole = (frames[-1].time_s - start) * fps
    assert abs(len(shown) - 1 - whole) <= 0.5 + 1e-6 * fps


def test_half_rate_repeats_and_double_rate_skips():
    slow = [At(i, i / 10) for i in range(5)]
    assert [frame.index for _, frame in ticks(slow, 20)] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    fast = [At(i, i / 30) for i in range(8)]
    assert [frame.index for _, frame in ticks(fast, 10)] == [1, 4, 7]


def test_ticks_hold_one_frame():
    taken = []

    def frames():
        for i in range(100):
            taken.append(i)
            yield At(i, i / 25)

    stream = ticks(frames(), 25)
    for tick, _ in stream:
        assert len(taken) <= tick + 2
        if tick == floor(50):
            break


def test_no_frames_no_ticks():
    assert list(ticks([], 25)) == []
