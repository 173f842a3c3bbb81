"""What the user names (files, folders, a CSV) becomes one ordered list of videos."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from openmarlin.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
"""Suffixes looked for inside folders. A file that is named directly is tried whatever its name."""


def natural_key(path: Path | str) -> list[tuple[int, int | str]]:
    """Sort key under which `2.mp4` comes before `10.mp4`."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts)]


def list_videos(inputs: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders (recursively) and CSV tables into videos, each once, in order.

    Folders are read in natural order. A CSV needs a `video` column; its relative paths start at
    the folder of the CSV, and files it names need not exist (they are reported as failures when
    their turn comes, so that one bad row does not stop a long job).

    Raises:
        InputError: a path that does not exist, a folder without videos, a CSV without the column.
    """
    if not inputs:
        raise InputError("nothing to read: name at least one video, folder or CSV")
    videos: dict[Path, None] = {}
    for item in map(Path, inputs):
        if not item.exists():
            raise InputError(f"{item}: no such file or folder; check the path")
        videos.update(dict.fromkeys(_expand(item)))
    return list(videos)


def _expand(item: Path) -> Iterable[Path]:
    if item.is_dir():
        return _folder(item)
    if item.suffix.lower() == ".csv":
        return _table(item)
    return [item]


def _folder(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    ]
    if not found:
        raise InputError(
            f"{folder}: no videos in this folder; looked for {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return sorted(found, key=natural_key)


def _table(table: Path) -> list[Path]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "video" not in (rows.fieldnames or ()):
                raise InputError(f"{table}: no column named 'video'; add one with a path a row")
            videos = [row["video"].strip() for row in rows if (row["video"] or "").strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not a CSV table ({error}); save it as UTF-8 CSV") from None
    if not videos:
        raise InputError(f"{table}: the column 'video' is empty; nothing to read")
    return [table.parent / video for video in videos]
