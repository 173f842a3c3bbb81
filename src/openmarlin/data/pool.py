"""Work spread over workers, where an item that kills its worker costs nothing but itself.

    with open_pool(workers=2, items=len(rows)) as pool:
        for row, outcome in pool.run_each(task, rows): ...

The workers are processes of this machine, or of a Ray cluster (`data.ray_pool`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from openmarlin.errors import InputError, OpenMarlinError, option
from openmarlin.settings import setting
from openmarlin.storage import is_url

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """The process that worked on an item died: out of memory, or a fault in native code."""


def reason_of(error: BaseException) -> str:
    """Why an item came to nothing, in the one line that users get."""
    if isinstance(error, OpenMarlinError):
        return str(error)
    if isinstance(error, WorkerDiedError):
        return "the process that read it died: out of memory, or a fault in a codec"
    return f"internal error, please report it: {error!r}"


class Pool(Protocol):
    """Workers of any kind."""

    def run_each(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result | BaseException]]:
        """Yield (item, result or the exception raised) as they come, in any order.

        What `task` writes it must be able to write twice: an item whose worker died may be done
        again, even if it had been done.

        Args:
            task: a function of a module, perhaps with bound arguments. It may keep what it needs
                for every item (`functools.cache`): a worker does many.
            items: what to call it with.
        """
        ...


@dataclass(frozen=True)
class ProcessPool:
    """Processes of this machine; one worker is this process itself."""

    workers: int

    def run_each(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result | BaseException]]:
        """See `Pool`."""
        yield from run_each(task, items, min(self.workers, len(items)))


def ray_setting() -> Any:
    """The setting `ray` of the verbs that can spread their work over a cluster."""
    return setting(
        None,
        "Let a Ray cluster do the work: `auto`, its address HOST:PORT, or `local` for one of this "
        "machine (pip install 'openmarlin[ray]').",
        group="Output",
        free=True,
    )


@contextmanager
def open_pool(
    workers: int | None, items: int, *, ray: str | None = None, out: Path | None = None
) -> Iterator[Pool]:
    """The workers that settings ask for.

    Args:
        workers: how many; None for one a core.
        items: what there is to do; more workers than that are not started.
        ray: address of a Ray cluster, or `local`; None for processes.
        out: the folder that the workers of a cluster write to; it is there by the first item.

    Raises:
        InputError: a script without a main guard, no Ray, no cluster, or no folder.
    """
    if ray is None:
        count = min(workers or os.cpu_count() or 1, items)
        check_main_guard(count)
        yield ProcessPool(count)
        return
    if out is None or is_url(out):
        raise InputError(
            f"{option('ray', ray)} needs a folder as {option('out')}, one that all machines share, "
            f"not {out or 'nothing'}"
        )
    from openmarlin.data.ray_pool import ray_pool

    with ray_pool(ray, workers, out) as pool:
        yield pool


def run_each(
    task: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Yield (item, result or the exception raised) as they come, in any order.

    One worker is this process itself. More are spawned: they inherit nothing, so `task` and the
    items must pickle, and a script that calls this must guard its main module. They end with the
    iteration, and when this process dies, however it does.

    Args:
        task: a function of a module.
        items: what to call it with.
        workers: processes.

    Raises:
        InputError: an item raised it: nothing can be written, and the next would fare no better.
    """
    for item, outcome in _outcomes(task, items, workers):
        if isinstance(outcome, InputError):
            raise outcome
        yield item, outcome


def _outcomes(
    task: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | BaseException]]:
    if workers <= 1:
        for item in items:
            yield item, call(task, item)
        return
    todo = deque(items)
    while todo:
        suspects = []
        for item, outcome in _until_broken(task, todo, workers):
            if isinstance(outcome, BrokenProcessPool):
                suspects.append(item)
            else:
                yield item, outcome
        for suspect in suspects:  # one of them did it; alone, each answers for itself
            for item, outcome in _until_broken(task, deque([suspect]), 1):
                died = isinstance(outcome, BrokenProcessPool)
                yield item, WorkerDiedError("the process died") if died else outcome


def check_main_guard(workers: int) -> None:
    """Spawned processes import the caller's script, and would start processes themselves.

    Raises:
        InputError: the script has no main guard, and there is to be more than one worker.
    """
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if workers <= 1 or script is None or main.__spec__ is not None:  # nothing is imported again
        return
    try:
        guarded = "__name__" in Path(script).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return  # it is no source
    if not guarded:
        raise InputError(
            f"{script}: {workers} processes would each run it from the top; put what it does under "
            f"`if __name__ == '__main__':`, or give {option('workers', 1)}"
        )


def call(task: Callable[[Item], Result], item: Item) -> Result | BaseException:
    """What a task returns, or the exception that it raised."""
    try:
        return task(item)
    except Exception as error:  # noqa: BLE001 - the caller tells it
        return error


def _until_broken(
    task: Callable[[Item], Result], todo: deque[Item], workers: int
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Take items off `todo`, all or until a process dies; those under way then come out broken."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)[::-1]
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=begin_worker, initargs=(theirs,)
    )
    running: dict[Future[Result | BaseException], Item] = {}
    broken = False
    try:
        while running or (todo and not broken):
            while todo and not broken and len(running) < 2 * workers:
                try:
                    running[pool.submit(call, task, todo[0])] = todo[0]
                    todo.popleft()
                except BrokenProcessPool:
                    broken = True
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                error = future.exception()
                broken = broken or isinstance(error, BrokenProcessPool)
                yield running.pop(future), error or future.result()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)


def begin_worker(parent: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when its end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
