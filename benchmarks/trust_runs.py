"""The command line in processes that are watched, limited and killed, for the trust measurements.

    run = start(["extract", "clips", "--out", "out"], folder)
    end = run.wait(600)

Each run is a fork of a server that has imported everything and run nothing: it is the process that
`openmarlin ...` is after its imports, without their seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

JOBS = ("extract", "predict", "prepare", "pretrain")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["openmarlin.cli", *(f"openmarlin.jobs.{job}" for job in JOBS)])

CRASHED = 70
"""Exit code of a run that ended with a traceback; Python's own, 1, means failed inputs here."""

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
_WRITES = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Setup:
    """What a run may do.

    Attributes:
        data_bytes: private memory that each of its processes may write to (RLIMIT_DATA).
        cpu_s: seconds of processor time of each of its processes.
        kill_at: before the change of this number in `watched` all its processes are killed.
        watched: the folder whose changes are counted: files opened to write, moved, removed.
    """

    data_bytes: int | None = None
    cpu_s: int | None = None
    kill_at: int | None = None
    watched: Path | None = None


@dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes:
        code: exit code; of a signal its number, negative; None after the time limit.
        log: what it said on both outputs.
        peak_mib: most memory that was resident, of one of its processes; 0 where it was killed.
        changes: how many were counted; 0 where it was killed.
        wall_s: how long it took.
    """

    code: int | None
    log: str
    peak_mib: float = 0.0
    changes: int = 0
    wall_s: float = 0.0

    @property
    def line(self) -> str:
        """The error that it ended with; empty without one."""
        lines = [line for line in self.log.splitlines() if line.startswith("error ")]
        return lines[-1] if lines else ""

    def fault(self) -> str:
        """What no run may end with: a crash, a hang, a traceback, an error without its one line."""
        if self.code is None:
            return "hang: time limit"
        if self.code in (-signal.SIGXCPU, -signal.SIGKILL):
            return "hang: limit of processor time"
        if self.code < 0:
            return f"crash: {signal.Signals(-self.code).name}"
        if "Traceback" in self.log or self.code not in (0, 1, 2):
            return f"traceback: {last_line(self.log)}"
        if self.code == 2 and self.log.count("\nerror ") + self.log.startswith("error ") != 1:
            return f"no single line: {last_line(self.log)}"
        return ""


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:300]


@dataclass
class Run:
    """A run under way."""

    process: Any
    log: Path
    report: Path
    began: float = field(default_factory=time.monotonic)

    def kill(self) -> None:
        """End it and every process that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet, or is gone
            self.process.kill()

    def wait(self, limit_s: float) -> End:
        """Wait for its end; after the limit it is killed."""
        self.process.join(limit_s)
        late = self.process.exitcode is None
        if late:
            self.kill()
            self.process.join()
        wall_s = time.monotonic() - self.began
        facts = json.loads(self.report.read_text()) if self.report.is_file() else {}
        log = self.log.read_text("utf-8", "replace") if self.log.is_file() else ""
        return End(None if late else self.process.exitcode, log, wall_s=wall_s, **facts)


def start(
    words: Sequence[str | Path], folder: Path, setup: Setup | None = None, name: str = "run"
) -> Run:
    """Start `openmarlin WORDS`.

    Args:
        words: of the command line.
        folder: gets NAME.log, and `temp`, which the run takes for its temporary files.
        setup: what it may do.
        name: of the run.
    """
    (folder / "temp").mkdir(parents=True, exist_ok=True)
    log, report = folder / f"{name}.log", folder / f"{name}.json"
    for old in (log, report):
        old.unlink(missing_ok=True)
    arguments = ([str(word) for word in words], folder / "temp", log, report, setup or Setup())
    process = CONTEXT.Process(target=_run, args=arguments)
    process.start()
    return Run(process, log, report)


def _run(words: list[str], temp: Path, log: Path, report: Path, setup: Setup) -> None:
    os.setsid()  # killed as one
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temp)
    limit(setup)
    changes = Changes(setup.watched, setup.kill_at)
    if setup.watched is not None:
        sys.addaudithook(changes)
    code = command_line(words)
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    facts = {"peak_mib": max(use.ru_maxrss for use in uses) / 1024, "changes": changes.count}
    report.write_text(json.dumps(facts))
    sys.exit(code)


def limit(setup: Setup) -> None:
    """Put the limits of a setup on this process and what it starts."""
    if setup.data_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (setup.data_bytes,) * 2)
    if setup.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (setup.cpu_s, setup.cpu_s + 5))


def command_line(words: Sequence[str]) -> int:
    """The exit code of `openmarlin WORDS` in this process; a traceback ends with `CRASHED`."""
    from openmarlin.cli import main

    sys.argv = ["openmarlin", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - this is what is looked for
        traceback.print_exc()
        return CRASHED
    return 0


@dataclass
class Changes:
    """An audit hook that counts changes below a folder, and kills before one of them."""

    folder: Path | None
    kill_at: int | None
    count: int = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if not flags & _WRITES:
                return
        elif event not in _CHANGES:
            return
        if not str(arguments[0]).startswith(str(self.folder)):
            return
        self.count += 1
        if self.count == self.kill_at:
            os.killpg(0, signal.SIGKILL)


def leftovers(*folders: Path) -> list[str]:
    """Temporary files that a run has left: hidden ones but the lock, anything in a `temp`."""
    return sorted(
        str(path.relative_to(folder))
        for folder in folders
        for path in folder.rglob("*")
        if folder.name == "temp" or (path.name.startswith(".") and path.name != ".lock")
    )


@dataclass(frozen=True)
class Tried:
    """One thing that was tried, and what came out: a line of a file that says how far a run got.

    Attributes:
        key: unique; what has a line is not tried again.
        group: row of the table.
        kind: column, or a second part of the row.
        outcome: one of those of the table.
        fault: what went wrong; empty where nothing did.
    """

    key: str
    group: str
    kind: str
    outcome: str
    fault: str = ""


class Tally:
    """What has been tried, in a file of JSON lines that a later run goes on with."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        self.path, self.tried = path, {t.key: t for t in (Tried(**json.loads(x)) for x in lines)}

    def __contains__(self, key: str) -> bool:
        return key in self.tried

    def add(self, tried: Iterable[Tried]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for one in tried:
                self.tried[one.key] = one
                file.write(json.dumps(asdict(one)) + "\n")

    @property
    def faults(self) -> list[Tried]:
        return [one for one in self.tried.values() if one.fault]
