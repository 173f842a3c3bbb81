"""Files by URL: s3://bucket/talk.mp4 is named like a path, and read from a copy on this machine.

    path = locate("s3://bucket/talk.mp4")
    with fetched(path) as file:
        ...  # a file of this machine

fsspec knows the kinds of URL and takes credentials and endpoints from the environment (for s3:
`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on). A video is copied and not read in place: it is
opened several times and read here and there (docs/clusters.md has the measurement).
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from openmarlin.errors import InputError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # a Path has one slash left
_LOCAL = ("file", "local")
_VERSION = ("ETag", "etag", "LastModified", "last_modified", "created", "mtime", "updated")
"""What tells one version of an object from the next, by file system."""


class RemotePath(type(Path())):  # type: ignore[misc]
    """A URL: its parts, name, suffix and parent are those of a path, as text it is the URL."""

    def __str__(self) -> str:
        scheme, *rest = self.parts
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> RemotePath:
        return self


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether a name is a URL and not a path; file:// is one, too."""
    return isinstance(text, RemotePath) or bool(_URL.match(str(text)))


def locate(item: str | os.PathLike[str]) -> Path:
    """A name as a path: a `RemotePath` where it is a URL of something that is not on this machine.

    Raises:
        InputError: a URL that names nothing.
    """
    text = str(item)
    match = _URL.match(text)
    if match is None or (not isinstance(item, RemotePath) and Path(text).exists()):
        return Path(item)
    scheme, rest = match[1].lower(), text[match.end() :]
    if not rest.strip("/"):
        raise InputError(f"{text}: names nothing; give the URL of a file or folder")
    return Path(f"/{rest}") if scheme in _LOCAL else RemotePath(f"{scheme}:", rest)


def refuse_url(path: Path) -> None:
    """For a single file that is to be written.

    Raises:
        InputError: it is a URL.
    """
    if is_url(path):
        raise InputError(f"{path}: at a URL only a folder is written; name one without a suffix")


def beside(folder: Path, name: str) -> Path:
    """A path or URL that a file in `folder` names; where it is relative it starts there."""
    if is_url(name) or Path(name).is_absolute():
        return locate(name)
    if not isinstance(folder, RemotePath):
        return folder / name
    scheme, *parts = folder.parts
    return RemotePath(scheme, os.path.normpath("/".join([*parts, name])).replace(os.sep, "/"))


def absolute(path: str | os.PathLike[str]) -> str:
    """The path as text from the root on, whatever folder the command runs in; a URL as it is.

    Links are names like any other.
    """
    return str(path) if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def exists(path: Path) -> Literal["file", "folder"] | None:
    """What is there.

    Raises:
        InputError: a URL that cannot be asked: no permission, no such kind of URL, no network.
    """
    if not isinstance(path, RemotePath):
        return "folder" if path.is_dir() else "file" if path.exists() else None
    system, inner = file_system(path)
    try:
        return "folder" if system.info(inner)["type"] == "directory" else "file"
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - every file system has errors of its own
        raise unreadable(path, error) from None


def stamp(path: Path) -> list[int] | None:
    """Size and version of a file, to tell it from a later one of its name; None without it."""
    try:
        if not isinstance(path, RemotePath):
            status = path.stat()
            return [status.st_size, status.st_mtime_ns]
        system, inner = file_system(path)
        info = system.info(inner)
    except Exception:  # noqa: BLE001 - whoever reads it tells what is wrong
        return None
    version = next((info[name] for name in _VERSION if info.get(name)), "")
    return [int(info.get("size") or 0), zlib.crc32(str(version).encode())]


def files_below(folder: Path) -> Iterator[Path]:
    """All files below, those behind links too; hidden ones (also macOS's `._*`) are none.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(folder, RemotePath):
        yield from (folder / name for name in list_names(folder) if not re.search(r"(^|/)\.", name))
    else:
        yield from _local_files(folder)


def _local_files(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """A link to a folder that the way down has come through already is a loop, not followed."""
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _local_files(entry, (*above, here))
        elif entry.is_file():
            yield entry


def list_names(folder: RemotePath) -> list[str]:
    """The names of all files below a URL, from there on; none where there is nothing.

    Raises:
        InputError: it cannot be listed.
    """
    system, inner = file_system(folder)
    try:
        system.invalidate_cache()
        return [name.removeprefix(inner).strip("/") for name in system.find(inner)]
    except FileNotFoundError:
        return []
    except Exception as error:  # noqa: BLE001 - as above
        raise unreadable(folder, error) from None


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """A file of this machine: `path` itself, or a copy of what is at a URL.

    Whoever asks for it meanwhile gets the same copy; it goes when nobody needs it any more.

    Raises:
        InputError: it cannot be read, or there is no room for it.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    with _lock:
        copy = _copies.setdefault(path, _Copy(path))
        copy.users += 1
    try:
        yield copy.file()
    finally:
        with _lock:
            copy.users -= 1
            if not copy.users:
                del _copies[path]
                copy.folder.cleanup()


class _Copy:
    """A copy of an object, in a folder that goes with it."""

    def __init__(self, path: RemotePath) -> None:
        self.path, self.users, self._lock = path, 0, threading.Lock()
        self.folder = TemporaryDirectory(prefix="openmarlin-", ignore_cleanup_errors=True)
        suffix = re.fullmatch(r"\.\w{1,5}", path.suffix)
        self._file = Path(self.folder.name) / f"video{suffix[0] if suffix else ''}"

    def file(self) -> Path:
        """Fetch it, the first time."""
        with self._lock:
            if not self._file.exists():
                get(self.path, self._file)
        return self._file


_copies: dict[RemotePath, _Copy] = {}
_lock = threading.Lock()


def get(path: RemotePath, file: Path) -> None:
    """Copy what is at a URL to a file of this machine.

    Raises:
        InputError: see `fetched`.
    """
    system, inner = file_system(path)
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(inner, str(part))
        part.replace(file)
    except Exception as error:  # noqa: BLE001 - as above
        raise unreadable(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def file_system(path: RemotePath) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the name that the file has in it.

    Raises:
        InputError: there is no such kind of URL, or the package for it is not installed.
    """
    from fsspec.core import url_to_fs

    scheme = path.parts[0].removesuffix(":")
    try:
        system, inner = url_to_fs(str(path))
    except ImportError as error:
        how = "pip install 'openmarlin[cloud]'" if scheme in ("s3", "s3a") else str(error)
        raise InputError(f"{path}: {scheme}:// needs a package that is missing: {how}") from None
    except ValueError:
        raise InputError(
            f"{path}: there is no kind of URL '{scheme}://'; s3:// and others of fsspec are read"
        ) from None
    return system, inner


def unreadable(path: RemotePath, error: Exception) -> InputError:
    """The one line about a URL that cannot be read."""
    return InputError(f"{path}: cannot be read: {reason(error)}")


def reason(error: Exception) -> str:
    """Why a file system refused, and what to do."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        gone = "bucket" if "bucket" in words.lower() else "file"
        return f"there is no such {gone}; check the URL"
    if isinstance(error, PermissionError):
        return f"no permission ({words}); check the credentials and what they may do"
    if "credentials" in words.lower():
        return f"no credentials ({words}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if "could not connect" in words.lower():
        return f"{words}; check the network and AWS_ENDPOINT_URL"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return words
