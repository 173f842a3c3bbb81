"""Data sets as they lie on disk.

`find_layout` knows the labelled ones: each turns into rows of a manifest, one file a data set.
`list_sources` turns inputs of `prepare` into sources, one a video: what is not YouTube Faces is a
list of video files, as `data.manifest` understands it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openmarlin.errors import InputError
from openmarlin.settings import nearest

if TYPE_CHECKING:
    from openmarlin.data.layouts.layout import Layout
    from openmarlin.data.layouts.source import Source

__all__ = ["LAYOUTS", "find_layout", "list_sources"]

LAYOUTS = {
    "celebv_hq": "celebv_hq",
    "cmu_mosei": "cmu_mosei",
    "faceforensics": "faceforensics",
    "celeb_df": "celeb_df",
    "dfdc": "dfdc",
    "dfd": "dfd",
    "dfew": "dfew",
    "ferv39k": "ferv39k",
    "mafw": "mafw",
    "crema_d": "crema_d",
    "ravdess": "ravdess",
    "lrs2": "lrs2",
    "folder": "class_folders",
    "csv": "label_table",
}
"""Names of the labelled layouts, and the module of each: they are imported when they are needed,
so that the command line can name them in no time."""


def find_layout(name: str) -> Layout:
    """A labelled layout by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in LAYOUTS:
        raise InputError(f"there is no layout '{name}'{nearest(name, LAYOUTS)}")
    layout: Layout = import_module(f"{__name__}.{LAYOUTS[name]}").LAYOUT
    return layout


def list_sources(inputs: Any) -> list[Source]:
    """Expand inputs into sources, each once, in order.

    Args:
        inputs: a path or several: roots of YouTube Faces, or anything `read_manifest` takes.

    Raises:
        InputError: see `read_manifest`.
    """
    from openmarlin.data.layouts import youtube_faces
    from openmarlin.data.layouts.source import VideoFile
    from openmarlin.data.manifest import as_inputs, existing, expand, unique
    from openmarlin.storage import is_url

    sources: dict[str, Source] = {}
    rows = []
    for item in as_inputs(inputs):
        path = existing(item)
        if not is_url(path) and youtube_faces.is_root(path):
            folders = youtube_faces.list_videos(path)
            sources |= {folder.row.key: folder for folder in folders}
            rows += [folder.row for folder in folders]
        else:
            rows += expand(item)
    return [sources.get(row.key, VideoFile(row)) for row in unique(rows)]
