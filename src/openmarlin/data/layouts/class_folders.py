"""Any videos sorted into folders: the name of the folder is the label.

ROOT/CLASS/**/VIDEO, or ROOT/{train,val,test}/CLASS/**/VIDEO
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import SPLIT_NAMES, Layout, Listing, videos_below
from openmarlin.data.manifest import Row, natural_key
from openmarlin.errors import InputError


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """All videos below the folders of classes; see `Layout.read`."""
    if not root.is_dir():
        raise InputError(f"{root}: is a file; name the folder with the folders of classes")
    tops = _folders(root)
    if tops and all(top.name.lower() in SPLIT_NAMES for top in tops):
        classes = [(SPLIT_NAMES[top.name.lower()], f) for top in tops for f in _folders(top)]
    else:
        classes = [("", top) for top in tops]
    listing = Listing()
    for split, folder in classes:
        for video in sorted(videos_below(folder), key=natural_key):
            listing.add(Row(video, split=split, labels={"label": folder.name}))
    if not listing.rows:
        raise InputError(f"{root}: no folders with videos in it; it needs one for each class")
    loose = len(videos_below(root)) - len(listing.rows) - listing.absent
    if loose:
        listing.notes.append(f"{loose:,} videos are in no folder of a class, and are left out")
    return listing


def _folders(folder: Path) -> list[Path]:
    folders = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return sorted(folders, key=natural_key)


LAYOUT = Layout("folder", "any videos: the folder is the label", read)
