"""The paper's table on made-up people, at a tiny size: pairs, rows, resume, what the page says."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from talkers import talking_store

from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.files import write_json
from openmarlin.jobs.lipsync_table import table
from openmarlin.jobs.lipsync_train_expert import train_expert
from openmarlin.lipsync.generation.pairs import Pair, make_pairs, read_pairs, test_tracks
from openmarlin.lipsync.generation.systems import ROWS
from openmarlin.lipsync.generation.table import REAL, measured, request_of
from openmarlin.lipsync.generation.table_settings import Name, TableSettings

test_tracks.__test__ = False  # type: ignore[attr-defined]

TINY: dict[str, Any] = {
    "systems": "wav2lip,vit", "steps": 1, "batch": 1, "width": 0.06, "size": 64, "seeds": 1,
    "clips": 2, "seconds": 1.0, "preset": "tiny", "encoder_size": 32, "workers": 0, "w_sync": 0,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return talking_store(
        tmp_path_factory.mktemp("talking") / "store", people=8, talks=2, seconds=4, splits=True
    )


@pytest.fixture(scope="module")
def scorer(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("expert") / "run"
    settings = {"width": 8, "steps": 1, "batch": 2, "workers": 0, "accelerator": "cpu"}
    return str(train_expert(store.path, out=run, **settings).model)


def test_a_table_and_going_on_with_it(store: Store, scorer: str, tmp_path: Path) -> None:
    out = tmp_path / "table"
    made = table(store.path, out=out, scorer=scorer, **TINY)
    assert [row.name for row in made.rows] == ["real", "real_other", "wav2lip", "vit"]
    page = (out / "report.html").read_text()
    assert "7.127" in page  # published, in a table of its own
    assert "1 steps" in page
    assert scorer.split("/")[-1] in page
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[2]["system"] == "wav2lip"
    assert {row["seeds"] for row in rows} == {"1"}
    assert (out / "pictures" / "vit.jpg").is_file()
    score = out / "scores" / "vit-0.json"
    before = (out / "scores" / "wav2lip-0.json").stat().st_mtime_ns
    score.unlink()
    table(out=out, resume=True)
    assert score.is_file()
    assert (out / "scores" / "wav2lip-0.json").stat().st_mtime_ns == before


def test_pairs_are_of_different_people_and_the_same_every_time(store: Store) -> None:
    tracks = test_tracks(store, 25, 0.2)
    assert {store.tracks[i].group for i in tracks} == {"person-3", "person-7"}
    pairs = make_pairs(store, tracks, 4)
    assert pairs == make_pairs(store, list(reversed(tracks)), 4)
    assert len({pair.face for pair in pairs}) == 4
    groups = [(store.tracks[a].group, store.tracks[b].group) for a, b in pairs]
    assert all(face != sound for face, sound in groups)
    assert groups[0][0] != groups[1][0]  # many people first
    with pytest.raises(InputError, match="two groups"):
        make_pairs(store, [i for i in tracks if store.tracks[i].group == "person-3"], 4)


def test_published_lists_name_the_sound_first(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "lrs2.txt"
    videos = {track.name: f"main/553/0000{i}.mp4" for i, track in enumerate(store.tracks)}
    tracks = store.tracks
    store.tracks = [track._replace(video=videos[track.name]) for track in tracks]
    try:
        path.write_text("553/00001 553/00002\n553/00003 999/00001\n\n")
        assert read_pairs(path, store, range(4)) == ([Pair(face=2, sound=1)], 1)
        path.write_text("a/1 b/2\n")
        with pytest.raises(InputError, match="none of its 1 pairs"):
            read_pairs(path, store, range(4))
    finally:
        store.tracks = tracks
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path / "nowhere", store, range(4))


def test_rows_that_lack_something_say_what(store: Store, scorer: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--kind pixels"):
        table(store.path, out=tmp_path / "a", scorer=scorer, **{**TINY, "w_sync": 0.03})
    videomae = {**TINY, "systems": "vit_videomae"}
    with pytest.raises(InputError, match="videomae"):
        table(store.path, out=tmp_path / "b", scorer=scorer, **videomae)


def test_every_row_is_a_valid_training(tmp_path: Path) -> None:
    names = tuple(row.name for row in ROWS)
    fields = {"out": tmp_path, "data": tmp_path, "videomae": "v", "expert": "e"}
    settings = TableSettings(steps=10, systems=names, **fields)
    assert set(names) == set(get_args(Name))
    for row in ROWS:
        request = request_of(row, 1, settings)
        assert (request.steps, request.seed, request.width) == (10, 1, 1.0)
        assert (request.expert is None) != row.has_expert
    assert request_of(ROWS[-1], 0, settings).encoder == "marlin_vit_base"


def test_scores_of_all_seeds_make_a_row(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    for seed, values in enumerate(((8.0, 6.0), (7.0, 7.0))):
        pairs = [
            {"group": f"g{i}", "lse_d": value, "lse_c": 1.0, "ticks": 3 * i}
            for i, value in enumerate(values)
        ]
        content = {"fid": float(seed), "pairs": [*pairs, {"group": "g9"}]}
        write_json(tmp_path / "scores" / f"wav2lip-{seed}.json", content)
    row = measured(tmp_path, "wav2lip")
    assert row.lse_d[0] == 7.0
    assert row.lse_d[1] <= 7.0 <= row.lse_d[2]
    assert (row.in_sync, row.fid, row.pairs, row.seeds) == (0.5, 0.5, 2, 2)
    (tmp_path / "scores" / "real.json").write_text(json.dumps({"fid": 0.0, "pairs": []}))
    assert measured(tmp_path, REAL).pairs == 0
