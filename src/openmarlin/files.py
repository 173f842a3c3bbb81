"""Files and folders that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from openmarlin.errors import InputError

UNFINISHED = ".part"
"""Ends the name of a hidden file or folder while it is being written."""


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
            prefix=f".{cut_name(path.name, 80)}.", suffix=UNFINISHED, dir=path.parent
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
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(_file_mode())
    part.replace(path)


def _file_mode() -> int:
    """Of an ordinary new file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yields a new folder beside `path` that takes its place when the block succeeds.

    Raises:
        InputError: `path` is a file, not empty without `overwrite`, or cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise InputError(f"{path} is there already: choose another place or overwrite it")
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(
            tempfile.mkdtemp(
                prefix=f".{cut_name(path.name, 80)}.", suffix=UNFINISHED, dir=path.parent
            )
        )
        part.chmod(0o755)
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                file.chmod(_file_mode())  # safetensors writes files that only their owner can read
        if path.is_dir():
            old = part.with_name(f"{part.stem}.old{UNFINISHED}")
            path.rename(old)
            part.rename(path)
            shutil.rmtree(old)
        else:
            part.rename(path)
    except (OSError, SafetensorError) as error:  # safetensors tells of a full disk in its own way
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write {path}: {reason}; choose another place") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def cut_name(text: str, most_bytes: int) -> str:
    """As much of a name as fits into a file's name, of which file systems take 255 bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    return text if len(raw) <= most_bytes else raw[:most_bytes].decode("utf-8", "ignore")


def write_json(path: Path, content: Any) -> Path:
    """A JSON file, whole or not at all."""
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
