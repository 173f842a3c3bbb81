"""Work spread over a Ray cluster: `data.pool.Pool` with workers on any of its machines.

Ray Data hands the items to actors, one at a time, and starts an actor that died anew. What workers
write goes into the folder of the run, which all machines must see; what they return comes here.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openmarlin.data.pool import Item, Result, WorkerDiedError, call
from openmarlin.errors import InputError, option
from openmarlin.native import limit_cores, return_large_blocks

TRIES = 3
"""An item whose worker died so often is given up: it is what kills them."""

_SCRATCH = ".ray-"
_CONNECT_S = 5.0
_STORE_BYTES = 128 << 20  # of a cluster of our own: items and outcomes are small
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray calls home otherwise
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_worker_niceness": "0",  # by itself Ray has workers wait for all else on the machine
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # a worker that died is told as what it means for its video
}


@contextmanager
def ray_pool(address: str, workers: int | None, out: Path) -> Iterator[RayPool]:
    """Connect to a cluster, or start one; a session that is there already is used, and stays.

    Args:
        address: `auto`, HOST:PORT, or `local` for a cluster of this machine that ends with the run.
        workers: at most; None for as many as the cluster has cores.
        out: folder that all machines see.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    if find_spec("ray") is None:
        raise InputError(f"{option('ray', address)} needs Ray: pip install 'openmarlin[ray]'")
    with _environment(_QUIET), _sigterm_kept():
        import ray

        ours = not ray.is_initialized()
        if ours:
            _connect(address, workers)
        try:
            yield RayPool(workers, out)
        finally:
            if ours:
                ray.shutdown()


class RayPool:
    """Actors of the cluster that this process is connected to; see `ray_pool`."""

    def __init__(self, workers: int | None, out: Path) -> None:
        self.workers, self.out = workers, out

    def run_each(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result | BaseException]]:
        """See `Pool`.

        Raises:
            InputError: the workers cannot write to the folder, or the cluster is lost.
        """
        for left in self.out.glob(f"{_SCRATCH}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not items:
            return
        with tempfile.TemporaryDirectory(
            prefix=_SCRATCH, dir=self.out, ignore_cleanup_errors=True
        ) as scratch:
            for number, outcome in self._outcomes(task, items, scratch):
                if isinstance(outcome, InputError):  # as `data.pool.run_each` does
                    raise outcome
                yield items[number], outcome

    def _outcomes(
        self, task: Callable[[Item], Result], items: Sequence[Item], scratch: str
    ) -> Iterator[tuple[int, Any]]:
        import ray.data
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayError

        context = DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        # An actor takes one item at a time, so a busy one is as full as it gets.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        with DataContext.current(context):
            rows = [
                {"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)
            ]
            compute = ActorPoolStrategy(
                min_size=1,
                max_size=min(self.workers or len(items), len(items)),
                max_tasks_in_flight_per_actor=1,
            )
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Worker,
                batch_size=1,
                num_cpus=1,
                compute=compute,
                fn_constructor_args=(pickle.dumps(task), scratch, Path.cwd()),
            )
            try:
                # Without batches that are fetched ahead, or a result waits for the one after it.
                for one in done.iter_batches(batch_size=1, prefetch_batches=0):
                    yield int(one["number"][0]), pickle.loads(one["outcome"][0])
            except RayError as error:
                raise InputError(
                    f"the Ray cluster gave up ({_last_line(error)}); what is done is kept: go on "
                    f"with {option('resume', True)}"
                ) from error


class _Worker:
    """An actor: it keeps what `task` keeps, nets and models, from one item to the next.

    Args:
        task: pickled.
        scratch: a folder in that of the run, in which the tries of items are counted; this run's
            alone, so that a worker sees it only where it sees what it is to see.
        folder: in which the run was started; relative paths start there.
    """

    def __init__(self, task: bytes, scratch: str, folder: Path) -> None:
        with suppress(OSError):  # a machine without it may do with absolute paths
            os.chdir(folder)
        return_large_blocks()
        limit_cores(1)
        self.scratch = Path(scratch)
        self.unfit: InputError | None = None
        try:
            self.task = pickle.loads(task)
        except (ImportError, AttributeError) as error:
            self.unfit = InputError(
                f"a Ray worker on {platform.node()} has another openmarlin ({error}): install the "
                "same on all machines of the cluster"
            )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """A batch of one: `number` and `item` -> `number` and `outcome`."""
        number = int(batch["number"][0])
        outcome = self.unfit or self._outcome(number, pickle.loads(batch["item"][0]))
        return {"number": [number], "outcome": [_pickled(outcome)]}

    def _outcome(self, number: int, item: Any) -> Any:
        """Ray tries an item again for ever if its worker dies; what is left of a try counts it."""
        tries = self.scratch / str(number)
        try:
            with tries.open("ab") as file:
                file.write(b".")
            count = tries.stat().st_size
        except OSError:
            return InputError(
                f"{self.scratch.parent}: a Ray worker on {platform.node()} cannot write to this "
                f"folder; put {option('out')} on a disk that all machines of the cluster share"
            )
        outcome = WorkerDiedError("the worker died") if count > TRIES else call(self.task, item)
        with suppress(OSError):
            tries.unlink()
        return outcome


def _pickled(outcome: Any) -> bytes:
    try:
        return pickle.dumps(outcome)
    except Exception:  # noqa: BLE001 - an exception may hold anything
        return pickle.dumps(RuntimeError(repr(outcome)))


def _connect(address: str, workers: int | None) -> None:
    """Start or join a cluster.

    Raises:
        InputError: there is none.
    """
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        with _silent():
            ray.init("local", num_cpus=workers or os.cpu_count(), **quiet)
        return
    where = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if where != "auto":
        _check_listens(address, where)
    try:
        with _silent():
            ray.init(where, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{option('ray', address)}: {_last_line(error)} (here and there the same version of "
            "Ray, and the same RAY_AUTH_MODE?)"
        ) from error


def _check_listens(address: str, where: str) -> None:
    """Ray itself waits for minutes where nothing is."""
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise InputError(
            f"{option('ray', address)}: '{where}' is not auto, local or HOST:PORT; run the command "
            "on a machine of the cluster (`ray job submit` does), and name it so"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InputError(
            f"{option('ray', address)}: no Ray cluster answers at {where} ({error}); start one "
            f"there with `ray start --head`, or use {option('ray', 'local')}"
        ) from None


def _last_line(error: BaseException) -> str:
    """What an error of Ray comes down to: before it there may be a traceback."""
    return (str(error).strip() or repr(error)).splitlines()[-1].strip()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that are set for a while; the user's own count more."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard error: the native part of Ray begins with a remark on its log level."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray handles SIGTERM while it runs; afterwards it is as it was."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
