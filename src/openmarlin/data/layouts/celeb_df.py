"""Celeb-DF v1 and v2 (Li et al., CVPR 2020): celebrities, real and swapped.

    ROOT/Celeb-real/idA_NNNN.mp4            ROOT/YouTube-real/NNNNN.mp4
    ROOT/Celeb-synthesis/idA_idB_NNNN.mp4   the face of idB on idA_NNNN
    ROOT/List_of_testing_videos.txt         lines `1 YouTube-real/00170.mp4`, where 1 means real

What the list names is for tests, the rest trains. The group is the person of the real video.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    ORIGINAL,
    Layout,
    Listing,
    damaged,
    deepfake_labels,
    locate,
    read_lines,
    videos_below,
)
from openmarlin.data.manifest import Row

_CELEBRITIES, _OTHERS, _FAKES = "Celeb-real", "YouTube-real", "Celeb-synthesis"
_LIST = "List_of_testing_videos.txt"


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """All videos; see `Layout.read`."""
    tested = _test_videos(locate(root, [_LIST], "Celeb-DF"))
    listing = Listing()
    for folder in (_CELEBRITIES, _OTHERS, _FAKES):  # reals first: fakes point to them
        there = {str(path.relative_to(root).as_posix()) for path in videos_below(root / folder)}
        for name in sorted(there | {test for test in tested if test.startswith(f"{folder}/")}):
            video = root / name
            first, *rest = video.stem.split("_")
            if folder == _FAKES:
                real = root / _CELEBRITIES / f"{first}_{rest[-1] if rest else ''}.mp4"
                labels = deepfake_labels(_FAKES, original=listing.original(real))
            else:
                labels = deepfake_labels(ORIGINAL)
            group = f"youtube_{video.stem}" if folder == _OTHERS else first
            split = "test" if name in tested else "train"
            listing.add(Row(video, split=split, group=group, labels=labels))
    return listing


def _test_videos(path: Path) -> set[str]:
    """Names of the test videos."""
    names = set()
    for line in read_lines(path):
        flag, _, name = line.partition(" ")
        name = name.strip()
        real = name.startswith((f"{_CELEBRITIES}/", f"{_OTHERS}/"))
        if flag not in ("0", "1") or (flag == "1") != real or not (real or name.startswith(_FAKES)):
            raise damaged(path, f"the line '{line}'; 1 is real, 0 is fake")
        names.add(name)
    return names


LAYOUT = Layout("celeb_df", "Celeb-DF v1 or v2: celebrities, real or swapped", read)
