"""Data sets on disk for the tests of layouts: files in the published places, with nothing in them
that anybody reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openmarlin.data.layouts import find_layout
from openmarlin.data.layouts.layout import Listing
from openmarlin.data.manifest import Row


def touch(root: Path, *names: str) -> None:
    """Files below the root that are not empty."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def write(path: Path, content: Any) -> Path:
    """A text file of lines, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_text = isinstance(content, str)
    path.write_text(content if is_text else json.dumps(content), encoding="utf-8")
    return path


def listing(layout: str, root: Path, **settings: Any) -> Listing:
    """What a layout makes of a folder."""
    data_set = find_layout(layout)
    return data_set.read(root, data_set.settings(settings))


def by_name(rows: list[Row]) -> dict[str, Row]:
    """Rows by the file names of their videos."""
    assert len({row.video.name for row in rows}) == len(rows)
    return {row.video.name: row for row in rows}


def splits(rows: list[Row]) -> dict[str, str]:
    """Splits by the file names of the videos."""
    return {name: row.split for name, row in by_name(rows).items()}
