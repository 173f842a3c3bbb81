"""The folder that a verb writes: may it, is what is there its own, may it go on?

OUT/config.yaml        the settings: a recipe that repeats the run
OUT/environment.json   verb, what else must be the same to go on, machine and versions by sitting
OUT/failures.csv       videos that failed, or could be read only in part, and why
OUT/.lock              one process at a time
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from filelock import FileLock, Timeout

from openmarlin.errors import InputError, option
from openmarlin.files import UNFINISHED, atomic, write_json
from openmarlin.machine import machine
from openmarlin.mirror import Mirror
from openmarlin.settings import Settings, read_recipe
from openmarlin.storage import RemotePath, absolute

CONFIG_FILE, ENVIRONMENT_FILE, FAILURES_FILE = "config.yaml", "environment.json", "failures.csv"
FAILURE_COLUMNS = ("video", "start_s", "end_s", "reason")
"""Of failures.csv; it has the bounds only where a part of a video failed."""

Part = tuple[float | None, float | None]
"""Start and end of a part of a video, seconds; None where that is the video's own."""

WHOLE: Part = (None, None)
_LOCK_FILE = ".lock"
_FLUSH_S = 5.0
_LOADERS_S = 15.0
"""A process that is killed leaves its loaders, which hold its lock until they look for it: up to 5
seconds."""


class OutputFolder:
    """The folder that a verb writes to: may it, is what is there its own, may it go on?

        with OutputFolder(out, verb="extract", settings=settings, files=[...]) as folder:
            ...  # what can still be wrong with the request; an earlier run is as it was
            folder.begin()

    Entering it keeps other processes out until it is left. `begin` removes an earlier run with
    `overwrite`, and writes down what this run is; without it a folder that was new goes again.

    Args:
        path: the folder; it is made where it is missing. Of a URL the folder is a copy on this
            machine, from which everything is uploaded (`mirror.Mirror`); nothing keeps other
            machines out of it.
        verb: whose results it holds.
        settings: of the verb; those that are not free must be the same when a run goes on.
        files: names and patterns of everything the verb writes; nothing else is ever removed.
        identity: what else must be the same when a run goes on, JSON values by name: the SHA-256
            of a model or store.
        resume: go on with the run that is there; where there is none, start one.
        overwrite: replace the run that is there.

    Attributes:
        path: the folder on this machine.
        resumed: there is an earlier run, and it goes on.
        failures: the list that becomes failures.csv.
    """

    def __init__(
        self,
        path: Path,
        *,
        verb: str,
        settings: Settings,
        files: Sequence[str],
        identity: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._mirror = Mirror(path) if isinstance(path, RemotePath) else None
        self._name = path
        self.path = path if self._mirror is None else self._mirror.folder
        self.verb, self.settings = verb, settings
        self.files, self.identity = [*files, CONFIG_FILE, FAILURES_FILE], dict(identity or {})
        self.resume, self.overwrite = resume, overwrite
        self.resumed = self._begun = self._new = False
        self.failures = Failures(self.path / FAILURES_FILE)
        self._lock = FileLock(self.path / _LOCK_FILE)

    def __enter__(self) -> Self:
        """Take the folder.

        Raises:
            InputError: it is a file, cannot be written, in use, holds something else or, without
                `resume` and `overwrite`, an earlier run; or that run had other settings.
        """
        self._acquire()
        try:
            self._check()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._begun:
                self.failures.flush()
                if self._mirror is not None:
                    self._mirror.end()
        finally:
            self._release()

    def begin(self) -> None:
        """Remove an earlier run unless it goes on, and write config.yaml and environment.json.

        What a process that was killed left half written goes, too.
        """
        self._sweep()
        sittings = self._record().get("sittings", []) if self.resumed else []
        if not self.resumed:
            self._clear()
        elif self._mirror is not None:
            self._mirror.fetch(self.files)
        with atomic(self.path / CONFIG_FILE) as part:
            text = yaml.safe_dump(self.settings.recipe(), sort_keys=False, allow_unicode=True)
            part.write_text(text, encoding="utf-8")
        record = {"verb": self.verb, "identity": self.identity, "sittings": [*sittings, machine()]}
        write_json(self.path / ENVIRONMENT_FILE, record)
        if self._mirror is not None:
            self._mirror.begin()
        self._begun = True

    @property
    def is_copy(self) -> bool:
        """The folder is a copy of one at a URL, in which something may be missing."""
        return self._mirror is not None

    def write_json(self, name: str, content: Any) -> Path:
        """A JSON file in the folder."""
        return write_json(self.path / name, content)

    def _acquire(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; name a folder")
        self._new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=_LOADERS_S if self.resume else 0)
        except Timeout:
            raise InputError(
                f"{self.path}: in use by another run; wait for it or name another folder"
            ) from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _release(self) -> None:
        if self._new and not self._begun:
            with suppress(OSError):  # something else may be in it by now
                (self.path / _LOCK_FILE).unlink(missing_ok=True)
                self.path.rmdir()
        self._lock.release()

    def _check(self) -> None:
        ours = {_LOCK_FILE, CONFIG_FILE}  # a run killed in its first moment leaves these
        names = self._names() - ours
        if all(name.endswith(UNFINISHED) for name in names):
            return
        if self._record().get("verb") != self.verb:
            raise InputError(
                f"{self._name}: not empty, and not made by `openmarlin {self.verb}`; name another "
                "folder"
            )
        if self.overwrite:
            return
        if not self.resume:
            raise InputError(
                f"{self._name}: an earlier run is there; add {option('resume', True)} to go on "
                f"with it, {option('overwrite', True)} to replace it, or name another folder"
            )
        self._compare()
        self.resumed = True

    def _names(self) -> set[str]:
        """What is in the folder; of a URL its settings and record are then here."""
        if self._mirror is None:
            return {file.name for file in self.path.iterdir()}
        self._mirror.fetch([CONFIG_FILE, ENVIRONMENT_FILE])
        return {name.partition("/")[0] for name in self._mirror.names()}

    def _compare(self) -> None:
        """Settings and identity of the earlier run are those of this one, none more or less."""
        free = set(self.settings.recipe()) - set(self.settings.recipe(free=False))
        today = {**self.settings.recipe(free=False), **self.identity}
        # A setting that did not exist yet had its default.
        before = type(self.settings).model_construct().recipe(free=False)
        before |= {**read_recipe(self.path / CONFIG_FILE), **self._record().get("identity", {})}
        changed = [
            f"{name} was {before.get(name)!r}, is {today.get(name)!r}"
            for name in {**before, **today}
            if name not in free and before.get(name) != today.get(name)
        ]
        if changed:
            raise InputError(
                f"{self._name}: made with other settings ({', '.join(changed)}); use the same, "
                f"{option('overwrite', True)}, or another folder"
            )

    def _record(self) -> dict[str, Any]:
        """What environment.json says; nothing where there is none."""
        file = self.path / ENVIRONMENT_FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            raise InputError(
                f"{file}: cannot be read; name another folder, or remove {self._name}"
            ) from None
        return content if isinstance(content, dict) else {}

    def _sweep(self) -> None:
        for left in sorted(self.path.rglob(f".*{UNFINISHED}")):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):  # in such a folder; or the disk may not be written to
                    left.unlink()

    def _clear(self) -> None:
        if self._mirror is not None:
            self._mirror.clear(self.files)
        for pattern in self.files:
            for old in self.path.glob(pattern):
                shutil.rmtree(old) if old.is_dir() else old.unlink()


def part_name(video: str, part: Part) -> str:
    """How a part of a video is shown, "a.mp4 [1.0 s to end]"; the video where it is whole."""
    if part == WHOLE:
        return video
    start, end = (None if bound is None else f"{bound} s" for bound in part)
    return f"{video} [{start or 'start'} to {end or 'end'}]"


def video_of(name: str) -> str:
    """The video of which `part_name` shows a part."""
    return re.sub(r" \[(start|[0-9.e+-]+ s) to (end|[0-9.e+-]+ s)\]$", "", name)


class Failures:
    """Videos, or parts of them, that failed and why, in the order in which they did.

    The file is written anew every few seconds at most: thousands of failures take no longer each
    than a few do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reasons: dict[tuple[str, Part], str] = {}
        self._written: list[tuple[tuple[str, Part], str]] | None = None
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, video: str | Path, reason: str, part: Part = WHOLE) -> None:
        """List a video or part; a later reason replaces an earlier one."""
        self._reasons[str(video), part] = " ".join(reason.split()).removeprefix(f"{video}: ")
        if time.monotonic() >= self._due:
            self.flush()

    def sort(self, order: Iterable[tuple[str | Path, Part]]) -> None:
        """Bring what is listed into the order of the inputs, whichever failed first."""
        place = {(str(video), part): number for number, (video, part) in enumerate(order)}
        listed = sorted(self._reasons, key=lambda key: place.get(key, len(place)))
        self._reasons = {key: self._reasons[key] for key in listed}

    def as_dict(self) -> dict[str, str]:
        """{video: reason}, videos as they were named; of parts see `part_name`."""
        return {part_name(*key): reason for key, reason in self._reasons.items()}

    def flush(self) -> None:
        """Write the file, if anything has changed. Its paths are absolute: it can be an input."""
        self._due = time.monotonic() + _FLUSH_S
        reasons = list(self._reasons.items())
        if self._written == reasons or not (self._reasons or self.path.is_file()):
            return
        with (
            atomic(self.path) as part,
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            table = [(absolute(v), *bounds, why) for (v, bounds), why in reasons]
            has_parts = any(bounds != WHOLE for _, bounds in self._reasons)
            step = 1 if has_parts else 3  # else the first and last column
            csv.writer(file).writerows(row[::step] for row in (FAILURE_COLUMNS, *table))
        self._written = reasons
