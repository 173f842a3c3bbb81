from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest

from openmarlin.video.reader import VideoReader
from openmarlin.web.tasks import check_clip, check_sound
from openmarlin.web.work import CancelledError, Worker, WorkError


def process_and_folder() -> tuple[int, str]:
    return os.getpid(), tempfile.gettempdir()


def die() -> None:
    os._exit(1)


def fail() -> None:
    raise ZeroDivisionError("of ours")


def count_frames(path: Path) -> int:
    return sum(1 for _ in VideoReader(path) if not time.sleep(0.02))


def nobody(_now_s: float, _end_s: float | None) -> None: ...


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker()
    yield one
    one.end()


def test_tasks_run_in_a_process_that_stays(worker: Worker, tmp_path: Path) -> None:
    first, folder = worker.run(process_and_folder, folder=tmp_path, stop=Event(), tell=nobody)
    again, _ = worker.run(process_and_folder, folder=tmp_path, stop=Event(), tell=nobody)
    assert first == again != os.getpid()
    assert folder == str(tmp_path)


def test_reading_is_told(worker: Worker, clips: Path, tmp_path: Path) -> None:
    told: list[tuple[float, float | None]] = []
    clip = clips / "two_people.mp4"
    n = worker.run(
        count_frames, clip, folder=tmp_path, stop=Event(), tell=lambda *one: told.append(one)
    )
    assert n == 56
    times = [now_s for now_s, _ in told]
    assert len(times) > 1
    assert times == sorted(times)
    assert told[0][1] == pytest.approx(4.7, abs=0.1)


def test_a_task_is_cancelled_and_the_next_one_runs(worker: Worker, tmp_path: Path) -> None:
    stop = Event()
    Timer(1.0, stop.set).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        worker.run(time.sleep, 600, folder=tmp_path, stop=stop, tell=nobody)
    assert time.monotonic() - began < 60
    assert worker.run(process_and_folder, folder=tmp_path, stop=Event(), tell=nobody)


def test_what_goes_wrong_is_one_line(worker: Worker, clips: Path, tmp_path: Path) -> None:
    long = clips / "two_people.mp4"
    silent = clips / "signer_yes.mkv"
    wrong = (
        ((die,), "died"),
        ((fail,), "internal error, please report it: ZeroDivisionError"),
        ((check_clip, long, 2.0), "two_people.mp4 lasts 5 s: this page takes 2 s at most"),
        ((check_clip, clips / "README.md", 2.0), "README.md"),
        ((check_sound, silent, 2.0), "signer_yes.mkv: there is no sound in it"),
        ((check_sound, clips / "face_then_none.mp4", 2.0), "this page takes 2 s at most"),
    )
    for (task, *args), line in wrong:
        with pytest.raises(WorkError, match=line.replace("(", r"\(")) as caught:
            worker.run(task, *args, folder=tmp_path, stop=Event(), tell=nobody)
        assert "\n" not in str(caught.value)
    assert worker.run(check_clip, long, 60.0, folder=tmp_path, stop=Event(), tell=nobody) > 4
