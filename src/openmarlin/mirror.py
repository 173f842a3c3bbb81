"""A folder of this machine that is kept equal to one at a URL.

    mirror = Mirror(locate("s3://bucket/features"))
    mirror.begin()  # from now on what is written to mirror.folder is uploaded, every few seconds
    mirror.end()

Files are uploaded in the order in which they were written. What says that something is finished is
written after it, so whoever is killed leaves at the URL what another machine can go on from.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from rich.markup import escape

from openmarlin.console import console
from openmarlin.errors import InputError, option
from openmarlin.storage import RemotePath, file_system, get, list_names, reason

_EVERY_S = 5.0

Version = tuple[int, int]
"""Modification time and size of a file."""


class Mirror:
    """Keeps a folder at a URL equal to one of this machine, which goes with the mirror.

    Args:
        url: where to.

    Attributes:
        folder: of this machine, in the folder for temporary files (`TMPDIR`).
    """

    def __init__(self, url: RemotePath) -> None:
        self.url = url
        self._system, self._inner = file_system(url)
        self.folder = Path(tempfile.mkdtemp(prefix="openmarlin-"))
        self._goes = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._sent: dict[str, Version] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def names(self) -> list[str]:
        """Files at the URL.

        Raises:
            InputError: it cannot be listed.
        """
        return list_names(self.url)

    def fetch(self, patterns: Sequence[str]) -> None:
        """Copy what is at the URL: files and folders of these names.

        Raises:
            InputError: something cannot be read.
        """
        for name in _matching(self.names(), patterns):
            file = self.folder / name
            get(self.url / name, file)
            self._sent[name] = _version(file)

    def clear(self, patterns: Sequence[str]) -> None:
        """Remove what is at the URL: files and folders of these names.

        Raises:
            InputError: something cannot be removed.
        """
        for name in _matching(self.names(), patterns):
            try:
                self._system.rm_file(self._path(name))
            except Exception as error:  # noqa: BLE001 - every file system has errors of its own
                raise self._refusal(error) from None

    def begin(self) -> None:
        """Upload what is in the folder now, and from now on what is written to it.

        Raises:
            InputError: the URL cannot be written to.
        """
        try:
            self._push()
        except Exception as error:  # noqa: BLE001 - as above
            raise self._refusal(error) from None
        self._thread = threading.Thread(target=self._keep_up, name="mirror", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Upload what is left.

        Raises:
            InputError: it cannot be; the folder then stays.
        """
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._push()
        except Exception as error:  # noqa: BLE001 - as above
            self._goes.detach()
            raise InputError(
                f"cannot write {self.url}: {reason(error)}; all results are in {self.folder}, and "
                f"{option('resume', True)} goes on with what was uploaded"
            ) from None

    def _keep_up(self) -> None:
        """A thread: uploads every few seconds; what fails is tried again."""
        told = False
        while not self._over.wait(_EVERY_S):
            try:
                self._push()
                told = False
            except Exception as error:  # noqa: BLE001 - as above
                if not told:
                    line = f"{self.url} cannot be written now ({reason(error)}); trying again"
                    console.print(f"[yellow]note[/] {escape(line)}", soft_wrap=True)
                told = True

    def _push(self) -> None:
        """Upload what is new, the oldest first, then remove what is gone."""
        # A folder is not listed in one moment. What is seen the first time was written after what
        # it needs, and by the second time that is there to be seen, too.
        seen = self._files() | self._files()
        for name in sorted(seen, key=lambda name: seen[name]):
            file = self.folder / name
            if self._sent.get(name) != seen[name] and file.is_file():
                self._system.put_file(str(file), self._path(name))
                self._sent[name] = seen[name]
        for name in self._sent.keys() - seen.keys():
            self._system.rm_file(self._path(name))
            del self._sent[name]

    def _files(self) -> dict[str, Version]:
        """All files but hidden ones: locks, and what is not yet whole."""
        found = {}
        for file in self.folder.rglob("*"):
            try:
                if not file.name.startswith(".") and file.is_file():
                    found[file.relative_to(self.folder).as_posix()] = _version(file)
            except OSError:  # it was replaced, or removed
                continue
        return found

    def _path(self, name: str) -> str:
        return f"{self._inner}/{name}"

    def _refusal(self, error: Exception) -> InputError:
        return InputError(f"cannot write {self.url}: {reason(error)}")


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those in a folder, or files, that are called as one of the patterns says."""
    return [n for n in names if any(fnmatch(n.partition("/")[0], p) for p in patterns)]


def _version(file: Path) -> Version:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
