"""The table of lip sync: published and measured numbers apart, pictures of what was drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from openmarlin.files import atomic
from openmarlin.lipsync.generation.drawing import DrawnPair
from openmarlin.lipsync.generation.systems import ROWS
from openmarlin.lipsync.generation.table import OTHER, PICTURES, REAL, Interval, SystemScores
from openmarlin.lipsync.generation.table_settings import TableSettings
from openmarlin.report import words
from openmarlin.report.page import data_address, jpeg, write_page
from openmarlin.report.probe import table
from openmarlin.report.reconstruct import strip
from openmarlin.report.run import REPORT_FILE

TABLE_FILE = "table.csv"

_TITLES = {
    REAL: "real faces, their own sound",
    OTHER: "real faces, another's sound",
    **{row.name: row.title for row in ROWS},
}
_PUBLISHED = {row.name: row.published for row in ROWS}
_QUALITY = 88  # of the pictures


@dataclass(frozen=True)
class TableAbout:
    """What the page says beside the numbers.

    Attributes:
        settings: of the table.
        minutes: of training video.
        pairs: test pairs.
        absent: pairs of the list whose clips are not there.
        scorer: the expert, with digest and framing.
        net: whose features the distance to real faces is of.
    """

    settings: TableSettings
    minutes: float
    pairs: int
    absent: int
    scorer: str
    net: str


def write_table(out: Path, rows: Sequence[SystemScores], about: TableAbout) -> None:
    """Write table.csv and report.html."""
    with atomic(out / TABLE_FILE) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_csv(rows))
    content = {
        "headline": "Lip synchronisation: systems at an equal budget",
        "facts": _facts(about),
        "notes": _notes(rows, about),
        "measured": table(
            ["System", "LSE-D ↓", "LSE-C ↑", "within 1 frame ↑", "FID ↓"], list(map(_line, rows))
        ),
        "published": table(["System", "LSE-D ↓", "LSE-C ↑", "FID ↓"], list(_published())),
        "pictures": list(_pictures(out / PICTURES)),
    }
    write_page(out / REPORT_FILE, "lipsync_table.html", content)


def draw_row(folder: Path, name: str, pair: DrawnPair) -> None:
    """Some frames of a pair: as it is, and as a system draws it to another's sound."""
    sheet = np.concatenate([strip(pair.real[: len(pair.drawn)]), strip(pair.drawn)])
    with atomic(folder / f"{name}.jpg") as part:
        part.write_bytes(jpeg(sheet, _QUALITY))


def _csv(rows: Sequence[SystemScores]) -> Iterable[list[str]]:
    yield [
        "system", "lse_d", "lse_d_low", "lse_d_high", "lse_c", "lse_c_low", "lse_c_high",
        "within_1", "fid", "pairs", "seeds",
    ]  # fmt: skip
    for row in rows:
        numbers = [*row.lse_d, *row.lse_c, row.in_sync, row.fid]
        cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
        yield [row.name, *cells, str(row.pairs), str(row.seeds)]


def _facts(about: TableAbout) -> list[tuple[str, str, str]]:
    settings = about.settings
    return [
        ("Training", f"{settings.steps:,} steps", f"of {settings.batch} clips, each system alike"),
        ("Training video", f"{about.minutes:.0f} minutes", settings.data.name),
        ("Size", f"width {settings.width:g}, {settings.size} px", "published: width 1, 96 px"),
        ("Test", f"{about.pairs} pairs", words.count(settings.seeds, "seed")),
        ("Scored by", about.scorer.partition(" (")[0], about.scorer.partition(" (")[2].rstrip(")")),
        ("FID", about.net, "between drawn faces and the real ones of the pairs"),
    ]


def _notes(rows: Sequence[SystemScores], about: TableAbout) -> list[str]:
    notes = [
        "Numbers of another expert, other data or another budget cannot be compared with these: "
        "the published ones stand apart.",
        "Systems whose intervals overlap are not told apart.",
    ]
    if about.absent:
        notes.append(
            f"{about.absent:,} pairs of the list were left out: their clips are not there."
        )
    scored = min((row.pairs for row in rows), default=0)
    if scored < about.pairs:
        notes.append(
            "In some pairs no face was found in what was drawn: in the row with the fewest "
            f"{scored} of {about.pairs} are scored, the mean of its trainings."
        )
    return notes


def _line(row: SystemScores) -> list[str | Markup]:
    return [
        _TITLES[row.name],
        _interval(row.lse_d),
        _interval(row.lse_c),
        _number(row.in_sync, 2),
        "–" if row.name in (REAL, OTHER) else _number(row.fid, 3),
    ]


def _published() -> Iterable[list[str]]:
    for name, (lse_d, lse_c, fid) in _PUBLISHED.items():
        yield [_TITLES[name], f"{lse_d:.3f}", f"{lse_c:.3f}", "–" if fid is None else f"{fid:.3f}"]


def _interval(value: Interval) -> Markup:
    mean, low, high = value
    if math.isnan(low):
        return Markup("{}").format(_number(mean, 3))
    return Markup("{}<small>{} to {}</small>").format(
        _number(mean, 3), _number(low, 3), _number(high, 3)
    )


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _pictures(folder: Path) -> Iterable[tuple[str, str]]:
    for row in ROWS:
        file = folder / f"{row.name}.jpg"
        if file.is_file():
            yield row.title, data_address(file.read_bytes())
