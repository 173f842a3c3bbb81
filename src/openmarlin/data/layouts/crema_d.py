"""CREMA-D (Cao et al., 2014): 91 actors speak sentences in six emotions.

    ROOT/**/1001_DFA_ANG_XX.flv     actor, sentence, emotion, level; also .mp4

There is no official split. Here the actors 1001 to 1091 are cut into five folds in their order:
the chosen one is tested on, the next one validates, the others train.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    FOLDS,
    Layout,
    Listing,
    Option,
    fold_split,
    videos_below,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_FIRST, _ACTORS = 1001, 91
_NAME = re.compile(rf"(1\d{{3}})_[A-Z]{{3}}_({'|'.join(EMOTIONS)})_[A-Z]{{2}}")


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """All clips; see `Layout.read`."""
    listing, stems = Listing("clips"), set()
    for video in videos_below(root):
        match = _NAME.fullmatch(video.stem)
        if match is None or video.stem in stems:
            continue
        stems.add(video.stem)
        actor, emotion = match.groups()
        fold = (int(actor) - _FIRST) * len(FOLDS) // _ACTORS + 1
        split = fold_split(fold, options["fold"], len(FOLDS))
        labels = {"emotion": EMOTIONS[emotion]}
        listing.add(Row(video, split=split, group=actor, labels=labels))
    if not stems:
        raise InputError(
            f"{root}: is not the folder of CREMA-D: no video named as 1001_DFA_ANG_XX.flv below it"
        )
    return listing


LAYOUT = Layout(
    "crema_d", "CREMA-D: six acted emotions, folds by actor", read, {"fold": Option(1, FOLDS)}
)
