"""FERV39k (Wang et al., CVPR 2022): seven emotions in 22 scenes.

    ROOT/4_setups/All_scenes/{train,test}_All.csv           lines `SCENE/EMOTION/NNNN WORD`
    ROOT/0_7_LabelClips/SCENE/EMOTION/NNNN.mp4              not the frames in 2_ClipsforFaceCrop

Labels are words: copies of the data set number the classes differently. The published parts are
train and test; a part to validate on has to be taken from train.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    Layout,
    Listing,
    damaged,
    frames_only,
    locate,
    read_lines,
    videos_below,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

EMOTIONS = frozenset({"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"})
_LISTS = "4_setups/All_scenes"
_CLIPS, _FRAMES = "0_7_LabelClips", "2_ClipsforFaceCrop"


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """All clips; see `Layout.read`."""
    tables = {
        split: locate(root, [f"{_LISTS}/{split}_All.csv"], "FERV39k") for split in ("train", "test")
    }
    folder, videos = _videos(root)
    listing = Listing("clips")
    for split, path in tables.items():
        for line in read_lines(path):
            name, _, word = line.rpartition(" ")
            parts = tuple(name.split("/"))
            emotion = (parts[1] if word.isdigit() and len(parts) == 3 else word).lower()
            if len(parts) != 3 or emotion not in EMOTIONS:
                raise damaged(path, f"the line '{line}'")
            video = videos.get(parts, (folder / name).with_suffix(".mp4"))
            listing.add(Row(video, split=split, labels={"emotion": emotion}))
    return listing


def _videos(root: Path) -> tuple[Path, dict[tuple[str, ...], Path]]:
    """The folder of the videos, and each by scene, emotion and number."""
    for folder in (root / _CLIPS, root / _FRAMES):
        files = videos_below(folder)
        if files:
            return folder, {
                (*file.relative_to(folder).parts[:-1], file.stem): file for file in files
            }
    if (root / _FRAMES).is_dir():
        raise frames_only(root / _FRAMES, 3)
    raise InputError(f"{root}: no videos of FERV39k in it: looked for {_CLIPS}/SCENE/EMOTION/N.mp4")


LAYOUT = Layout("ferv39k", "FERV39k: seven emotions in 22 scenes", read)
