"""What a run writes as it goes: rows of metrics, TensorBoard events, a log, a progress bar.

metrics.jsonl has one JSON object a line, in the order of steps: `step` counts finished steps; rows
of training hold the losses of that very step, rows of validation its metrics.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.markup import escape
from torch.utils.tensorboard import SummaryWriter

from openmarlin.console import console, job_progress
from openmarlin.errors import InputError
from openmarlin.files import atomic

METRICS_FILE, LOG_FILE, TENSORBOARD = "metrics.jsonl", "log.txt", "tensorboard"
FILES = (METRICS_FILE, LOG_FILE, TENSORBOARD)


class RunLog:
    """Writes to a run folder as training goes.

    Args:
        path: the run folder.
        name: of the task, for the bar.
        done: finished steps of an earlier sitting; what it said of later ones is forgotten.
        total: steps of the whole run.
        progress: show a bar on the terminal.
    """

    def __init__(self, path: Path, name: str, done: int, total: int, *, progress: bool) -> None:
        self._path = path
        forget_after(path / METRICS_FILE, done)
        self._metrics = (path / METRICS_FILE).open("a", encoding="utf-8")
        self._log = (path / LOG_FILE).open("a", encoding="utf-8")
        self._events = SummaryWriter(str(path / TENSORBOARD), purge_step=done + 1)
        self._bar = job_progress("steps")
        self._bar.disable = self._bar.disable or not progress
        self._task = self._bar.add_task(name, total=total, completed=done, note="")
        self._speaks = progress

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if error is not None:
            with suppress(InputError):
                self.write(f"{type(error).__name__}: {error}")
        for file in (self._metrics, self._log, self._events):
            with suppress(OSError):  # a full disk, reported before; rows are flushed
                file.close()

    def row(self, step: int, values: dict[str, Any]) -> None:
        """A row of metrics, flushed: a killed run loses none.

        Raises:
            InputError: the disk is full.
        """
        with self._writing(METRICS_FILE):
            self._metrics.write(json.dumps({"step": step, **values}) + "\n")
            self._metrics.flush()
        with self._writing(TENSORBOARD):
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def advance(self, step: int, note: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step, note=note)

    def say(self, text: str) -> None:
        """A line for the terminal and the log."""
        self.write(text)
        if self._speaks:
            console.print(escape(text), soft_wrap=True)

    def write(self, text: str) -> None:
        """A line for the log alone."""
        with self._writing(LOG_FILE):
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"cannot write {self._path / name}: {reason}; make room and resume"
            ) from None


class Pace:
    """Speed since the last restart, and the share of the time that went into waiting for data."""

    def __init__(self, clips_a_step: int) -> None:
        self.clips_a_step = clips_a_step
        self.restart()

    def restart(self) -> None:
        self.start, self.steps, self.waited = time.perf_counter(), 0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """What is done meanwhile is not training."""
        start = time.perf_counter()
        yield
        self.start += time.perf_counter() - start

    @property
    def seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self.start)

    @property
    def clips_per_s(self) -> float:
        return self.steps * self.clips_a_step / self.seconds

    @property
    def wait_share(self) -> float:
        return self.waited / self.seconds


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a run; a last one that a killed process left unfinished is left out."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def forget_after(path: Path, step: int) -> None:
    """Drop rows of steps after `step`: they will be computed again."""
    rows = read_metrics(path)
    with atomic(path) as part:
        kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
        part.write_text("".join(kept), encoding="utf-8")
