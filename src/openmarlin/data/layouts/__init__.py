"""Data sets as they lie on disk; each turns into a list of sources, one a video.

What is not a known layout is a list of video files, as `data.inputs` understands it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from openmarlin.data.inputs import list_videos
from openmarlin.data.layouts import youtube_faces
from openmarlin.data.layouts.source import Faces, Source, VideoFile

__all__ = ["Faces", "Source", "VideoFile", "list_sources"]


def list_sources(inputs: Sequence[str | Path]) -> list[Source]:
    """Expand inputs into sources, each once, in order.

    Args:
        inputs: roots of YouTube Faces, or anything `list_videos` takes. A column `group` of a CSV
            says whom a video shows; otherwise every video is a group of its own.

    Raises:
        InputError: see `list_videos`.
    """
    sources: dict[Path, Source] = {}
    for item in map(Path, inputs) if inputs else list_videos(inputs):
        found: Sequence[Source]
        if youtube_faces.is_root(item):
            found = youtube_faces.list_videos(item)
        else:
            groups = _groups(item)
            found = [VideoFile(v, groups.get(str(v)) or str(v)) for v in list_videos([item])]
        for source in found:
            sources.setdefault(source.path.resolve(), source)
    return list(sources.values())


def _groups(item: Path) -> dict[str, str]:
    """Group of each video of a CSV that has a column for it."""
    if item.suffix.lower() != ".csv" or not item.is_file():
        return {}
    try:
        with item.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if row.get("group") and row.get("video")]
    except (UnicodeDecodeError, csv.Error):
        return {}  # `list_videos` says what is wrong with it
    return {str(item.parent / row["video"].strip()): row["group"].strip() for row in rows}
