"""Processes: what one item does to its own is not felt by the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmarlin.data.pool import WorkerDiedError, run_each
from openmarlin.errors import InputError


def work(item: str) -> str:
    if item == "raise":
        raise ValueError("no")
    if item == "full":
        raise InputError("cannot write a.txt: No space left on device")
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.startswith("/"):
        Path(item).write_text(str(os.getpid()))
        time.sleep(60)
    return item.upper()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_exceptions(workers: int) -> None:
    got = dict(run_each(work, ["a", "raise", "b"], workers))
    assert (got["a"], got["b"]) == ("A", "B")
    assert isinstance(got["raise"], ValueError)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_it_all(workers: int) -> None:
    done = []
    with pytest.raises(InputError, match="No space left"):
        done += [item for item, _ in run_each(work, ["full", "a", "b", "c", "d", "e"], workers)]
    assert len(done) < 5


def test_a_dead_process_costs_its_item_only() -> None:
    items = ["a", "die", "b", "c", "d", "e", "f"]
    got = dict(run_each(work, items, 2))
    assert list(map(str, got.values())).count("the process died") == 1
    assert isinstance(got.pop("die"), WorkerDiedError)
    assert got == {item: item.upper() for item in items if item != "die"}


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


def _wait_for(condition: object) -> None:
    end = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_leaving_early_ends_the_processes(tmp_path: Path) -> None:
    items = ["a", str(tmp_path / "x"), str(tmp_path / "y")]
    for item, _ in run_each(work, items, 2):
        assert item == "a"
        _wait_for(lambda: any(file.read_text() for file in tmp_path.iterdir()))
        break
    # The generator is closed here: nothing waits for a minute.
    _wait_for(lambda: all(_gone(int(file.read_text())) for file in tmp_path.iterdir()))


def test_no_orphans_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    target = tmp_path / "pid"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_pool import work\nfrom openmarlin.data.pool import run_each\n"
        f"if __name__ == '__main__':\n    list(run_each(work, [{str(target)!r}], 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    _wait_for(lambda: target.exists() and target.read_text())
    parent.kill()
    parent.wait()
    _wait_for(lambda: _gone(int(target.read_text())))
