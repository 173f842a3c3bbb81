"""The one index of what goes in: files, folders, CSV tables become rows, one a video or part of it.

manifest = read_manifest(["clips", "labels.csv"])
manifest.rows[0].video, manifest.rows[0].labels
write_manifest(Path("all.csv"), manifest.rows)
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmarlin.data.tables import Table, read_table
from openmarlin.errors import InputError, VideoError
from openmarlin.files import atomic
from openmarlin.output import FAILURE_COLUMNS, Part
from openmarlin.storage import (
    absolute,
    beside,
    exists,
    files_below,
    is_url,
    locate,
    stamp,
)
from openmarlin.video.reader import Frame

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
"""Suffixes looked for inside folders. A file that is named directly is tried whatever its name."""

_PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_VIDEO_COLUMNS = ("video", "path", "file", "filename", "filepath", "file_path", "video_path")
_PART_COLUMNS = ("start_s", "end_s")
_PATH_LABELS = ("original",)  # they name a video too, as the column `video` does
_ROUNDING_S = 1e-6  # a time in a table is a rounded one


@dataclass(frozen=True)
class Row:
    """A video, or a part of one, and what is known of it.

    Attributes:
        video: the path or URL as it was given; those in a CSV start at its folder.
        start_s: presentation time at which the part begins; None for the beginning of the file.
        end_s: time before which it ends; None for the end of the file.
        split: of the data set it belongs to, such as train or val; or empty.
        group: whom it shows; or empty.
        labels: every other column of its table.
    """

    video: Path
    start_s: float | None = None
    end_s: float | None = None
    split: str = ""
    group: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A short name fit for files, the same whatever folder the command runs in.

        Links are not followed: two names of one file are two rows.
        """
        text = absolute(self.video)
        if self.start_s is not None or self.end_s is not None:
            text += f"\0{self.start_s}\0{self.end_s}"
        return key_of(text)

    @property
    def part(self) -> Part:
        """Its bounds."""
        return self.start_s, self.end_s

    @property
    def title(self) -> str:
        """The video as text and, where it is a part, which: faces are counted within that."""
        return display(self.video) + bounds(*self.part)

    @property
    def stamp(self) -> list[int] | None:
        """Size and version of the file: results of another file are stale.

        None where there is no such file.
        """
        return stamp(self.video)

    def frames(self, frames: Iterable[Frame], limit_s: float | None = None) -> Iterator[Frame]:
        """Those of a file's frames that lie in the part, with the file's own times.

        Args:
            frames: in presentation order. Those before the part are decoded, but not converted.
            limit_s: at most so many seconds, counted from the first frame.

        Raises:
            VideoError: the file has frames, but none in the part.
        """
        start_s = -math.inf if self.start_s is None else self.start_s - _ROUNDING_S
        end_s = math.inf if self.end_s is None else self.end_s - _ROUNDING_S
        first_s: float | None = None
        before_s: float | None = None
        for frame in frames:
            before_s = frame.time_s
            if frame.time_s < start_s:
                continue
            if frame.time_s >= end_s:
                break
            first_s = frame.time_s if first_s is None else first_s
            if limit_s is not None and frame.time_s - first_s >= limit_s - _ROUNDING_S:
                return
            yield frame
        if first_s is None and before_s is not None:
            raise VideoError(
                f"{self.video}: no frame from start_s {self.start_s} to end_s {self.end_s} "
                f"(read up to {before_s:.3f} s); correct the table"
            )


@dataclass(frozen=True)
class Manifest:
    """Rows in the order of the inputs, each once."""

    rows: list[Row]

    def columns(self) -> dict[str, pa.Array[Any]]:
        """What the rows carry beside the video, an array of a value a row by name.

        `split`, `group` and labels, and the bounds of parts as `part_start_s` and `part_end_s`;
        only those that some row has. A label is a number where all its values are; a value that is
        missing is then NaN, and otherwise empty.
        """
        rows = self.rows
        names = dict.fromkeys(name for row in rows for name in row.labels)
        columns = {name: _typed([row.labels.get(name, "") for row in rows]) for name in names}
        for name in ("split", "group"):
            values = [getattr(row, name) for row in rows]
            if any(values):
                columns[name] = pa.array(values, pa.string())
        for name in _PART_COLUMNS:
            bounds = [getattr(row, name) for row in rows]
            if any(bound is not None for bound in bounds):
                numbers = [math.nan if bound is None else bound for bound in bounds]
                columns[f"part_{name}"] = pa.array(numbers, pa.float64())
        return columns


def key_of(name: str) -> str:
    """A short name, fit for files, of a video or track."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def display(path: Path | str) -> str:
    """A path as text; bytes that are not valid Unicode are spelt out as `\\udcXX`."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def bounds(start_s: float | None, end_s: float | None) -> str:
    """Which part of a video, to stand behind its name; nothing for all of it. NaN is as None."""
    start, end = (
        "" if time_s is None or math.isnan(time_s) else f"{time_s:.10g}"
        for time_s in (start_s, end_s)
    )
    if not start:
        return f", to {end} s" if end else ""
    return f", {start} to {end} s" if end else f", from {start} s"


def natural_key(path: Path | str) -> list[tuple[int, int | str]]:
    """Sort key under which `2.mp4` comes before `10.mp4`."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts)]


def as_inputs(inputs: Any) -> list[str | Path]:
    """What a Python caller gives as INPUT: a path or several.

    Raises:
        InputError: something that is no path, or nothing.
    """
    items = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    items = list(items) if isinstance(items, Iterable) else [items]
    if not all(isinstance(item, str | os.PathLike) for item in items):
        raise InputError(
            f"the input is {type(inputs).__name__}, not a path or several: give video files, "
            "folders or CSV tables (frames in memory: write them to a file first)"
        )
    paths = [item if isinstance(item, str) else locate(item) for item in items]
    if not paths:
        raise InputError("nothing to read: name at least one video, folder or CSV")
    return paths


def read_manifest(inputs: Any) -> Manifest:
    """Expand a path or several: files, folders (with all below), CSV tables, and URLs of these.

    A CSV needs a column with the video; its relative paths start at the folder of the CSV, and
    files it names need not exist (they are listed as failures when their turn comes, so that one
    bad row does not stop a long job). A row that comes again adds the columns it has.

    Raises:
        InputError: a path that does not exist, a folder without videos, a table that cannot be
            used, two rows for one video that contradict each other.
    """
    return Manifest(unique(row for item in as_inputs(inputs) for row in expand(item)))


def write_manifest(path: Path, rows: Iterable[Row]) -> Path:
    """Write rows as a CSV that `read_manifest` reads, whole or not at all.

    Columns are `video`, `start_s`, `end_s`, `split`, `group` and labels, those that some row has.
    Paths, also those of the label `original`, start at the folder of the CSV, so that both can be
    moved together; they are absolute where they are on another drive.

    Raises:
        InputError: it cannot be written.
    """
    where = os.path.abspath(path.parent)  # noqa: PTH100 - see `_relative`
    table = [
        {
            "video": str(row.video),
            **{name: "" if time_s is None else f"{time_s:.10g}" for name, time_s in _times(row)},
            "split": row.split,
            "group": row.group,
            **row.labels,
        }
        for row in rows
    ]
    names = dict.fromkeys(name for cells in table for name in cells)
    columns = [name for name in names if name == "video" or any(c.get(name) for c in table)]
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        for cells in table:
            paths = {name: cells.get(name, "") for name in ("video", *_PATH_LABELS)}
            relative = {name: _relative(p, where) for name, p in paths.items() if p}
            writer.writerow({**cells, **relative})
    return path


def _times(row: Row) -> Iterable[tuple[str, float | None]]:
    return zip(_PART_COLUMNS, row.part, strict=True)


def _relative(path: str, folder: str) -> str:
    """A path from a folder on; where that goes up through a link, from what the link names."""
    if is_url(path):
        return path
    try:
        lexical = os.path.relpath(path, folder)
        real = os.path.realpath(folder)
        if not lexical.startswith("..") or real == folder:
            return lexical
        return os.path.relpath(os.path.realpath(path), real)
    except ValueError:  # another drive
        return os.path.abspath(path)  # noqa: PTH100 - links are names like any other


def expand(item: str | Path) -> list[Row]:
    """The rows of one input, see `read_manifest`."""
    path = existing(item)
    if exists(path) == "folder":
        return [Row(video) for video in _folder(path)]
    if path.suffix.lower() in _TABLE_SUFFIXES:
        return _table_rows(read_table(path))
    return [Row(path)]


def existing(item: str | Path) -> Path:
    """An input as a path.

    Raises:
        InputError: there is no such file or folder, or a URL cannot be asked.
    """
    if not str(item).strip():
        raise InputError("an input is empty (''): name a video, a folder or a CSV")
    path = locate(item)
    if exists(path) is None:
        what = "URL" if is_url(path) else "path"
        raise InputError(f"{path}: no such file or folder; check the {what}")
    return path


def unique(rows: Iterable[Row]) -> list[Row]:
    """Rows of one video (or one part of it) made one, in the order of their first."""
    merged: dict[str, Row] = {}
    for row in rows:
        merged[row.key] = _joined(merged[row.key], row) if row.key in merged else row
    return list(merged.values())


def _joined(first: Row, second: Row) -> Row:
    """One row out of two for the same video: each may know what the other does not."""
    before = {"split": first.split, "group": first.group, **first.labels}
    after = {"split": second.split, "group": second.group, **second.labels}
    for name in before.keys() & after.keys():
        if before[name] and after[name] and before[name] != after[name]:
            raise InputError(
                f"{first.video}: named twice, with {name} '{before[name]}' and '{after[name]}'; "
                "keep one of the rows"
            )
    both = {name: before.get(name) or after.get(name, "") for name in {**before, **after}}
    return replace(first, split=both.pop("split"), group=both.pop("group"), labels=both)


def _folder(folder: Path) -> list[Path]:
    videos: list[Path] = []
    suffixes: Counter[str] = Counter()
    for path in files_below(folder):
        suffix = path.suffix.lower()
        suffixes[suffix] += 1
        if suffix in VIDEO_SUFFIXES:
            videos.append(path)
    if videos:
        return sorted(videos, key=natural_key)
    pictures = [suffix for suffix in suffixes if suffix in _PICTURE_SUFFIXES]
    if pictures:
        suffix = max(pictures, key=lambda name: suffixes[name])
        raise InputError(
            f"{folder}: no videos, but {suffixes[suffix]} pictures ({suffix}); make a video of "
            f"them first: ffmpeg -framerate 25 -pattern_type glob -i '*{suffix}' -crf 12 video.mp4"
        )
    raise InputError(
        f"{folder}: no videos in this folder; looked for {' '.join(sorted(VIDEO_SUFFIXES))}"
    )


def _table_rows(table: Table) -> list[Row]:
    """Rows of a table: `video` by any of its usual names, and what else there is."""
    by_name = {name.lower(): name for name in reversed(table.columns)}
    video = next((by_name[name] for name in _VIDEO_COLUMNS if name in by_name), None)
    if video is None:
        raise InputError(
            f"{table.path}: no column named 'video'; its columns are "
            f"{', '.join(table.columns) or 'none'}: name the one with the paths 'video'"
        )
    named = {name: by_name.get(name, "") for name in (*_PART_COLUMNS, "split", "group")}
    dropped = {video, *named.values()}
    if {"video", "reason"} <= set(by_name) <= set(FAILURE_COLUMNS):  # what failed is tried again
        dropped |= set(table.columns)
    labels = [name for name in table.columns if name not in dropped]
    rows = []
    for line, cells in table.rows:
        if not cells[video]:
            continue
        start_s, end_s = (table.number(line, cells, named[name]) for name in _PART_COLUMNS)
        if end_s is not None and end_s <= (start_s or 0.0):
            raise InputError(f"{table.path}, line {line}: end_s must be after start_s")
        rows.append(
            Row(
                beside(table.path.parent, cells[video]),
                start_s,
                end_s,
                cells.get(named["split"], ""),
                cells.get(named["group"], ""),
                {name: cells[name] for name in labels},
            )
        )
    if not rows:
        raise InputError(f"{table.path}: the column '{video}' is empty; nothing to read")
    return rows


def _typed(values: Sequence[str]) -> pa.Array[Any]:
    """Whole numbers, numbers or text, whichever all values are."""
    try:
        return pa.array([int(value) for value in values], pa.int64())
    except (ValueError, OverflowError):
        pass
    try:
        numbers = [float(value) if value else math.nan for value in values]
    except ValueError:
        return pa.array([display(value) for value in values], pa.string())
    return pa.array(numbers, pa.float64())
