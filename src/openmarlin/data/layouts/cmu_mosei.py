"""CMU-MOSEI (Zadeh et al., ACL 2018): sentiment and emotions of segments of YouTube videos.

    ROOT/**/CMU_MOSEI_Labels.csd                            HDF5: GROUP/data/ID/{features,intervals}
    ROOT/Raw/Videos/Full/Combined/ID.mp4                    whole videos, or else
    ROOT/Raw/Videos/Segmented/Combined/ID_K.mp4             segments, with
    ROOT/Raw/Transcript/Segmented/Combined/ID.txt           lines ID___K___START___END___TEXT
    ROOT/**/cmu_mosei_std_folds.py                          the standard folds, lists of ids

Segments are in no order of time, so a segment's file is found by its interval, never by its number
in the labels.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    Layout,
    Listing,
    damaged,
    locate,
    read_lines,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")

_LABELS, _FOLDS = "CMU_MOSEI_Labels.csd", "cmu_mosei_std_folds.py"
_FULL, _SEGMENTED = "Videos/Full/Combined", "Videos/Segmented/Combined"
_TRANSCRIPTS = "Transcript/Segmented/Combined"
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_DECIMALS = 4  # values are thirds, kept as 32 bits
_SAME_S = 0.05  # transcripts round the times


@dataclass(frozen=True)
class _Segment:
    start_s: float
    end_s: float
    values: list[float]


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """The segments whose video is there; see `Layout.read`."""
    raw = root if (root / "Videos").is_dir() else root / "Raw"
    locate(raw, [_FULL, _SEGMENTED], "CMU-MOSEI")
    labels = next(iter(sorted(root.rglob(_LABELS))), None)
    if labels is None:
        raise InputError(f"{root}: is not the folder of CMU-MOSEI: no {_LABELS} in or below it")
    listing, told = Listing("segments"), Counter[str]()
    splits = _folds(root, listing)
    unlabelled = set(splits)
    for video, segments in _segments(labels):
        unlabelled.discard(video)
        files = None if (raw / _FULL / f"{video}.mp4").is_file() else _pieces(raw, video)
        for segment in sorted(segments, key=lambda s: (s.start_s, s.end_s)):
            start_s, end_s = segment.start_s, segment.end_s
            if not all(map(math.isfinite, (start_s, end_s, *segment.values))) or end_s <= 0:
                told["have no label or interval, and are left out"] += 1
                continue
            told["start before 0 s, and are cut there"] += start_s < 0
            told["are in none of the standard folds"] += bool(splits) and video not in splits
            row = Row(
                raw / _FULL / f"{video}.mp4",
                max(0.0, start_s),
                end_s,
                splits.get(video, ""),
                video,
                _labels(segment.values),
            )
            _add(listing, row, segment, files)
    listing.notes += [f"{n:,} segments {what}" for what, n in told.items() if n]
    if unlabelled:
        listing.notes.append(f"{len(unlabelled):,} videos of the standard folds have no labels")
    return listing


def sentiment7(value: float) -> int:
    """Seven classes of a sentiment in [-3, 3]: -3 below -2, -2 below -1, -1 below 0, 0, 1 up to 1,
    2 up to 2, 3 above."""
    value = round(value, _DECIMALS)
    steps = min(3, math.ceil(abs(value)))
    return -steps if value < 0 else steps


def _labels(values: list[float]) -> dict[str, str]:
    sentiment, *emotions = (round(value, _DECIMALS) for value in values)
    present = [name for name, value in zip(EMOTIONS, emotions, strict=True) if value > 0]
    signed = "" if sentiment == 0 else "positive" if sentiment > 0 else "negative"
    return {
        "sentiment": f"{sentiment:g}",
        "sentiment7": str(sentiment7(sentiment)),
        "sentiment2": "negative" if sentiment < 0 else "non-negative",
        "sentiment2_nonzero": signed,
        "emotions": ";".join(present) or "none",
        **{name: f"{value:g}" for name, value in zip(EMOTIONS, emotions, strict=True)},
    }


def _add(
    listing: Listing, row: Row, segment: _Segment, files: list[tuple[float, float, Path]] | None
) -> None:
    """The row as a part of its whole video, or as the file of its segment."""
    if not files:
        listing.add(row)
        return
    off_s, file = min(
        (max(abs(start_s - segment.start_s), abs(end_s - segment.end_s)), path)
        for start_s, end_s, path in files
    )
    if off_s <= _SAME_S:
        listing.add(Row(file, None, None, row.split, row.group, row.labels))
    else:
        listing.lack(row.video, "not there, and no line of its transcript has the interval")


def _segments(path: Path) -> Iterator[tuple[str, list[_Segment]]]:
    """Ids of videos and their segments."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            "the labels of CMU-MOSEI are HDF5: pip install 'openmarlin[datasets]'"
        ) from None
    try:
        with h5py.File(path) as file:
            (top,) = file.keys()  # its name differs between releases
            for video, entry in file[top]["data"].items():
                times, values = entry["intervals"][:].tolist(), entry["features"][:].tolist()
                if any(len(row) != 1 + len(EMOTIONS) for row in values):
                    raise ValueError(f"{video} has not 7 values a segment")
                parts = zip(times, values, strict=True)
                yield video, [_Segment(start_s, end_s, row) for (start_s, end_s), row in parts]
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise damaged(path, error) from None


def _pieces(raw: Path, video: str) -> list[tuple[float, float, Path]]:
    """Interval and file of every segment that the transcript of a video names."""
    transcript = raw / _TRANSCRIPTS / f"{video}.txt"
    if not transcript.is_file() or not (raw / _SEGMENTED).is_dir():
        return []
    pieces = []
    for line in read_lines(transcript):
        try:
            _, number, start_s, end_s, _ = line.split("___", 4)
            times = float(start_s), float(end_s)
        except ValueError:
            raise damaged(transcript, f"the line '{line[:40]}'") from None
        pieces.append((*times, raw / _SEGMENTED / f"{video}_{number}.mp4"))
    return pieces


def _folds(root: Path, listing: Listing) -> dict[str, str]:
    """Splits by video. The file is Python, of which only the lists are read."""
    path = next(iter(sorted(root.rglob(_FOLDS))), None)
    if path is None:
        listing.notes.append(
            f"no splits: put {_FOLDS} of CMU-MultimodalSDK into {root} for the standard folds"
        )
        return {}
    splits: dict[str, str] = {}
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                word = node.targets[0].id.removeprefix("standard_").removesuffix("_fold")
                if word in _SPLITS:
                    splits |= dict.fromkeys(ast.literal_eval(node.value), _SPLITS[word])
    except (OSError, ValueError, SyntaxError, TypeError) as error:
        raise damaged(path, error) from None
    if set(splits.values()) != set(_SPLITS.values()):
        raise damaged(path, "no standard_train_fold, standard_valid_fold and standard_test_fold")
    return splits


LAYOUT = Layout("cmu_mosei", "CMU-MOSEI: sentiment and six emotions of segments", read)
