"""Who is trained on, chosen on and tested on; who is on two sides; shares of the labels."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row, display
from openmarlin.errors import InputError
from openmarlin.files import atomic, file_sha256
from openmarlin.tasks.labels import Target, Values

TRAIN, VAL, TEST = "train", "val", "test"
PARTS = (TRAIN, VAL, TEST)
SPLITS_FILE = "splits.csv"
_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing", "tst", "eval"), TEST),
}
_SHARES = {TRAIN: 0.7, VAL: 0.15, TEST: 0.15}
_FEWEST_GROUPS = 3

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Rows of every part.

    Attributes:
        rows: with `split` train, val or test; the others are left out of everything.
        how: given, or what was made of it, in words.
        is_partly_made: some of it is given, and the rest is not.
    """

    rows: list[Row]
    how: str
    is_partly_made: bool = False

    def part(self, name: str) -> Indices:
        """Positions of the rows of train, val or test."""
        return np.flatnonzero([row.split == name for row in self.rows]).astype(np.int64)


def make_split(rows: Sequence[Row], target: Target, seed: int) -> Split:
    """The split that the table gives, with what is missing of it made.

    Without any split, groups are divided 70/15/15. Where val or test is missing, a part of the
    groups of train becomes it. Groups stay whole, labels are spread evenly, and equal seeds give
    equal splits. Rows without a group are groups of their own.

    Raises:
        InputError: a split has another name, or there are too few groups.
    """
    rows = [replace(row, split=part_of(row)) for row in rows]
    given = {row.split for row in rows if row.split}
    if not given:
        return Split(_divided(rows, target, _SHARES, seed), f"made by group, seed {seed}")
    if TRAIN not in given:
        raise InputError("no row has the split 'train'; name some so, or leave the column out")
    missing = [part for part in (VAL, TEST) if part not in given]
    if not missing:
        return Split(rows, "given")
    train = [i for i, row in enumerate(rows) if row.split == TRAIN]
    rest = sum(_SHARES[part] for part in (TRAIN, *missing))
    shares = {part: _SHARES[part] / rest for part in (TRAIN, *missing)}
    divided = _divided([rows[i] for i in train], target, shares, seed)
    for i, row in zip(train, divided, strict=True):
        rows[i] = row
    parts = " and ".join(missing)
    how = f"given, but for {parts}: made of train by group, seed {seed}"
    return Split(rows, how, is_partly_made=True)


def part_of(row: Row) -> str:
    """train, val or test, whatever the table calls them; empty where it does not say.

    Raises:
        InputError: the split has another name.
    """
    name = row.split.strip().lower()
    if name and name not in _NAMES:
        raise InputError(
            f"{row.title}: the split is '{row.split}'; write train, val or test, or leave it empty"
        )
    return _NAMES.get(name, "")


def group_of(row: Row) -> str:
    """Whom a row shows; a row that does not say is a group of its own."""
    return row.group or f"\0{row.video}"


def _divided(rows: Sequence[Row], target: Target, shares: dict[str, float], seed: int) -> list[Row]:
    """Rows with parts, a group of rows as a whole; every part gets its share of every class.

    Greedy: groups in an order of the seed, the large ones first; each goes to the part that lacks
    most of what it has (stratified group k-fold of scikit-learn, for parts of unequal size).
    """
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        members[group_of(row)].append(i)
    if len(members) < max(len(shares), _FEWEST_GROUPS):
        raise InputError(
            f"{len(members)} groups of rows are too few to split; give a column 'split', or more "
            "groups"
        )
    counts = _strata(target.encode(rows))
    sums = {group: counts[places].sum(axis=0) for group, places in members.items()}
    total = np.maximum(counts.sum(axis=0), 1.0)
    rng = np.random.default_rng(seed)
    order = [sorted(members)[i] for i in rng.permutation(len(members))]
    order.sort(key=lambda group: -float((sums[group] / total).max()))
    filled = {name: np.zeros(counts.shape[1]) for name in shares}
    parts = [""] * len(rows)
    for group in order:
        gain = {  # how far the part still is from its share of what the group has
            name: float((sums[group] / total) @ (share - filled[name] / total) / share)
            for name, share in shares.items()
        }
        name = max(gain, key=lambda part: gain[part])
        filled[name] += sums[group]
        for i in members[group]:
            parts[i] = name
    return [replace(row, split=part) for row, part in zip(rows, parts, strict=True)]


def _strata(labels: Values) -> Values:
    """(N, S) what a row counts for: one itself, and one of each class it belongs to."""
    columns = [np.ones(len(labels))]
    for values in labels.T:
        seen = np.unique(values[np.isfinite(values)])
        if len(seen) > 12:  # a quantity: its quarters are classes
            edges = np.nanquantile(values, [0.25, 0.5, 0.75])
            values = np.where(np.isfinite(values), np.searchsorted(edges, values), np.nan)
            seen = np.arange(4.0)
        columns += [(values == value).astype(float) for value in seen]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Leaks:
    """What is on two sides of a split.

    Attributes:
        groups: group -> its parts, where these are more than one.
        copies: names of a file and those with the same content, and their parts.
    """

    groups: dict[str, list[str]]
    copies: list[tuple[list[str], list[str]]]

    def __bool__(self) -> bool:
        return bool(self.groups or self.copies)

    def line(self) -> str:
        """What leaks, in one line."""
        words = []
        if self.groups:
            group, parts = next(iter(self.groups.items()))
            words.append(
                f"{len(self.groups)} groups are in more than one part of the split ('{group}' in "
                f"{' and '.join(parts)})"
            )
        if self.copies:
            files, parts = self.copies[0]
            words.append(
                f"{len(self.copies)} files, or copies of them, are in more than one part "
                f"({' = '.join(files[:2])} in {' and '.join(parts)})"
            )
        return "; ".join(words)


def find_leaks(rows: Sequence[Row]) -> Leaks:
    """Groups, and contents of files, that are in more than one part.

    Only files of equal size are read. Files that are not there are left alone.
    """
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group and row.split:
            parts[row.group].add(row.split)
    groups = {group: sorted(names) for group, names in parts.items() if len(names) > 1}
    return Leaks(groups, _copies(rows))


def _copies(rows: Sequence[Row]) -> list[tuple[list[str], list[str]]]:
    by_size: defaultdict[int, defaultdict[Path, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        if row.split and row.stamp is not None:
            by_size[row.stamp[0]][row.video].add(row.split)
    copies = []
    for files in by_size.values():
        if len(set().union(*files.values())) < 2:
            continue
        same: defaultdict[str, list[Path]] = defaultdict(list)
        for file in files:  # a file of its own size need not be read
            same[file_sha256(file) if len(files) > 1 else ""].append(file)
        for group in same.values():
            names = sorted(set().union(*(files[file] for file in group)))
            if len(names) > 1:
                copies.append(([str(file) for file in group], names))
    return copies


def share_of(labels: Values, share: float, seed: int, draw: int) -> Indices:
    """A share of the training labels: nested (10 % lie within 50 %), stratified, by seed and draw.

    Rows come in an order in which every beginning has the classes in their proportions; the share
    is a beginning of it. A class may have none in a small share.

    Args:
        labels: (N, K) of the training rows.
        share: of them, above 0 and at most 1.
        seed: of all draws.
        draw: which one.

    Returns:
        Positions, ascending.
    """
    rng = np.random.default_rng([seed, draw])
    shuffled = rng.permutation(len(labels))
    strata = _strata(labels[shuffled])
    totals = Counter(row.tobytes() for row in strata)
    first = {key: rng.random() for key in totals}  # or rare combinations were never at the front
    counts = Counter[bytes]()
    places = np.empty(len(labels))
    for i, row in enumerate(strata):
        key = row.tobytes()
        places[i] = (counts[key] + first[key]) / totals[key]  # evenly over the order
        counts[key] += 1
    order = shuffled[np.argsort(places, kind="stable")]
    count = max(1, round(share * len(labels)))
    return np.sort(order[:count]).astype(np.int64)


def write_split(path: Path, rows: Sequence[Row], target: Target) -> Path:
    """A table of rows with their parts and labels, which can be read as a manifest again."""
    with (
        atomic(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        table = csv.writer(file)
        table.writerow(["video", "start_s", "end_s", "split", "group", *target.columns])
        for row in rows:
            cells = [display(row.video.absolute()), *row.part, row.split, row.group]
            cells += [row.labels.get(name, "") for name in target.columns]
            table.writerow(["" if cell is None else cell for cell in cells])
    return path


def fingerprint(rows: Sequence[Row], labels: Values) -> str:
    """SHA-256 of videos, parts and labels: a run goes on with the labels it began with."""
    digest = hashlib.sha256()
    for row, values in zip(rows, labels, strict=True):
        digest.update(f"{row.key} {row.split} {row.group} {values.tolist()}\n".encode())
    return digest.hexdigest()
