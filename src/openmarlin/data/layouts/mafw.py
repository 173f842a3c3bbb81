"""MAFW (Liu et al., ACM MM 2022): eleven emotions, five folds.

    ROOT/split/single/no_caption/set_K/{train,test}.txt     lines `NNNNN.mp4 WORD`; also below
                                                            `Train & Test Set`
    ROOT/data/clips/NNNNN.mp4                               not the frames in data/frames

The published parts are train and test; a part to validate on has to be taken from train.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    FOLDS,
    Layout,
    Listing,
    Option,
    damaged,
    frames_only,
    locate,
    read_lines,
    videos_below,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

EMOTIONS = frozenset(
    {"anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt"}
    | {"anxiety", "helplessness", "disappointment"}
)
_LISTS = ("split", "Train & Test Set", "Train_Test_Set")
_CLIPS, _FRAMES = "data/clips", "data/frames"


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """The clips of one fold; see `Layout.read`."""
    fold = f"single/no_caption/set_{options['fold']}"
    lists = locate(root, [f"{name}/{fold}" for name in _LISTS], "MAFW")
    videos = _videos(root)
    listing = Listing("clips")
    for split in ("train", "test"):
        path = locate(lists, [f"{split}.txt"], "MAFW")
        for line in read_lines(path):
            name, _, word = line.partition(" ")
            emotion = word.strip().lower()
            if emotion not in EMOTIONS:
                raise damaged(path, f"the line '{line}'")
            video = videos.get(Path(name).stem, root / _CLIPS / name)
            listing.add(Row(video, split=split, labels={"emotion": emotion}))
    return listing


def _videos(root: Path) -> dict[str, Path]:
    for name in (_CLIPS, _FRAMES):
        videos = {file.stem: file for file in videos_below(root / name)}
        if videos:
            return videos
    if (root / _FRAMES).is_dir():
        raise frames_only(root / _FRAMES, 1)
    raise InputError(f"{root}: no videos of MAFW in it: looked for {_CLIPS}/NNNNN.mp4")


LAYOUT = Layout("mafw", "MAFW: eleven emotions, five folds", read, {"fold": Option(1, FOLDS)})
