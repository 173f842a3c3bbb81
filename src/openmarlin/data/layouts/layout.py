"""What a labelled layout is: a name, the settings it understands, and how its rows are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmarlin.data.manifest import VIDEO_SUFFIXES, Row, display
from openmarlin.errors import InputError, option
from openmarlin.output import Part

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call a split, and what it is called here."""

ORIGINAL = "original"
"""The method of a video that nobody manipulated."""

FOLDS = tuple(range(1, 6))
_HELD_OUT = 0.1  # of a made split: as much for validation, as much for test


@dataclass(frozen=True)
class Option:
    """A setting that a layout understands: what it is unless told, and what it may be."""

    default: Any
    choices: Sequence[Any]


@dataclass
class Listing:
    """What the labels of a data set name: rows whose video is there, and those without.

    Attributes:
        noun: what a row is, in the plural: "clips".
        rows: in the order in which they came, a video or part of one each once.
        missing: {path: reason} of videos that are not there.
        absent: how many rows those would be.
        notes: sentences that a user of the rows must know.
        contradictions: rows that say something else of a part than the first one did.
    """

    noun: str = "videos"
    rows: list[Row] = field(default_factory=list)
    missing: dict[Path, str] = field(default_factory=dict)
    absent: int = 0
    notes: list[str] = field(default_factory=list)
    contradictions: int = 0
    _rows: dict[tuple[Path, Part], Row] = field(default_factory=dict)
    _states: dict[Path, str] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """A row, if its video is there; the first one counts where two name the same part."""
        reason = self._state(row.video)
        if reason:
            self.lack(row.video, reason)
        elif (row.video, row.part) not in self._rows:
            self._rows[row.video, row.part] = row
            self.rows.append(row)
        elif self._rows[row.video, row.part] != row:
            self.contradictions += 1

    def lack(self, video: Path, reason: str) -> None:
        """A row whose video is not there."""
        self.missing.setdefault(video, reason)
        self.absent += 1

    def original(self, video: Path) -> str:
        """The value of the label `original`: a real video that is one of the rows, or empty."""
        return str(video) if (video, (None, None)) in self._rows else ""

    def _state(self, video: Path) -> str:
        """Why a video cannot be used; empty if it can."""
        if video not in self._states:
            self._states[video] = _state(video)
        return self._states[video]


@dataclass(frozen=True)
class Layout:
    """A labelled data set as its authors publish it.

    Attributes:
        name: of the layout.
        summary: what it is, one sentence.
        read: the folder of the data set and all its settings -> its rows. Paths of the rows begin
            with that folder. Raises InputError where it is another folder, or damaged.
        options: the settings it understands.
    """

    name: str
    summary: str
    read: Callable[[Path, Mapping[str, Any]], Listing]
    options: Mapping[str, Option] = field(default_factory=dict)

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All its settings, those that are given on top of the defaults.

        Raises:
            InputError: one that it does not understand, or a value that it does not take.
        """
        for name, value in given.items():
            if name not in self.options:
                names = ", ".join(map(option, self.options))
                raise InputError(
                    f"{option(name)} means nothing to the layout {self.name}; "
                    + (f"it has {names}" if names else "it has no settings")
                )
            choices = self.options[name].choices
            for part in value if isinstance(value, tuple) else (value,):
                if part not in choices:
                    raise InputError(
                        f"{option(name, part)}: must be {', '.join(map(str, choices))}"
                    )
        return {**{name: own.default for name, own in self.options.items()}, **given}


def locate(root: Path, names: Iterable[str], data_set: str) -> Path:
    """The first of several files or folders below the root that is there.

    Raises:
        InputError: there is none, so the root is that of something else.
    """
    path = locate_any(root, names)
    if path is None:
        raise InputError(
            f"{root}: is not the folder of {data_set}: looked for {' or '.join(names)} in it"
        )
    return path


def locate_any(root: Path, names: Iterable[str]) -> Path | None:
    """As `locate`, None where there is none."""
    return next((root / name for name in names if (root / name).exists()), None)


def read_json(path: Path) -> Any:
    """A JSON file of a data set.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that hold something, stripped.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    return [line.strip() for line in lines if line.strip()]


def damaged(path: Path, what: object) -> InputError:
    """The error about a file of a data set that is not as its authors wrote it."""
    return InputError(f"{path}: not as published ({what}); download it again")


def videos_below(folder: Path) -> list[Path]:
    """All videos in a folder and below, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    )


def frames_only(folder: Path, depth: int) -> InputError:
    """The error about a data set that is there as pictures only, a folder of frames a video."""
    folders = "/".join([f'"{folder}"', *["*"] * depth])
    return InputError(
        f"{folder}: holds frames as pictures, not videos; make a video beside each folder first: "
        f'for d in {folders}/; do ffmpeg -framerate 25 -pattern_type glob -i "$d*.jpg" '
        '-vf "pad=ceil(iw/2)*2:ceil(ih/2)*2" -pix_fmt yuv420p -crf 12 "${d%/}.mp4"; done'
    )


def official_lists(folder: Path) -> dict[str, str]:
    """Splits by name from train.txt, val.txt and test.txt, one name a line, suffixes left out."""
    return {
        line.removesuffix(".mp4"): split
        for split in SPLITS
        if (folder / f"{split}.txt").is_file()
        for line in read_lines(folder / f"{split}.txt")
    }


def hashed_split(groups: Mapping[str, str]) -> dict[str, str]:
    """Splits 80/10/10 of names, by the hash of their groups: the same on every machine.

    Args:
        groups: {name: group}; names of one group are on the same side. Where every name is its own
            group the counts are exact.
    """
    members: dict[str, list[str]] = {}
    for name, group in groups.items():
        members.setdefault(group, []).append(name)
    share = round(_HELD_OUT * len(groups))
    splits: dict[str, str] = {}
    for group in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest()):
        n = len(splits)
        split = "test" if n < share else "val" if n < 2 * share else "train"
        splits |= dict.fromkeys(members[group], split)
    return splits


def fold_split(fold: int, test: int, n_folds: int) -> str:
    """The split of what is in a fold, folds counted from 1: `test` is tested on, the next one
    validates (after the last, the first), and the rest trains."""
    if fold == test:
        return "test"
    return "val" if fold == test % n_folds + 1 else "train"


def deepfake_labels(
    method: str, *, compression: str = "", original: str = "", fake: bool | None = None
) -> dict[str, str]:
    """The labels of a real or manipulated video.

    Args:
        method: what made it, or `ORIGINAL`; empty where nobody says.
        compression: how it was compressed, each step: "c23", "c23>c40".
        original: path of the real video that a fake was made of.
        fake: whether it is one; without it the method says.
    """
    is_fake = method != ORIGINAL if fake is None else fake
    labels = {"label": "fake" if is_fake else "real", "method": method}
    return {**labels, "compression": compression, "original": original}


def _state(video: Path) -> str:
    if display(video) != str(video):
        return "its name is not valid Unicode: rename it"
    try:
        return "" if video.stat().st_size else "the file is empty"
    except OSError:
        return "there is no such file"
