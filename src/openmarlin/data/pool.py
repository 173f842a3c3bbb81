"""Work spread over processes, where an item that kills its process costs nothing but itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from openmarlin.errors import InputError, OpenMarlinError, option

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
            yield item, _call(task, item)
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


def _call(task: Callable[[Item], Result], item: Item) -> Result | BaseException:
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
        workers, mp_context=context, initializer=_begin_worker, initargs=(theirs,)
    )
    running: dict[Future[Result | BaseException], Item] = {}
    broken = False
    try:
        while running or (todo and not broken):
            while todo and not broken and len(running) < 2 * workers:
                try:
                    running[pool.submit(_call, task, todo[0])] = todo[0]
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


def _begin_worker(parent: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when its end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            parent.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
