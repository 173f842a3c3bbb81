"""Data sets as they lie on disk; each turns into a list of sources, one a video.

What is not a known layout is a list of video files, as `data.manifest` understands it.
"""

from __future__ import annotations

from typing import Any

from openmarlin.data.layouts import youtube_faces
from openmarlin.data.layouts.source import Faces, Source, VideoFile
from openmarlin.data.manifest import as_inputs, existing, expand, unique

__all__ = ["Faces", "Source", "VideoFile", "list_sources"]


def list_sources(inputs: Any) -> list[Source]:
    """Expand inputs into sources, each once, in order.

    Args:
        inputs: a path or several: roots of YouTube Faces, or anything `read_manifest` takes.

    Raises:
        InputError: see `read_manifest`.
    """
    sources: dict[str, Source] = {}
    rows = []
    for item in as_inputs(inputs):
        path = existing(item)
        if youtube_faces.is_root(path):
            folders = youtube_faces.list_videos(path)
            sources |= {folder.row.key: folder for folder in folders}
            rows += [folder.row for folder in folders]
        else:
            rows += expand(item)
    return [sources.get(row.key, VideoFile(row)) for row in unique(rows)]
