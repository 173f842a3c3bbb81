"""RAVDESS (Livingstone and Russo, 2018): 24 actors speak and sing in eight emotions.

    ROOT/**/Actor_NN/MM-VC-EM-IN-ST-RP-AA.mp4   modality, voice, emotion, intensity, statement,
                                                repetition, actor

Every take is there with sound (01) and once more without (02): both in one table would leak, so
one of them is taken, and speech (01) alone where there is song (02), too. There is no official
split. Here four actors in a row are a fold: the chosen one is tested on, the next one validates,
the others train.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    Layout,
    Listing,
    Option,
    fold_split,
    videos_below,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""Those of the codes 01 to 08."""

MODALITIES = {"01": "with sound", "02": "without sound"}
VOICES = {"01": "speech", "02": "song"}
_FOLDS, _ACTORS_A_FOLD = 6, 4
_NAME = re.compile(r"(0[12])-(0[12])-(0[1-8])-\d\d-\d\d-\d\d-(0[1-9]|1\d|2[0-4])")


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """One video of every take; see `Layout.read`."""
    takes = {
        video.stem: (video, match.groups())
        for video in reversed(videos_below(root))  # of copies the first one in order stays
        if (match := _NAME.fullmatch(video.stem))
    }
    if not takes:
        raise InputError(
            f"{root}: is not the folder of RAVDESS: no video named as "
            "Actor_01/01-01-01-01-01-01-01.mp4 below it"
        )
    listing = Listing("takes")
    modality = min(codes[0] for _, codes in takes.values())
    voice = min(codes[1] for _, codes in takes.values() if codes[0] == modality)
    for stem, (video, codes) in sorted(takes.items()):
        if codes[:2] != (modality, voice):
            continue
        fold = (int(codes[3]) - 1) // _ACTORS_A_FOLD + 1
        split = fold_split(fold, options["fold"], _FOLDS)
        labels = {"emotion": EMOTIONS[int(codes[2]) - 1]}
        listing.add(Row(video, split=split, group=stem[-2:], labels=labels))
    others = len(takes) - len(listing.rows) - listing.absent
    listing.notes.append(
        f"taken: {VOICES[voice]} {MODALITIES[modality]}"
        + (f"; left out: {others:,} other videos, of the same takes or of song" if others else "")
    )
    return listing


LAYOUT = Layout(
    "ravdess",
    "RAVDESS: eight acted emotions, folds by actor",
    read,
    {"fold": Option(1, tuple(range(1, _FOLDS + 1)))},
)
