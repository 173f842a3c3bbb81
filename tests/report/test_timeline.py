"""Windows on the time axis: where they lie, how they overlap, what many of them become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.report.timeline import MAX_BLOCKS, Span, clock, lay_out, make_axis


def make_spans(count: int, stride_s: float = 1.0, length_s: float = 1.0) -> list[Span]:
    starts = [i * stride_s for i in range(count)]
    return [Span(i, t, t + length_s, 16, 16, 0, ok=True) for i, t in enumerate(starts)]


def test_windows_tile_the_axis() -> None:
    layout = lay_out(make_spans(4), make_axis(0, 4))
    assert [(block.left, block.width) for block in layout.blocks] == [
        (0, 25), (25, 25), (50, 25), (75, 25),
    ]  # fmt: skip
    assert (layout.lanes, layout.share) == (1, 1)
    assert all(block.used == 1 and block.pad == 0 for block in layout.blocks)


def test_padding_takes_the_time_of_the_missing_frames() -> None:
    span = Span(0, 0.0, 1.0, 16, 8, 0, ok=True)
    assert span.padded_end_s == 2.0
    block = lay_out([span], make_axis(0, 2)).blocks[0]
    assert (block.left, block.width, block.pad) == (0, 50, 50)
    assert "8 frames of padding" in block.title


def test_interpolated_frames_and_windows_without_features() -> None:
    spans = [Span(0, 0, 1, 16, 16, 4, ok=True), Span(1, 1, 2, 16, 16, 0, ok=False)]
    first, second = lay_out(spans, make_axis(0, 2)).blocks
    assert first.interpolated == 0.25
    assert "4 of 16 frames interpolated" in first.title
    assert second.used == 0
    assert "not used" in second.title


@pytest.mark.parametrize(
    ("stride_s", "lanes"), [(1.0, 1), (0.97, 1), (0.5, 2), (0.3, 3), (0.01, 3)]
)
def test_overlapping_windows_part_into_lanes(stride_s: float, lanes: int) -> None:
    layout = lay_out(make_spans(9, stride_s), make_axis(0, 10))
    assert layout.lanes == lanes
    assert {block.lane for block in layout.blocks} == set(range(lanes))


def test_many_windows_share_blocks() -> None:
    spans = make_spans(10_000)
    layout = lay_out(spans, make_axis(0, 10_000))
    assert len(layout.blocks) <= MAX_BLOCKS
    assert layout.share * len(layout.blocks) >= 10_000
    assert sum(block.width for block in layout.blocks) == pytest.approx(100, abs=0.5)
    assert layout.blocks[0].title == "windows 0 to 83: 0.00 to 1:24.00 s, 84 of 84 used"


@given(st.floats(0, 1e5), st.floats(0.05, 1e5))
def test_ticks_are_few_round_and_on_the_axis(start_s: float, length_s: float) -> None:
    axis = make_axis(start_s, start_s + length_s)
    assert 2 <= len(axis.ticks) <= 9
    assert all(-0.01 <= left <= 100.01 for left, _ in axis.ticks)
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)
    assert not any(text.startswith("-") for _, text in axis.ticks)


def test_axis_of_no_length_and_late_start() -> None:
    assert make_axis(0, 0).end_s == 1
    assert make_axis(0.1, 10).start_s == 0
    assert make_axis(100, 110).start_s == 100


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0.00"), (1.239, "1.24"), (59.99, "59.99"), (60, "1:00.00"), (59.999, "1:00.00"),
     (65.5, "1:05.50"), (3599.996, "1:00:00.00"), (3723.04, "1:02:03.04")],
)  # fmt: skip
def test_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_clock_of_coarse_ticks() -> None:
    assert [clock(t, 30) for t in (0, 30, 90, 7200)] == ["0", "30", "1:30", "2:00:00"]
