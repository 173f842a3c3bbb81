"""`lipsync table`: the systems of the paper's table, trained for as long and scored alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.files import file_sha256
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.face_features import EncoderNet
from openmarlin.lipsync.generation.data import count_ticks
from openmarlin.lipsync.generation.pairs import Pair, make_pairs, read_pairs, test_tracks
from openmarlin.lipsync.generation.table import (
    OTHER,
    PICTURES,
    REAL,
    RUNS,
    SCORES,
    SystemScores,
    measured,
    rows_of,
    score_real,
    score_row,
)
from openmarlin.lipsync.generation.table_settings import TableSettings
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.store_tracks import split_store_tracks
from openmarlin.output import OutputFolder
from openmarlin.report.lipsync_table import TABLE_FILE, TableAbout, draw_row, write_table
from openmarlin.report.run import REPORT_FILE
from openmarlin.settings import documented
from openmarlin.training.settings import read_run_settings

TABLE_JSON = "table.json"
_LEAST_TICKS = 3 * TICK_RATE  # of a test clip: scores of shorter ones say little
_FILES = (RUNS, SCORES, PICTURES, TABLE_FILE, TABLE_JSON, REPORT_FILE)


@dataclass(frozen=True)
class Table:
    """The table.

    Attributes:
        out: the folder.
        rows: real faces, real faces with other sound, and the systems.
    """

    out: Path
    rows: list[SystemScores]


@documented(TableSettings)
def table(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Table:
    """Train and score the systems of the paper's table at an equal budget.

    Args:
        data: a store with sound and mesh points; with `resume` that of the table.
        config: a recipe, a YAML file of settings; with `resume` that of the table.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(TableSettings, data, config, settings)
    rows, store = rows_of(request), Store(request.data)
    pairs, absent = _pairs(request, store)
    expert, net = load_expert(request.scorer), EncoderNet()
    with OutputFolder(
        request.out,
        verb="lipsync table",
        settings=request,
        files=_FILES,
        identity={
            "store": file_sha256(request.data / INDEX_FILE),
            "expert": f"{expert.name}@{expert.digest}",
        },
        resume=request.resume,
        overwrite=request.overwrite,
    ) as folder:
        folder.begin()
        score_real(request, pairs, expert)
        for row in rows:
            for seed in range(request.seeds):
                if progress:
                    console.print(f"{row.title}, seed {seed}")
                drawn = score_row(row, seed, request, pairs, expert, net, progress=progress)
                for pair in drawn if seed == 0 else []:
                    draw_row(request.out / PICTURES, row.name, pair)
        results = [measured(request.out, name) for name in (REAL, OTHER, *(r.name for r in rows))]
        about = TableAbout(
            settings=request,
            minutes=_minutes(store, request),
            pairs=len(pairs),
            absent=absent,
            scorer=f"{expert.name}@{expert.digest} ({expert.framing})",
            net=net.name,
        )
        write_table(request.out, results, about)
        folder.write_json(TABLE_JSON, [asdict(row) for row in results])
    return Table(request.out, results)


def announce(result: Table) -> None:
    """Say where to look."""
    for row in result.rows:
        console.print(f"{row.name}: LSE-D {row.lse_d[0]:.3f}, LSE-C {row.lse_c[0]:.3f}")
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)


def _pairs(request: TableSettings, store: Store) -> tuple[list[Pair], int]:
    if request.pairs is None:
        long = test_tracks(store, _LEAST_TICKS, request.val_share)
        return make_pairs(store, long, request.clips), 0
    tracks = test_tracks(store, request.ticks, request.val_share)
    pairs, absent = read_pairs(request.pairs, store, tracks)
    return pairs[: request.clips], absent


def _minutes(store: Store, request: TableSettings) -> float:
    """Of training video."""
    usable = [i for i, track in enumerate(store.tracks) if track.sound_bytes and track.point_bytes]
    train, _ = split_store_tracks(store, usable, request.val_share)
    return sum(count_ticks(store.tracks[i]) for i in train) / TICK_RATE / 60
