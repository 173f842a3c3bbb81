"""The tracks of a store beside the labels of their videos, and the part of the split each is in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.data.manifest import Row, unique
from openmarlin.data.store import Store
from openmarlin.errors import InputError, option
from openmarlin.output import Part
from openmarlin.settings import nearest
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.splits import PARTS, TEST, TRAIN, Indices, Split

_BOUNDS = ("part_start_s", "part_end_s")


@dataclass(frozen=True)
class LabelledStore:
    """What is learnt from.

    Attributes:
        store: the tracks.
        rows: of the manifest, each in its part of the split, or in none.
        row_of: (n_tracks,) position of each track's row; -1 where there is none.
        target: what is predicted.
        labels: (N, K) of the rows.
        how: what is said of the split.
    """

    store: Store
    rows: Sequence[Row]
    row_of: Indices
    target: Target
    labels: Values
    how: str

    @property
    def used_rows(self) -> list[Row]:
        """Those that are in a part."""
        return [row for row in self.rows if row.split]

    def tracks(self, part: str) -> Indices:
        """Positions of the tracks of train, val or test."""
        parts = np.array([row.split for row in self.rows] + [""])
        return np.flatnonzero(parts[self.row_of] == part).astype(np.int64)

    def labels_of(self, tracks: Indices) -> Values:
        """(n, K) of some tracks."""
        return np.asarray(self.labels[self.row_of[tracks]])


def rows_of_store(store: Store) -> list[Row]:
    """The rows of the manifest that a store was made from, as far as they gave tracks."""
    return unique(_row(store, number) for number in range(len(store)))


def match_tracks(store: Store, rows: Sequence[Row]) -> Indices:
    """(n_tracks,) the position of each track's row among `rows`; -1 where there is none.

    Videos are compared by their paths; where none of those is the same, by their names, as a store
    may have been made elsewhere.

    Raises:
        InputError: no track has a row.
    """
    own = [_row(store, number) for number in range(len(store))]
    places = {row.key: i for i, row in enumerate(rows)}
    found = np.array([places.get(row.key, -1) for row in own], np.int64)
    if (found < 0).all():
        names = Counter(map(_name, rows))
        by_name = {_name(row): i for i, row in enumerate(rows) if names[_name(row)] == 1}
        found = np.array([by_name.get(_name(row), -1) for row in own], np.int64)
    if (found < 0).all():
        raise InputError(
            f"none of the {len(rows)} videos of the labels is in {store.path} (its first is "
            f"{own[0].title}); name the table that the store was made from"
        )
    return found


def split_store(
    store: Store,
    rows: Sequence[Row],
    split: Split,
    target: Target,
    *,
    exclude: str | None = None,
    one_class: bool = False,
) -> LabelledStore:
    """The tracks of a store beside the rows of a split, if they can be learnt from.

    Args:
        store: the tracks.
        rows: all rows of the manifest, those without a label too.
        split: of the rows that have one.
        target: what is predicted.
        exclude: COLUMN=VALUE: rows that are left out of train and val; see `FinetuneSettings`.
        one_class: training rows of one class are enough: the other is made of them.

    Raises:
        InputError: a part has no track, or the training tracks have one class alone.
    """
    parts = {row.key: row.split for row in split.rows}
    rows = [replace(row, split=parts.get(row.key, "")) for row in rows]
    if exclude is not None:
        rows = _leave_out(rows, target, *exclude.split("=", 1))
    labelled = LabelledStore(
        store, rows, match_tracks(store, rows), target, target.encode(rows), split.how
    )
    for part in PARTS:
        if not len(labelled.tracks(part)):
            raise InputError(f"{store.path}: no track of a video in the part '{part}' of the split")
    if not one_class:
        _check_classes(labelled)
    return labelled


def _check_classes(labelled: LabelledStore) -> None:
    target = labelled.target
    if target.kind in ("regression", "multilabel"):
        return
    labels = labelled.labels_of(labelled.tracks(TRAIN))[:, 0]
    classes = np.unique(labels[np.isfinite(labels)])
    if len(classes) < 2:
        names = " and ".join(target.classes[int(i)] for i in classes) or "none"
        raise InputError(
            f"the training tracks have one value of {target.name} alone ({names}); there is "
            "nothing to tell apart: change the split, or add videos"
        )


def _leave_out(rows: Sequence[Row], target: Target, column: str, value: str) -> list[Row]:
    """Rows with that value are tested on alone; with the negative ones, where there are such."""
    names = list(dict.fromkeys(name for row in rows for name in row.labels))
    if column not in names:
        text = f"{option('exclude')}: there is no column '{column}'{nearest(column, names)}"
        raise InputError(text)
    values = {row.labels.get(column, "") for row in rows}
    if value not in values:
        raise InputError(
            f"{option('exclude')}: no row has {column} '{value}'{nearest(value, sorted(values))}"
        )
    negative = target.encode(rows)[:, 0] == 0 if target.kind == "binary" else [False] * len(rows)
    kept = []
    for row, is_negative in zip(rows, negative, strict=True):
        left_out = row.labels.get(column, "") == value
        stays = (left_out or is_negative) if row.split == TEST else not left_out
        kept.append(row if stays else replace(row, split=""))
    return kept


def _row(store: Store, number: int) -> Row:
    """The row of the manifest that a track came from."""
    track = store.tracks[number]
    cells: dict[str, Any] = {name: values[number] for name, values in store.columns.items()}
    start_s, end_s = (_bound(cells.pop(name, None)) for name in _BOUNDS)
    return Row(
        Path(track.video),
        start_s,
        end_s,
        str(cells.pop("split", "") or ""),
        track.group,
        {name: _text(value) for name, value in cells.items()},
    )


def _bound(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _text(value: Any) -> str:
    """A value of a column as its table had it; a number that is missing is nothing."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.15g}"
    return str(value)


def _name(row: Row) -> tuple[str, Part]:
    return row.video.name, row.part
