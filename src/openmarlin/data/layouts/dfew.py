"""DFEW (Jiang et al., ACM MM 2020): seven emotions in clips of films, five folds.

    ROOT/EmoLabel_DataSplit/{train,test}(single-labeled)/set_K.csv      video_name,label (1 to 7)
    ROOT/Clip/original/N.mp4, or Clip/clip_224x224_avi/NNNNN.avi        not the folders of frames

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
    videos_below,
)
from openmarlin.data.manifest import Row
from openmarlin.data.tables import read_table
from openmarlin.errors import InputError

EMOTIONS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
"""Those of the labels 1 to 7."""

_LISTS, _CLIPS = "EmoLabel_DataSplit", "Clip"
_FOLDERS = ("original", "clip_224x224_avi", "jpg_256", "clip_224x224")
_FRAMES = ("jpg_256", "clip_224x224", "clip_224x224_16f")


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """The clips of one fold; see `Layout.read`."""
    lists = locate(root, [_LISTS], "DFEW")
    tables = {
        split: locate(lists, [f"{split}(single-labeled)/set_{options['fold']}.csv"], "DFEW")
        for split in ("train", "test")
    }
    videos = _videos(root)
    listing = Listing("clips")
    for split, path in tables.items():
        for line, cells in read_table(path).rows:
            try:
                number, label = int(Path(cells["video_name"]).stem), int(cells["label"])
                emotion = dict(enumerate(EMOTIONS, 1))[label]
            except (KeyError, ValueError) as error:
                raise damaged(path, f"line {line}: {error}") from None
            video = videos.get(number, root / _CLIPS / _FOLDERS[0] / f"{number}.mp4")
            listing.add(Row(video, split=split, labels={"emotion": emotion}))
    return listing


def _videos(root: Path) -> dict[int, Path]:
    """Videos by their number, which releases pad with zeros or not."""
    for name in _FOLDERS:
        files = videos_below(root / _CLIPS / name)
        videos = {int(file.stem): file for file in files if file.stem.isdigit()}
        if videos:
            return videos
    for name in _FRAMES:
        if (root / _CLIPS / name).is_dir():
            raise frames_only(root / _CLIPS / name, 1)
    raise InputError(f"{root}: no videos of DFEW in it: looked for {_CLIPS}/{_FOLDERS[0]}/N.mp4")


LAYOUT = Layout("dfew", "DFEW: seven emotions, five folds", read, {"fold": Option(1, FOLDS)})
