"""FaceForensics++ (Roessler et al., ICCV 2019): real videos and four manipulations of each.

    ROOT/original_sequences/youtube/C/videos/NNN.mp4            C is c23, c40, and c0 or raw
    ROOT/manipulated_sequences/METHOD/C/videos/TTT_SSS.mp4      the face of SSS on the video TTT
    ROOT/{train,val,test}.json, or in splits/                   pairs of ids, 360 + 70 + 70
    ROOT/conversion_dict.json, or in splits/                    {NNN: "YOUTUBE_ID N"}

The real videos of a split are all ids in its pairs; its fakes are a_b and b_a of each. Some of the
1,000 sequences come from one YouTube video: these are one group where the conversion dict is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    ORIGINAL,
    SPLITS,
    Layout,
    Listing,
    Option,
    damaged,
    deepfake_labels,
    locate,
    locate_any,
    read_json,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError, option

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
"""Those of the paper and its 3,600 / 700 / 700 videos."""

COMPRESSION = Option("c23", ("c0", "c23", "c40", "c23_c40"))
"""c23_c40 is a c40 that was made from c23 and so compressed twice, in a folder of that name."""

_ORIGINALS, _FAKES = "original_sequences/youtube", "manipulated_sequences"
_LISTS = ("splits", "dataset/splits", ".", "dataset")


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """The videos of one compression; see `Layout.read`."""
    locate(root, [_ORIGINALS, _FAKES], "FaceForensics++")
    compression, listing = options["compression"], Listing()
    originals = compressed(root / _ORIGINALS, compression)
    folders = {m: _fakes(root / _FAKES / m, compression, listing) for m in options["methods"]}
    splits = _pairs(root)
    if splits is None:
        listing.notes.append(f"no splits: put train.json, val.json, test.json into {root}/splits")
        splits = _pairs_on_disk(originals, folders.values())
    groups = _groups(root, splits)
    chain = compression.replace("_", ">")
    for pair, split in splits.items():
        for a in dict.fromkeys(pair):
            labels = deepfake_labels(ORIGINAL, compression=chain)
            listing.add(Row(originals / f"{a}.mp4", split=split, group=groups[a], labels=labels))
    for method, folder in folders.items():
        for (a, b), split in splits.items():
            if a == b:
                continue
            for target, source in ((a, b), (b, a)):
                original = listing.original(originals / f"{target}.mp4")
                labels = deepfake_labels(method, compression=chain, original=original)
                video = folder / f"{target}_{source}.mp4"
                listing.add(Row(video, split=split, group=groups[target], labels=labels))
    return listing


def compressed(folder: Path, compression: str) -> Path:
    """The videos of one compression below `folder`.

    Raises:
        InputError: they are not there.
    """
    names = ("c0", "raw") if compression == "c0" else (compression,)
    videos = locate_any(folder, [f"{name}/videos" for name in names])
    if videos is None:
        there = sorted(path.parent.name for path in folder.glob("*/videos"))
        raise InputError(
            f"{folder}: no {' or '.join(names)}/videos in it, but {', '.join(there) or 'nothing'}; "
            f"choose with {option('compression')}"
        )
    return videos


def _fakes(folder: Path, compression: str, listing: Listing) -> Path:
    try:
        return compressed(folder, compression)
    except InputError:
        listing.notes.append(f"nothing of {folder.name} in {compression}")
        return folder / compression / "videos"


def _pairs(root: Path) -> dict[tuple[str, str], str] | None:
    """Pairs of ids and their split; None where there are no lists at all."""
    folder = next((root / name for name in _LISTS if (root / name / "train.json").exists()), None)
    if folder is None:
        return None
    pairs: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        try:
            pairs |= {(str(a), str(b)): split for a, b in read_json(path)}
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from None
    return pairs


def _pairs_on_disk(originals: Path, folders: Iterable[Path]) -> dict[tuple[str, str], str]:
    """Pairs that the names of the files tell, without a split; a real video alone is one, too."""
    names = {file.stem for folder in folders for file in folder.glob("*_*.mp4")}
    pairs = {(min(a, b), max(a, b)) for a, b in (name.split("_", 1) for name in names)}
    alone = {file.stem for file in originals.glob("*.mp4")} - {a for pair in pairs for a in pair}
    return dict.fromkeys(sorted(pairs | {(a, a) for a in alone}), "")


def _groups(root: Path, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For every id the smallest of those it is connected with: by pairs, by a YouTube video."""
    links = list(pairs)
    path = locate_any(root, [f"{name}/conversion_dict.json" for name in _LISTS])
    if path is not None:
        ids = {a for pair in links for a in pair}
        first: dict[str, str] = {}
        try:
            for number, source in sorted(read_json(path).items()):
                if number in ids:
                    video = source.rsplit(" ", 1)[0]
                    links.append((number, first.setdefault(video, number)))
        except AttributeError as error:
            raise damaged(path, error) from None
    groups = {a: a for pair in links for a in pair}

    def top(a: str) -> str:
        while groups[a] != a:
            groups[a] = a = groups[groups[a]]
        return a

    for a, b in links:
        low, high = sorted((top(a), top(b)))
        groups[high] = low
    return {a: top(a) for a in groups}


LAYOUT = Layout(
    "faceforensics",
    "FaceForensics++: real or manipulated, by four methods",
    read,
    {
        "compression": COMPRESSION,
        "methods": Option(METHODS, (*METHODS, "FaceShifter")),
    },
)
