"""Processes that do the work of the page, one task at a time each.

A task is a function of a module. It is stopped by ending its process; the next one begins while
the user still looks at what was cancelled.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from openmarlin.console import console
from openmarlin.data.pool import begin_worker
from openmarlin.errors import OpenMarlinError
from openmarlin.native import return_large_blocks
from openmarlin.video.watch import Tell, watching

_LOOK_S = 0.1  # between two looks at whether a task has been cancelled
_TOLD_S = 0.2  # between two messages on how far it is


class CancelledError(Exception):
    """The user does not want it any more."""


class WorkError(OpenMarlinError):
    """A task came to nothing; one line for the user."""


class Worker:
    """One process, begun again whenever a task has been stopped or has killed it."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._lives, watched = context.Pipe(duplex=False)[::-1]
        self._process = context.Process(target=_serve, args=(theirs, watched), daemon=False)
        self._process.start()
        theirs.close()
        watched.close()

    def run(
        self, task: Callable[..., Any], *args: Any, folder: Path, stop: Event, tell: Tell
    ) -> Any:
        """What the task returns.

        Args:
            task: a function of a module.
            args: its arguments, which must pickle, as must what it returns.
            folder: where it may put temporary files; whoever runs it clears it away.
            stop: ends it when set.
            tell: called here with how far videos are read.

        Raises:
            CancelledError: `stop` was set.
            WorkError: it failed, or killed its process.
        """
        try:
            self._ours.send((task, args, folder))
            while True:
                while not self._ours.poll(_LOOK_S):
                    if stop.is_set():
                        raise CancelledError
                kind, value = self._ours.recv()
                if kind == "read":
                    tell(*value)
                elif kind == "done":
                    return value
                else:
                    raise WorkError(value)
        except CancelledError:
            self.end()
            self._begin()
            raise
        except (EOFError, OSError):
            self.end()
            self._begin()
            raise WorkError(
                "the process that read it died: out of memory, or a fault in a codec"
            ) from None

    def end(self) -> None:
        """End the process, and what it is doing."""
        self._process.kill()
        self._process.join()
        self._ours.close()
        self._lives.close()


class Workers:
    """Several of them; a task takes one that is free, or waits for one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._all = [Worker() for _ in range(count)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    @contextmanager
    def one(self) -> Iterator[Worker]:
        """A worker that nobody else has."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def warm_up(self, task: Callable[..., Any], folder: Path) -> None:
        """Let every worker run a task, without waiting for it."""
        for _ in range(self.count):
            Thread(target=self._run_quietly, args=(task, folder), daemon=True).start()

    def _run_quietly(self, task: Callable[..., Any], folder: Path) -> None:
        with self.one() as worker:
            try:
                worker.run(task, folder=folder, stop=Event(), tell=lambda _now_s, _end_s: None)
            except WorkError as error:
                console.print(f"[yellow]note[/] {error}")

    def end(self) -> None:
        """End them all."""
        for worker in self._all:
            worker.end()


def _serve(tasks: Connection, watched: Connection) -> None:
    """The life of a worker."""
    begin_worker(watched)
    return_large_blocks()
    while True:
        try:
            task, args, folder = tasks.recv()
        except EOFError:
            return
        tempfile.tempdir = str(folder)
        with watching(_teller(tasks)):
            answer = _answer(task, args)
        tasks.send(answer)


def _answer(task: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", task(*args)
    except OpenMarlinError as error:
        return "failed", str(error)
    except Exception as error:  # noqa: BLE001 - one user's trouble is not the others'
        console.print(traceback.format_exc(), markup=False)
        return "failed", f"internal error, please report it: {error!r}"


def _teller(tasks: Connection) -> Tell:
    """Sends on what readers say, not too often."""
    told_at, lock = 0.0, Lock()  # several threads may read

    def tell(now_s: float, duration_s: float | None) -> None:
        nonlocal told_at
        with lock:
            if time.monotonic() - told_at > _TOLD_S:
                told_at = time.monotonic()
                tasks.send(("read", (now_s, duration_s)))

    return tell
