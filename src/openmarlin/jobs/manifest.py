"""`manifest`: a published data set, as it lies on disk -> a table of videos and labels.

OUT.csv            what `read_manifest` reads: video, start_s, end_s, split, group and labels
OUT.missing.csv    videos that the labels name and that are not there, and why
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.layouts import find_layout
from openmarlin.data.layouts.layout import SPLITS, Layout, Listing
from openmarlin.data.manifest import Row, existing, write_manifest
from openmarlin.errors import InputError, option
from openmarlin.jobs.settings import ManifestSettings
from openmarlin.settings import documented, read_settings


@dataclass(frozen=True)
class ManifestTable:
    """The table that was written.

    Attributes:
        out: the CSV.
        missing: the list of videos that are not there; None where all are.
        noun: what a row is, in the plural: "clips".
        rows: how many there are.
        listed: how many the labels of the data set name.
        splits: {split: rows}, those without a split under "".
        groups: how many there are.
        notes: what else a user of the table must know, a sentence each.
    """

    out: Path
    missing: Path | None
    noun: str
    rows: int
    listed: int
    splits: dict[str, int]
    groups: int
    notes: list[str] = field(default_factory=list)


@documented(ManifestSettings)
def manifest(
    layout: str,
    root: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - every verb takes it; this one is done in seconds
    **settings: Any,
) -> ManifestTable:
    """Write a table of the videos of a published data set, with their labels and official split.

    Args:
        layout: which data set: a name in `openmarlin.data.layouts.LAYOUTS`.
        root: its folder, or the table of the layout csv.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing.
        {settings}

    Raises:
        InputError: there is no such layout, the folder is that of something else, no video of it
            is there, or the layout has no such setting.
    """
    s = read_settings(ManifestSettings, config, settings)
    data_set = find_layout(layout)
    _check_out(s)
    listing = data_set.read(existing(root), data_set.settings(_given(s)))
    if not listing.rows:
        raise _nothing(data_set, Path(root), listing)
    missing = _write_missing(s.out, listing)
    write_manifest(s.out, listing.rows)
    return ManifestTable(
        s.out,
        missing,
        listing.noun,
        len(listing.rows),
        len(listing.rows) + listing.absent,
        dict(Counter(row.split for row in listing.rows)),
        len({row.group for row in listing.rows if row.group}),
        [*listing.notes, *_contradictions(listing), *_crossing(listing.rows)],
    )


def _check_out(s: ManifestSettings) -> None:
    if s.out.suffix.lower() != ".csv":
        raise InputError(f"{s.out}: the table is a CSV; give it a name that ends in .csv")
    for path in (s.out, _missing_file(s.out)):
        if path.exists() and not s.overwrite:
            raise InputError(
                f"{path}: exists already; add {option('overwrite', True)} or name another file"
            )


def _missing_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.missing.csv")


def _given(s: ManifestSettings) -> dict[str, Any]:
    """Those settings of the data set that somebody set."""
    values = s.model_dump(exclude={"out", "overwrite"})
    return {name: value for name, value in values.items() if value not in (None, ())}


def _nothing(layout: Layout, root: Path, listing: Listing) -> InputError:
    first = next(iter(listing.missing.items()), None)
    such = f", such as {first[0]} ({first[1]})" if first else ""
    return InputError(
        f"{root}: none of the {listing.absent:,} {listing.noun} that the labels of {layout.name} "
        f"name is there{such}"
    )


def _write_missing(out: Path, listing: Listing) -> Path | None:
    path = _missing_file(out)
    if not listing.missing:
        path.unlink(missing_ok=True)  # of an earlier table
        return None
    rows = [Row(video, labels={"reason": why}) for video, why in listing.missing.items()]
    return write_manifest(path, rows)


def _contradictions(listing: Listing) -> list[str]:
    """The note that the labels of the data set name something twice, and differently."""
    if not listing.contradictions:
        return []
    return [
        f"{listing.contradictions:,} {listing.noun} are named again with another label or split; "
        "the first one counts"
    ]


def _crossing(rows: list[Row]) -> list[str]:
    """The note that groups lie on both sides of a split."""
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group and row.split:
            sides[row.group].add(row.split)
    crossing = [group for group, splits in sides.items() if len(splits) > 1]
    if not crossing:
        return []
    return [
        f"{len(crossing):,} of {len(sides):,} groups, such as '{crossing[0]}', are in more than "
        "one split: whoever is tested on may have been trained on"
    ]


def announce(result: ManifestTable) -> None:
    """Say what the table holds, and what is missing."""
    absent = result.listed - result.rows
    console.print(
        f"{result.rows:,} of {result.listed:,} {result.noun} are there"
        + (f" ({absent:,} missing, see {escape(str(result.missing))})" if absent else ""),
        soft_wrap=True,
    )
    counts = [f"{name} {result.splits[name]:,}" for name in SPLITS if name in result.splits]
    if "" in result.splits:
        counts.append(f"without a split {result.splits['']:,}")
    groups = f"; {result.groups:,} groups" if result.groups else ""
    console.print(f"{', '.join(counts)}{groups}", soft_wrap=True)
    for note in result.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    console.print(f"-> {escape(str(result.out))}", soft_wrap=True)
