"""The Deepfake Detection Challenge (Dolhansky et al., 2019 and 2020): full set or preview.

    ROOT/**/dfdc_train_part_N/metadata.json     {FILE: {label: REAL | FAKE, split, original}}
    ROOT/test/labels.csv                        filename,label: 1 is fake; also in validation/
    ROOT/dataset.json                           the preview: {PATH: {label: real | fake, set}}

The group is the real video behind it: a fake and what it was made of stay together. In the preview
it is the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    ORIGINAL,
    SPLIT_NAMES,
    Layout,
    Listing,
    damaged,
    deepfake_labels,
    read_json,
)
from openmarlin.data.manifest import Row
from openmarlin.data.tables import read_table
from openmarlin.errors import InputError

_PREVIEW, _TRAIN, _TEST = "dataset.json", "metadata.json", "labels.csv"
_DEEP = ("", "*/", "*/*/")


def read(root: Path, options: Mapping[str, Any]) -> Listing:  # noqa: ARG001 - it has no settings
    """All videos that the labels name; see `Layout.read`."""
    listing = Listing()
    if (root / _PREVIEW).is_file():
        _preview(root / _PREVIEW, listing)
        return listing
    tests = [path for deep in _DEEP for path in sorted(root.glob(deep + _TEST))]
    parts = [path for deep in _DEEP for path in sorted(root.glob(deep + _TRAIN))]
    parts = [path for path in parts if path.with_name(_TEST) not in tests]
    if not tests and not parts:
        raise InputError(
            f"{root}: is not the folder of DFDC: looked for {_TRAIN}, {_TEST} or {_PREVIEW} in it "
            "and two folders deep"
        )
    _train(parts, listing)
    for path in tests:
        _test(path, listing)
    return listing


def _train(parts: list[Path], listing: Listing) -> None:
    """Reals first, because fakes point to them, also across parts."""
    places: dict[str, Path] = {}
    fakes: list[tuple[Row, str]] = []
    for path in parts:
        for name, entry in _entries(path):
            video, label = path.parent / name, _label(path, entry)
            split = SPLIT_NAMES.get(str(entry.get("split", "train")), "")
            if label == "real":
                places[name] = video
                labels = deepfake_labels(ORIGINAL)
                listing.add(Row(video, split=split, group=name, labels=labels))
            else:
                original = str(entry.get("original") or "")
                fakes.append((Row(video, split=split, group=original or name), original))
    for row, original in fakes:
        real = listing.original(places[original]) if original in places else ""
        labels = deepfake_labels("", original=real, fake=True)
        listing.add(Row(row.video, split=row.split, group=row.group, labels=labels))


def _test(path: Path, listing: Listing) -> None:
    table = read_table(path)
    split = "val" if path.parent.name.startswith("val") else "test"
    for line, cells in table.rows:
        name, label = cells.get("filename", ""), cells.get("label", "")
        if not name or label not in ("0", "1"):
            raise damaged(path, f"line {line}: not filename,label with 0 or 1")
        fake = label == "1"
        labels = deepfake_labels("" if fake else ORIGINAL, fake=fake)
        listing.add(Row(path.parent / name, split=split, group=name, labels=labels))


def _preview(path: Path, listing: Listing) -> None:
    """Paths are `original_videos/PERSON/...` and `METHOD/PERSON/...`."""
    for name, entry in _entries(path):
        kind, *folders = Path(name).parts
        method = ORIGINAL if _label(path, entry) == "real" else kind
        person = str(entry.get("target_id") or (folders[0] if len(folders) > 1 else name))
        split = SPLIT_NAMES.get(str(entry.get("set", "")), "")
        labels = deepfake_labels(method)
        listing.add(Row(path.parent / name, split=split, group=person, labels=labels))


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(e, dict) for e in content.values()):
        raise damaged(path, "no table of videos")
    return list(content.items())


def _label(path: Path, entry: Mapping[str, Any]) -> str:
    label = str(entry.get("label", "")).lower()
    if label not in ("real", "fake"):
        raise damaged(path, f"the label '{label}'")
    return label


LAYOUT = Layout("dfdc", "Deepfake Detection Challenge, full or preview: real or fake", read)
