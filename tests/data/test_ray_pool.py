"""A real Ray on loopback: what one item does to its worker is not felt by the others."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from openmarlin.data.pool import Pool, WorkerDiedError, open_pool
from openmarlin.data.ray_pool import TRIES, _Worker
from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.native import usable_cores
from openmarlin.storage import locate


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def pool(out: Path) -> Iterator[Pool]:
    """Two workers of a cluster that this module has for itself."""
    with pytest.MonkeyPatch.context() as patch:
        here = str(Path(__file__).parent)  # the workers import this module
        patch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        with open_pool(2, 100, ray="local", out=out) as pool:
            yield pool


def test_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match="no Ray cluster answers"):
            _open(address, tmp_path)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match="no Ray cluster answers"):
            _open("auto", tmp_path)
        assert time.monotonic() - began < 30
    with pytest.raises(InputError, match="is not auto"):
        _open("ray://127.0.0.1:10001", tmp_path)


def test_without_ray_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="needs a folder"):
        _open("local", None)
    with pytest.raises(InputError, match="all machines share, not s3://bucket/out"):
        _open("local", locate("s3://bucket/out"))
    monkeypatch.setattr("openmarlin.data.ray_pool.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'openmarlin\[ray\]'"):
        _open("local", tmp_path)


def _open(address: str, out: Path | None) -> None:
    with open_pool(None, 1, ray=address, out=out):
        pass


@cache
def _kept() -> float:
    """What a worker makes once."""
    return time.perf_counter()


def work(item: str, notes: Path) -> tuple[str, int, float]:
    with (notes / f"{item}.tries").open("a") as file:
        file.write(".")
    if item == "raise":
        raise OpenMarlinError("no")
    if item == "odd":
        raise ValueError(lambda: None)  # does not pickle
    if item == "die" or (item == "once" and (notes / "once.tries").stat().st_size == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper(), os.getpid(), _kept()


def test_dead_workers_cost_nothing_but_the_item_that_kills_them(
    pool: Pool, tmp_path: Path, out: Path
) -> None:
    items = ["a", "once", "raise", "die", "odd", *"bcdefgh"]
    outcomes = list(pool.run_each(partial(work, notes=tmp_path), items))
    got = dict(outcomes)
    assert len(outcomes) == len(items)  # none twice, none lost
    assert isinstance(got["raise"], OpenMarlinError)
    assert isinstance(got["odd"], RuntimeError)
    assert isinstance(got["die"], WorkerDiedError)
    assert len((tmp_path / "die.tries").read_text()) == TRIES
    assert len((tmp_path / "once.tries").read_text()) == 2
    done = [got[name] for name in ["a", "once", *"bcdefgh"]]
    assert [letter for letter, _, _ in done] == ["A", "ONCE", *"BCDEFGH"]
    assert os.getpid() not in {pid for _, pid, _ in done}
    assert len({pid for _, pid, _ in done}) == len({kept for _, _, kept in done})
    assert not list(out.iterdir())


def where(item: str) -> tuple[str, int, str | None]:
    reports = os.environ.get("RAY_USAGE_STATS_ENABLED")
    return os.path.abspath(item), usable_cores(), reports  # noqa: PTH100


def test_a_worker_has_one_core_starts_where_the_run_does_and_reports_to_nobody(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dict(pool.run_each(where, ["a.mp4"])) == {"a.mp4": (str(tmp_path / "a.mp4"), 1, "0")}


def sleep(item: str, notes: Path) -> str:
    if item != "first":
        (notes / item).write_text(str(os.getpid()))
        time.sleep(60)
    return item


def test_leaving_early_ends_the_workers(pool: Pool, tmp_path: Path, out: Path) -> None:
    outcomes = pool.run_each(partial(sleep, notes=tmp_path), ["first", "second", "third"])
    assert next(outcomes) == ("first", "first")
    _wait_for(lambda: any(file.read_text() for file in tmp_path.iterdir()))
    outcomes.close()
    _wait_for(lambda: not any(_is_alive(int(f.read_text())) for f in tmp_path.iterdir()))
    assert not list(out.iterdir())


def test_nothing_to_do(pool: Pool) -> None:
    assert list(pool.run_each(where, [])) == []


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    batch = {"number": [0], "item": [pickle.dumps("a")]}
    worker = object.__new__(_Worker)
    worker.task, worker.unfit, worker.scratch = where, None, tmp_path / "not there"
    outcome = pickle.loads(worker(batch)["outcome"][0])
    assert isinstance(outcome, InputError)
    assert "cannot write to this folder" in str(outcome)


def full_disk(item: str) -> str:
    raise InputError(f"cannot write {item}: no space left on device")


def test_what_cannot_be_written_ends_the_run(pool: Pool) -> None:
    with pytest.raises(InputError, match="no space left"):
        list(pool.run_each(full_disk, ["a", "b"]))


class Elsewhere:
    """A task of a module that the workers do not have."""

    def __call__(self, item: str) -> str:
        return item

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return import_module, ("openmarlin.of_another_version",)


def test_workers_with_another_openmarlin_end_the_run(pool: Pool) -> None:
    with pytest.raises(InputError, match="has another openmarlin"):
        list(pool.run_each(Elsewhere(), ["a", "b"]))


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _wait_for(condition: object) -> None:
    end = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)
