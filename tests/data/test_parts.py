"""Finished videos of an extraction: what counts as done, and how they are joined."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from openmarlin.data.features import WindowRow
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.parts import PARTS, TOKENS, FinishedVideos, Record
from openmarlin.errors import InputError

DIM = 4


def _windows(video: Path, n: int = 2) -> list[WindowRow]:
    embedding = np.arange(DIM, dtype=np.float32)
    return [
        WindowRow(
            video=str(video),
            window=i,
            start_s=float(i),
            end_s=i + 1.0,
            n_frames=16,
            n_real=16,
            face=0,
            ok=True,
            embedding=embedding + i,
        )
        for i in range(n)
    ]


def _commit(finished: FinishedVideos, row: Row, problems: list[str] | None = None) -> None:
    tokens = {"0-0": np.ones((8, DIM), np.float16)}
    record = Record(2.0, problems or [], [], row.stamp)
    finished.commit(row, _windows(row.video), [], tokens, record)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    for i in range(3):
        (tmp_path / f"{i}.mp4").write_text(f"video {i}")
    return [Row(tmp_path / f"{i}.mp4") for i in range(3)]


def test_killed_run_is_resumed_without_redoing_or_duplicating(
    tmp_path: Path, rows: list[Row]
) -> None:
    _commit(FinishedVideos(tmp_path / "out", DIM), rows[1])
    again = FinishedVideos(tmp_path / "out", DIM)
    assert [again.is_done(row) for row in rows] == [False, True, False]
    for row in (rows[2], rows[0]):
        _commit(again, row)
    features, *_ = again.merge(Manifest(rows))
    names = features.table.column("video").to_pylist()
    assert names == [str(row.video) for row in rows for _ in range(2)]
    np.testing.assert_array_equal(features.embeddings[1], np.arange(DIM) + 1)


def test_done_is_a_name_whatever_folder_it_is_seen_from(
    tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    _commit(finished, rows[0])
    monkeypatch.chdir(tmp_path)
    assert finished.is_done(Row(Path("0.mp4")))
    assert not finished.is_done(Row(Path("sub/0.mp4")))
    assert not finished.is_done(Row(rows[0].video, 0, 1))
    features, *_ = finished.merge(Manifest([Row(Path("0.mp4"))]))
    assert set(features.table.column("video").to_pylist()) == {"0.mp4"}


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_not_done_and_can_be_forgotten(
    tmp_path: Path, rows: list[Row], change: str
) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    _commit(finished, rows[0])
    status = rows[0].video.stat()
    if change == "size":
        rows[0].video.write_text("a longer video")
        os.utime(rows[0].video, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(rows[0].video, (0, 0))
    assert not finished.is_done(rows[0])
    finished.discard(rows[0])
    assert len(finished.merge(Manifest(rows))[0]) == 0
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_one_read_in_part_is_not_done_and_one_that_is_gone_stays_done(
    tmp_path: Path, rows: list[Row]
) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    _commit(finished, rows[0], ["ends early"])
    _commit(finished, rows[1])
    rows[1].video.unlink()
    assert [finished.is_done(row) for row in rows] == [False, True, False]


def test_a_damaged_part_is_done_again(tmp_path: Path, rows: list[Row]) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    _commit(finished, rows[0])
    file = tmp_path / "out" / PARTS / f"{rows[0].key}.parquet"
    file.write_bytes(file.read_bytes()[:100])
    assert not finished.is_done(rows[0])


def test_what_cannot_be_removed_is_one_line(tmp_path: Path, rows: list[Row]) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PARTS).touch()
    with pytest.raises(InputError, match=str(tmp_path / "out" / PARTS)) as caught:
        finished.discard(rows[0])
    assert "\n" not in str(caught.value)


def test_videos_of_one_name_and_parts_of_one_video_do_not_collide(tmp_path: Path) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    names = [Row(tmp_path / "x" / "a.mp4"), Row(tmp_path / "y" / "a.mp4")]
    rows = [*names, Row(names[1].video, 1.0), Row(names[1].video, end_s=1.0)]
    for row in rows:
        _commit(finished, row)
    files = sorted((tmp_path / "out" / TOKENS).glob("a-*.safetensors"))
    assert len(files) == 4
    assert load_file(files[0])["0-0"].shape == (8, DIM)
    assert len(finished.merge(Manifest(rows))[0]) == 8


@pytest.mark.parametrize("letter", ["n", "\N{GREEK SMALL LETTER OMEGA}"])
def test_a_name_as_long_as_a_file_may_have(letter: str, tmp_path: Path) -> None:
    """Also of two bytes a letter; what is made of it must not be longer."""
    row = Row(tmp_path / f"{letter * (250 // len(letter.encode()))}.mp4")
    row.video.touch()
    finished = FinishedVideos(tmp_path / "out", DIM)
    _commit(finished, row)
    assert len(finished.merge(Manifest([row]))[0]) == 2
    finished.discard(row)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_every_other_column_stands_before_the_embedding(tmp_path: Path, rows: list[Row]) -> None:
    finished = FinishedVideos(tmp_path / "out", DIM)
    labelled = [
        Row(row.video, split="val", labels={"age": str(20 + i), "who": "ab"[i]})
        for i, row in enumerate(rows[:2])
    ]
    for row in labelled:
        _commit(finished, row)
    table = finished.merge(Manifest(labelled))[0].table
    assert table.column_names[-4:] == ["age", "who", "split", "embedding"]
    assert table.column("age").to_pylist() == [20, 20, 21, 21]
    assert table.column("who").to_pylist() == ["a", "a", "b", "b"]
    for taken in ("ok", "e7"):
        clash = Manifest([Row(rows[0].video, labels={taken: "1"})])
        with pytest.raises(InputError, match=f"'{taken}'"):
            finished.merge(clash)
