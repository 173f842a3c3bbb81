"""Parts and tables of `faces`: what counts as done, small pieces joined, both formats read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from openmarlin.data.face_parts import FaceParts, FaceRecord
from openmarlin.data.face_table import (
    FaceRow,
    check_columns,
    open_table,
    points_of,
    read_faces,
    rows_to_table,
    schema,
)
from openmarlin.data.manifest import Manifest, Row
from openmarlin.errors import InputError

BOX = np.array([1, 2, 3, 4], np.float32)


def rows(n: int) -> list[FaceRow]:
    """Seen, out of sight and nobody, in turns."""
    mesh = np.arange(478 * 3, dtype=np.float32).reshape(478, 3)
    kinds = ((0, 0.9, BOX, mesh), (0, 0.0, BOX, None), (-1, np.nan, None, None))
    return [FaceRow(i, i / 25, *kinds[i % 3]) for i in range(n)]


def table(n: int, *, points: bool = True):
    seen = sum(row.points is not None for row in rows(n))
    pose, expression = np.full((seen, 3), 10.0), np.full((seen, 52), 0.5)
    return rows_to_table("a.mp4", rows(n), pose, expression, points=points)


def make(parts: FaceParts, row: Row, n: int = 5) -> None:
    with open_table(parts.part(row), schema(points=parts.keep_points)) as out:
        out.write_table(table(n, points=parts.keep_points))
    parts.commit(row, FaceRecord(n / 25, [], [], row.stamp, n, 2, 1))


def test_the_three_kinds_of_rows() -> None:
    seen, hidden, nobody = table(3).to_pylist()
    assert (seen["ok"], seen["interpolated"], seen["yaw"], seen["jawOpen"]) == (
        True,
        False,
        10,
        0.5,
    )
    assert (hidden["ok"], hidden["interpolated"], hidden["x2"], hidden["score"]) == (
        *(False, True, 3.0, 0.0),
    )
    assert np.isnan(hidden["yaw"])
    assert (nobody["ok"], nobody["interpolated"], nobody["face"]) == (False, False, -1)
    assert np.isnan([nobody["score"], nobody["x1"], nobody["mouthPucker"]]).all()
    points = points_of(table(3))
    assert points[0, 1].tolist() == [3, 4, 5]
    assert np.isnan(points[1:]).all()
    assert table(0).num_rows == 0


def test_done_means_table_record_and_overlay(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("a video")
    row, parts = Row(tmp_path / "a.mp4"), FaceParts(tmp_path / "out", points=False, overlay=True)
    assert not parts.is_done(row)
    make(parts, row)
    assert not parts.is_done(row)
    parts.overlay(row).parent.mkdir()
    parts.overlay(row).touch()
    assert parts.is_done(row)
    record = parts.part(row).with_suffix(".json")
    for file in (record, parts.part(row)):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        assert not parts.is_done(row)
        file.write_bytes(whole)
    assert parts.is_done(row)
    (tmp_path / "a.mp4").write_text("another video")
    assert not parts.is_done(row)
    parts.discard(row)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_parts_are_joined_with_the_columns_of_the_manifest(tmp_path: Path, suffix: str) -> None:
    parts = FaceParts(tmp_path, points=False, overlay=False)
    labelled = [Row(Path(f"{i}.mp4"), group="ab"[i % 2], labels={"age": str(i)}) for i in range(30)]
    for row in labelled[:-1]:  # the last one failed
        make(parts, row)
    target = tmp_path / f"all{suffix}"
    parts.merge(Manifest(labelled), target)
    joined = read_faces(target)
    assert joined.column_names[:4] == ["video", "age", "group", "frame"]
    assert joined.column("video").to_pylist() == [f"{i}.mp4" for i in range(29) for _ in range(5)]
    assert joined.column("age").to_pylist() == [i for i in range(29) for _ in range(5)]
    if suffix == ".parquet":
        assert pq.ParquetFile(target).num_row_groups == 1
    with pytest.raises(InputError, match="points=True"):
        points_of(joined)


def test_points_kept_for_the_overlay_alone_are_left_out(tmp_path: Path) -> None:
    parts = FaceParts(tmp_path, points=False, overlay=True)
    row = Row(Path("a.mp4"))
    make(parts, row)
    parts.overlay(row).parent.mkdir()
    parts.overlay(row).touch()
    parts.merge(Manifest([row]), tmp_path / "all.parquet")
    assert "points" in pq.read_schema(parts.part(row)).names
    assert "points" not in read_faces(tmp_path / "all.parquet").column_names


def test_what_is_no_table_is_one_line(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(InputError, match="does not exist"):
            read_faces(tmp_path / name)
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a table") as caught:
        read_faces(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)
    for name in ("ok", "jawOpen", "points"):
        with pytest.raises(InputError, match=name):
            check_columns([name])
    check_columns(["age"])
