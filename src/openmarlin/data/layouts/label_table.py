"""Any CSV with a column of videos, checked.

ROOT is the table, see `read_manifest`. Videos that are not there are left out, splits get their
usual names, and a label `original` is a path as that of the video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import SPLIT_NAMES, Layout, Listing
from openmarlin.data.manifest import Row, read_manifest
from openmarlin.errors import InputError


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """The rows of the table; see `Layout.read`."""
    if not root.is_file():
        raise InputError(f"{root}: is a folder; the layout csv takes the table itself")
    rows = read_manifest([root]).rows
    labels = dict.fromkeys(name for row in rows for name in row.labels)
    if not labels:
        raise InputError(f"{root}: no column with a label beside video, times, split and group")
    listing = Listing("rows")
    for row in rows:
        listing.add(_checked(row, root))
    for name in labels:
        empty = sum(not row.labels.get(name) for row in listing.rows)
        if empty:
            listing.notes.append(f"{name}: {empty:,} rows have no value")
    return listing


def _checked(row: Row, table: Path) -> Row:
    split = SPLIT_NAMES.get(row.split.lower(), row.split) if row.split else ""
    if split not in {"", *SPLIT_NAMES.values()}:
        raise InputError(
            f"{table}: the split '{row.split}' of {row.video.name} is none of train, val, test"
        )
    original = row.labels.get("original", "")
    labels = {**row.labels, "original": str(table.parent / original)} if original else row.labels
    return replace(row, split=split, labels=labels)


LAYOUT = Layout("csv", "any CSV with a column of videos, checked", read)
