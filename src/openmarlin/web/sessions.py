"""What belongs to one user of the page: a folder that no other one can name, and running work.

gradio puts uploads into one folder for all, named by their content. A session takes them over by a
hard link under its own folder, which goes when the browser does.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock

from openmarlin.errors import InputError

UPLOADS, OWN = "uploads", "sessions"
"""Folders under that of the page: gradio's, and those of the sessions."""


class Session:
    """One browser tab.

    Attributes:
        folder: everything of it.
    """

    def __init__(self, root: Path) -> None:
        self._uploads = root / UPLOADS
        self.folder = root / OWN / secrets.token_hex(16)
        self.folder.mkdir(parents=True)
        self._taken: set[Path] = set()
        self._running: dict[str, Event] = {}
        self._lock = Lock()

    def has(self, path: str | Path) -> bool:
        """Whether a file lies in the session's folder."""
        return Path(path).resolve().is_relative_to(self.folder.resolve())

    def take(self, path: str | Path) -> Path:
        """A file that was uploaded, as the session's own; one that is its own already stays.

        Raises:
            InputError: there is no such upload, as when it is another session's.
        """
        path = Path(path)
        if self.has(path):
            return path
        target = self.new_folder("in") / path.name
        if not path.resolve().is_relative_to(self._uploads.resolve()):
            raise InputError(f"{path.name}: is not an upload of yours; upload it again")
        return self._link(path, target)

    def borrow(self, path: Path) -> Path:
        """A file of ours, such as an example, as the session's own."""
        return Path(shutil.copy(path, self.new_folder("in") / path.name))

    def _link(self, path: Path, target: Path) -> Path:
        try:
            os.link(path, target)
        except OSError:
            raise InputError(f"{path.name}: the upload is gone; upload it again") from None
        self._taken.add(path)
        return target

    def new_folder(self, name: str) -> Path:
        """An empty folder of the session."""
        folder = self.folder / f"{name}-{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    def result_folder(self, name: str) -> Path:
        """An empty folder for a result, whose predecessor goes."""
        for old in self.folder.glob(f"{name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        return self.new_folder(name)

    @contextmanager
    def running(self, name: str) -> Iterator[Event]:
        """While work is being done; the event that ends it. What ran under the name ends."""
        self.stop(name)
        event = Event()
        with self._lock:
            self._running[name] = event
        try:
            yield event
        finally:
            with self._lock:
                if self._running.get(name) is event:
                    del self._running[name]

    def stop(self, name: str | None = None) -> None:
        """End the work of a name, or all of it."""
        with self._lock:
            events = [event for key, event in self._running.items() if name in (None, key)]
        for event in events:
            event.set()

    def end(self) -> None:
        """Everything of the session goes, and uploads that no other session has taken, too."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._taken:
            with suppress(OSError):
                if path.stat().st_nlink == 1:
                    path.unlink()
                    path.parent.rmdir()


class Sessions:
    """All sessions of a page, by gradio's name of the browser tab."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (UPLOADS, OWN):
            (root / name).mkdir()
        self._all: dict[str, Session] = {}
        self._lock = Lock()

    def of(self, name: str | None) -> Session:
        """The session of a browser tab; it begins when first asked for."""
        if not name:
            raise InputError("the page has lost its session; load it again")
        with self._lock:
            if name not in self._all:
                self._all[name] = Session(self.root)
            return self._all[name]

    def end(self, name: str | None) -> None:
        """The browser tab was closed."""
        with self._lock:
            session = self._all.pop(name or "", None)
        if session is not None:
            session.end()
