"""What a run tells, also after it was killed or the disk was full."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from openmarlin.errors import InputError
from openmarlin.training.log import (
    LOG_FILE,
    METRICS_FILE,
    TENSORBOARD,
    Pace,
    RunLog,
    forget_after,
    read_metrics,
)


def opened(path: Path, done: int = 0, total: int = 10) -> RunLog:
    return RunLog(path, "toy", done, total, progress=False)


def test_rows_are_on_disk_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.row(1, {"loss": 0.1 + 0.2})
        assert read_metrics(tmp_path / METRICS_FILE) == [{"step": 1, "loss": 0.1 + 0.2}]
        log.row(2, {"val_rec": 0.5})
    assert (tmp_path / METRICS_FILE).read_text().count("\n") == 2


def test_tensorboard_shows_the_same_and_forgets_what_is_done_again(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for step in range(1, 6):
            log.row(step, {"loss": 1.0 / step})
    with opened(tmp_path, done=3) as log:
        log.row(4, {"loss": 0.75})
    events = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload().Scalars("loss")
    found = [(event.step, round(event.value, 6)) for event in events]
    assert found == [(1, 1.0), (2, 0.5), (3, 0.333333), (4, 0.75)]
    assert [row["step"] for row in read_metrics(tmp_path / METRICS_FILE)] == [1, 2, 3, 4]


@pytest.mark.parametrize("rest", ["", '{"step": 3, "lo', '{"step": 3, "loss": 1.0}'])
def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path, rest: str) -> None:
    file = tmp_path / METRICS_FILE
    file.write_text('{"step": 1}\n{"step": 2}\n' + rest)
    whole = rest.endswith("}")
    assert [row["step"] for row in read_metrics(file)] == [1, 2, 3][: 3 if whole else 2]
    forget_after(file, 2)
    assert file.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_nothing_to_forget(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / METRICS_FILE) == []
    forget_after(tmp_path / METRICS_FILE, 0)
    assert (tmp_path / METRICS_FILE).read_text() == ""


def test_the_log_holds_what_was_said_and_why_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        with opened(tmp_path) as log:
            log.say("[hello]")
            raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        fails()
    with opened(tmp_path) as log:
        log.write("again")
    lines = (tmp_path / LOG_FILE).read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["[hello]", "ValueError: so", "again"]
    time.strptime(lines[0][:19], "%Y-%m-%d %H:%M:%S")
    assert capsys.readouterr().err.strip() == ""


def test_only_who_shows_progress_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path, "toy", 0, 5, progress=True) as log:
        log.say("[hello]")
        log.advance(3, "rec 0.1")
    assert "[hello]" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["_metrics", "_log", "_events"])
def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Full:
        def no_space(self, *_: Any) -> None:
            raise OSError(28, "No space left on device")

        write = flush = close = add_scalar = no_space

    log = opened(tmp_path)
    getattr(log, name).close()
    monkeypatch.setattr(log, name, Full())

    def use() -> None:
        with log:
            log.row(1, {"loss": 0.5})
            log.write("text")

    with pytest.raises(InputError) as caught:
        use()
    assert str(caught.value).startswith(f"cannot write {tmp_path}")
    assert str(caught.value).endswith("No space left on device; make room and resume")


def test_pace_counts_clips_and_leaves_pauses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(8)
    with pace.waiting():
        passes(1)
    passes(3)
    pace.steps += 2
    with pace.pausing():
        passes(100)
    assert pace.seconds == pytest.approx(4)
    assert pace.clips_per_s == pytest.approx(2 * 8 / 4)
    assert pace.wait_share == pytest.approx(0.25)
    pace.restart()
    passes(2)
    assert (pace.clips_per_s, pace.wait_share) == (0, 0)


def test_rows_are_plain_json(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.row(3, {"loss": 1e-9, "epoch": 0.5})
    (line,) = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert json.loads(line) == {"step": 3, "loss": 1e-9, "epoch": 0.5}
