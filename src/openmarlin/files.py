"""Files that are either the old ones or the new ones, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openmarlin.errors import InputError


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary file beside `path` that takes its place when the block succeeds.

    When the block fails the temporary file is removed and an older `path` stays as it was. Missing
    parent folders are made.

    Raises:
        InputError: the disk is full, the folder cannot be written, or `path` is a folder.
    """
    path = Path(path)
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent
        )
        os.close(handle)
        part = Path(name)
        yield part
        _settle(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot write {path}: {reason}; choose another place or make room"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _settle(part: Path, path: Path) -> None:
    """Flushes `part` to disk, gives it the mode of an ordinary new file, and moves it to `path`."""
    mask = os.umask(0)
    os.umask(mask)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(0o666 & ~mask)
    part.replace(path)
