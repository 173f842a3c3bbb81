"""Verbs on a real Ray of two workers, one of them killed: the folder is as of one machine."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from openmarlin.data.pool import open_pool
from openmarlin.jobs.extract import extract
from openmarlin.jobs.faces import faces
from openmarlin.jobs.predict import predict
from openmarlin.jobs.prepare import prepare

CLIPS = ("signer_yes.mkv", "signer_help.mkv", "signer_thanks.mkv", "signer_again.mkv")
BROKEN = "broken.mp4"
COMMAND_LINE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.argv = ["openmarlin", *sys.argv[1:]]
from openmarlin.cli import main
main()
"""


@pytest.fixture(scope="module")
def videos(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips with a face, and a file that cannot be read."""
    folder = tmp_path_factory.mktemp("videos")
    for name in CLIPS:
        shutil.copy(clips / name, folder)
    (folder / BROKEN).write_bytes(b"no video" * 1000)
    return folder


@pytest.fixture(scope="module")
def features(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a single machine extracts."""
    out = tmp_path_factory.mktemp("alone") / "out"
    extract(videos, out=out, workers=1)
    return out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of two workers; verbs that find this process connected use it."""
    with open_pool(2, 100, ray="local", out=tmp_path_factory.mktemp("none")):
        yield


class Killer(threading.Thread):
    """Kills one worker with SIGKILL while it has a video in hand.

    Args:
        out: the folder of the run; the first part in it is waited for.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.killed = out, 0

    def run(self) -> None:
        end = time.monotonic() + 200
        while time.monotonic() < end and not self.killed:
            tries = [file for file in self.out.glob(".ray-*/*") if file.name != "0"]
            if tries:  # a worker is at another than the first video
                workers = [p for p in psutil.Process().children(recursive=True) if _is_busy(p)]
                for worker in workers[:1]:
                    worker.kill()
                    self.killed = worker.pid
            time.sleep(0.02)


def _is_busy(process: psutil.Process) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return title.startswith("ray::MapWorker") and "submit" in title


def same_tables(first: Path, second: Path) -> None:
    """Bit-equal, NaN too, in the same order."""
    one, other = pq.read_table(first), pq.read_table(second)
    assert one.schema.equals(other.schema)
    for name in one.column_names:
        assert repr(one[name].to_pylist()) == repr(other[name].to_pylist()), name


def same_files(first: Path, second: Path, *patterns: str) -> None:
    names = [{f.name for p in patterns for f in folder.glob(p)} for folder in (first, second)]
    assert names[0] == names[1] != set()
    for name in names[0]:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_extract_with_a_killed_worker(
    cluster: None, videos: Path, features: Path, tmp_path: Path
) -> None:
    killer = Killer(tmp_path / "out")
    killer.start()
    result = extract(videos, out=tmp_path / "out", ray="auto", workers=2)
    killer.join()
    assert killer.killed
    assert list(result.failures) == [str(videos / BROKEN)]
    same_tables(features / "features.parquet", tmp_path / "out" / "features.parquet")
    same_files(features, tmp_path / "out", "failures.csv")
    assert result.meta["counts"]["videos_done"] == len(CLIPS)
    assert not list((tmp_path / "out").glob(".ray-*"))


def test_a_run_goes_on_with_ray_and_without(
    cluster: None, videos: Path, features: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(features, tmp_path / "out")
    _lose(out, 2)
    kept = _times(out)
    extract(videos, out=out, resume=True, ray="auto", workers=1)
    same_tables(features / "features.parquet", out / "features.parquet")
    assert kept.items() <= _times(out).items()
    _lose(out, 1)
    extract(videos, out=out, resume=True, workers=1)
    same_tables(features / "features.parquet", out / "features.parquet")
    same_files(features, out, "failures.csv")


def _lose(out: Path, parts: int) -> None:
    """As if the run had been killed before the last parts and the table."""
    (out / "features.parquet").unlink()
    for part in sorted((out / "parts").glob("*.parquet"))[-parts:]:
        part.unlink()


def _times(out: Path) -> dict[str, int]:
    return {f.name: f.stat().st_mtime_ns for f in (out / "parts").glob("*.parquet")}


def both(verb: Callable[..., Any], videos: Path, folder: Path, **settings: Any) -> tuple[Any, Any]:
    """The results of a single machine, in `alone`, and of two workers, in `ray`."""
    alone = verb(videos, out=folder / "alone", workers=1, **settings)
    return alone, verb(videos, out=folder / "ray", workers=2, ray="auto", **settings)


def test_faces(cluster: None, videos: Path, tmp_path: Path) -> None:
    alone, spread = both(faces, videos, tmp_path, points=True, limit_seconds=1.0)
    assert alone.meta["counts"] == spread.meta["counts"]
    same_tables(tmp_path / "alone" / "faces.parquet", tmp_path / "ray" / "faces.parquet")
    same_files(tmp_path / "alone", tmp_path / "ray", "failures.csv")


def test_prepare(cluster: None, videos: Path, tmp_path: Path) -> None:
    settings = {"min_frames": 10, "limit_seconds": 1.0}
    alone, spread = both(prepare, videos, tmp_path, **settings)
    assert len(alone.store) == len(spread.store) == len(CLIPS)
    assert alone.store.tracks == spread.store.tracks
    same_files(tmp_path / "alone", tmp_path / "ray", "failures.csv", "*.shard", "shard*")


def test_predict(cluster: None, videos: Path, tmp_path: Path) -> None:
    alone, spread = both(predict, videos, tmp_path, limit_seconds=1.0)
    assert alone.windows.equals(spread.windows) or (
        repr(alone.windows.to_pylist()) == repr(spread.windows.to_pylist())
    )
    assert repr(alone.videos) == repr(spread.videos)
    same_files(tmp_path / "alone", tmp_path / "ray", "failures.csv", "predictions.csv")


@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_of_our_own(videos: Path, features: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", COMMAND_LINE, "extract", str(videos), "--out", str(out)]
    run = subprocess.Popen(
        [*command, "--workers", "1", "--ray", "local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while run.poll() is None and not list(out.glob("parts/*.parquet")):
        time.sleep(0.05)
    processes = psutil.Process(run.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in processes)
    run.send_signal(signal.SIGINT)
    log, _ = run.communicate(timeout=100)
    assert run.returncode == 130, log
    assert "--resume" in log
    assert "Traceback" not in log
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    assert not list(out.glob(".ray-*"))
    done = set(_times(out).items())
    assert 0 < len(done) < len(CLIPS)
    subprocess.run([*command, "--workers", "1", "--resume"], check=False, capture_output=True)
    assert done < set(_times(out).items())
    same_tables(features / "features.parquet", out / "features.parquet")
