"""A sample of what benchmarks/trust_*.py try in the thousands; see docs/trust.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.trust_kill import EQUAL, TOO_LATE
from benchmarks.trust_limits import MEMORY, Limits
from benchmarks.trust_requests import TARGETS, Requests
from benchmarks.trust_runs import JOBS, Setup, Tally, start
from benchmarks.trust_videos import VideoFuzz


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust")


@pytest.fixture(scope="module")
def limits(folder: Path) -> Limits:
    return Limits(folder / "limits")


@pytest.mark.parametrize("verb", ["extract", "prepare"])
def test_damaged_videos_are_read_or_listed_and_cost_no_other(verb: str, tmp_path: Path) -> None:
    tally = Tally(tmp_path / "tried.jsonl")
    VideoFuzz(tmp_path).batch(verb, range(300, 316), tally)
    assert tally.faults == []
    assert len(tally.tried) == 16
    assert len({one.outcome for one in tally.tried.values()}) == 3


def test_damaged_tables_recipes_models_and_stores_are_one_line(tmp_path: Path) -> None:
    requests, tally = Requests(tmp_path), Tally(tmp_path / "tried.jsonl")
    requests.check_good()
    requests.batch(range(2 * len(TARGETS)), tally)
    assert tally.faults == []
    assert len(tally.tried) == 2 * len(TARGETS)


@pytest.mark.parametrize("verb", JOBS)
def test_a_killed_run_goes_on_to_what_an_undisturbed_one_leaves(verb: str, limits: Limits) -> None:
    tried = limits.kills.try_one(verb, 1)
    assert [one.fault for one in tried] == [""] * len(tried)
    assert {one.outcome for one in tried} <= {EQUAL, TOO_LATE}


@pytest.mark.parametrize(
    ("verb", "share"), [("extract", 0.2), ("prepare", 0.02), ("pretrain", 0.4)]
)
def test_a_full_disk_is_one_line_and_nothing_is_lost(
    verb: str, share: float, limits: Limits
) -> None:
    said, fault = _disk(lambda: limits.full_disk(verb, share))
    assert fault == ""
    assert "No space left on device" in said


def test_a_disk_that_cannot_be_written_is_one_line(limits: Limits) -> None:
    said, fault = _disk(lambda: limits.read_only_output("predict"))
    assert fault == ""
    assert "Read-only file system" in said
    said, fault = _disk(lambda: limits.read_only_rest("extract"))
    assert fault == ""
    assert "TMPDIR" in said


def test_a_clip_needs_no_more_than_two_gigabytes(clips: Path, tmp_path: Path) -> None:
    words = ["extract", clips / "single_face.mp4", "--out", tmp_path / "out"]
    end = start(words, tmp_path, Setup(MEMORY)).wait(250)
    assert (end.fault(), end.code) == ("", 0)
    assert 0 < end.peak_mib < MEMORY >> 20


def _disk(call: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    try:
        return call()
    except PermissionError as error:
        pytest.skip(f"this user may not mount a disk: {error}")
