"""DeepFakeDetection (Google and Jigsaw, 2019): actors, real and swapped, beside FaceForensics++.

    ROOT/original_sequences/actors/C/videos/ACTOR__SCENE.mp4
    ROOT/manipulated_sequences/DeepFakeDetection/C/videos/TARGET_SOURCE__SCENE__XXXXXXXX.mp4

There is no official split. The group is the actor of the real video.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.faceforensics import COMPRESSION, compressed
from openmarlin.data.layouts.layout import (
    ORIGINAL,
    Layout,
    Listing,
    deepfake_labels,
    locate,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

METHOD = "DeepFakeDetection"
_ORIGINALS, _FAKES = "original_sequences/actors", f"manipulated_sequences/{METHOD}"


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """The videos of one compression; see `Layout.read`."""
    originals = locate(root, [_ORIGINALS], "DeepFakeDetection")
    fakes = locate(root, [_FAKES], "DeepFakeDetection")
    compression, listing = options["compression"], Listing()
    chain = compression.replace("_", ">")
    reals = compressed(originals, compression)
    for video in sorted(reals.glob("*.mp4")):
        actor, _ = _parts(video, 2)
        labels = deepfake_labels(ORIGINAL, compression=chain)
        listing.add(Row(video, group=actor, labels=labels))
    for video in sorted(compressed(fakes, compression).glob("*.mp4")):
        people, scene, _ = _parts(video, 3)
        target = people.split("_")[0]
        original = listing.original(reals / f"{target}__{scene}.mp4")
        labels = deepfake_labels(METHOD, compression=chain, original=original)
        listing.add(Row(video, group=target, labels=labels))
    listing.notes.append("not every face in a fake is manipulated: some show a second, real person")
    return listing


def _parts(video: Path, n: int) -> list[str]:
    parts = video.stem.split("__")
    if len(parts) != n:
        raise InputError(f"{video}: is not named as in DeepFakeDetection; take it away")
    return parts


LAYOUT = Layout(
    "dfd", "DeepFakeDetection: actors, real or swapped", read, {"compression": COMPRESSION}
)
