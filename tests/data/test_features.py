"""The features table: its columns, its files, and what is refused."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmarlin.data import formats
from openmarlin.data.features import Features, WindowRow, rows_to_table, schema
from openmarlin.errors import InputError

DIM = 5
TARGETS = ["f.parquet", "f.npz", "f.csv", "F.PARQUET", "folder"]
ODD_NAMES = [
    "NA",
    "",
    "null",
    'a "b", c.mp4',
    "line\nbreak.mp4",
    "<&>'.mp4",
    "视频.mkv",
    " x ",
    "1e5",
]


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def make_row(i: int, video: str = "clip.mp4", ok: bool = True) -> WindowRow:
    values = np.random.default_rng(i).normal(size=DIM).astype(np.float32)
    span: dict[str, Any] = {"start_s": i * 0.1, "end_s": i * 0.1 + 16 / 29.97}
    frames = {"n_frames": 16, "n_real": 16 - i % 3}
    if not ok:
        return WindowRow(video=video, window=i, **span, **frames)
    box = {"x1": 1.5, "y1": -2.25, "x2": 100.1, "y2": 120.7}
    return WindowRow(
        video=video, window=i, **span, **frames, **box, face=i % 2, n_interpolated=i % 4,
        face_score=0.1 + i / 100, ok=True, embedding=values,
    )  # fmt: skip


@pytest.fixture
def features() -> Features:
    rows = [make_row(i, video, ok=i % 4 != 2) for i, video in enumerate(ODD_NAMES)]
    meta = {"model": {"name": "tiny", "trained": False}, "settings": {"rate": 2, "limit": None}}
    return Features(rows_to_table(rows, DIM), meta)


def test_rows_have_exactly_the_columns_of_the_schema() -> None:
    assert {field.name for field in fields(WindowRow)} == set(schema(DIM).names)
    assert schema(DIM).names[-1] == "embedding"
    assert not any(field.nullable for field in schema(DIM))


def test_table_holds_the_rows(features: Features) -> None:
    assert features.table.schema == schema(DIM)
    row = features.table.slice(1, 1).to_pylist()[0]
    source = make_row(1, "")
    assert row.pop("video") == ""
    np.testing.assert_array_equal(row.pop("embedding"), source.embedding)
    for name, value in row.items():
        assert value == pytest.approx(getattr(source, name), rel=1e-6), name


def test_windows_without_features_are_nan_and_flagged(features: Features) -> None:
    ok = features.table.column("ok").to_numpy()
    assert not ok[2]
    assert np.isnan(features.embeddings[~ok]).all()
    assert np.isfinite(features.embeddings[ok]).all()
    empty = features.table.slice(2, 1).to_pylist()[0]
    assert empty["face"] == -1
    assert all(math.isnan(empty[name]) for name in ("face_score", "x1", "y1", "x2", "y2"))


def test_embedding_of_a_row_that_is_not_ok_is_never_written() -> None:
    row = make_row(0)
    row.ok = False
    assert np.isnan(Features(rows_to_table([row], DIM)).embeddings).all()


@pytest.mark.parametrize("embedding", [None, np.zeros(DIM + 1, np.float32), np.zeros((1, DIM))])
def test_ok_row_needs_an_embedding_of_the_right_width(embedding: Any) -> None:
    row = make_row(3)
    row.embedding = embedding
    with pytest.raises(ValueError, match=r"clip.mp4 window 3"):
        rows_to_table([row], DIM)


def test_embeddings_are_not_copied_and_follow_slices(features: Features) -> None:
    values = features.embeddings
    assert values.dtype == np.float32
    assert values.shape == (len(ODD_NAMES), DIM)
    assert not values.flags.owndata
    part = Features(features.table.slice(3, 2))
    np.testing.assert_array_equal(part.embeddings, values[3:5])
    parts = [features.table.slice(0, 4), features.table.slice(4)]
    np.testing.assert_array_equal(Features(pa.concat_tables(parts)).embeddings, values)


def test_repr_and_length(features: Features) -> None:
    assert len(features) == len(ODD_NAMES)
    assert repr(features) == f"Features({len(ODD_NAMES)} windows, {DIM} values each)"


@pytest.mark.parametrize("target", TARGETS)
def test_round_trip_is_exact(features: Features, tmp_path: Path, target: str) -> None:
    path = features.save(tmp_path / target)
    back = Features.load(path)
    assert back.table.schema == features.table.schema
    np.testing.assert_array_equal(back.embeddings, features.embeddings)
    for name in features.table.column_names[:-1]:
        expected = features.table.column(name).to_pylist()
        np.testing.assert_equal(back.table.column(name).to_pylist(), expected, err_msg=name)
    assert back.meta == ({} if target.endswith(".csv") else features.meta)


@pytest.mark.parametrize("target", TARGETS)
def test_round_trip_of_no_windows(tmp_path: Path, target: str) -> None:
    empty = Features(rows_to_table([], DIM))
    back = Features.load(empty.save(tmp_path / target))
    assert len(back) == 0
    assert back.embeddings.shape == (0, DIM)
    assert back.table.schema == schema(DIM)


# Without control characters, which no CSV dialect keeps, and lone surrogates, which no UTF-8 does.
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
singles = st.floats(width=32, allow_infinity=False)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(video=names, values=st.lists(singles, min_size=DIM, max_size=DIM), time=st.floats(0, 1e6))
def test_any_values_survive(tmp_path: Path, video: str, values: list[float], time: float) -> None:
    row = make_row(0, video)
    row.embedding, row.start_s = np.array(values, np.float32), time
    table = Features(rows_to_table([row, make_row(1)], DIM))
    for target in ("f.parquet", "f.npz", "f.csv"):
        back = Features.load(table.save(tmp_path / target))
        np.testing.assert_array_equal(back.embeddings, table.embeddings)
        assert back.table.column("start_s").to_pylist() == table.table.column("start_s").to_pylist()
        assert back.table.column("video")[0].as_py() == video


def test_file_name_that_is_not_unicode(tmp_path: Path) -> None:
    odd = os.fsdecode(b"bad\xff.mp4")
    features = Features(rows_to_table([make_row(0, odd)], DIM), {"videos": [odd]})
    back = Features.load(features.save(tmp_path / "f.parquet"))
    assert back.table.column("video")[0].as_py() == r"bad\udcff.mp4"
    assert back.meta == {"videos": [r"bad\udcff.mp4"]}


def test_csv_reads_as_plain_csv(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ODD_NAMES
    assert list(rows[0])[-DIM:] == [f"e{i}" for i in range(DIM)]
    assert float(rows[0]["e0"]) == pytest.approx(float(features.embeddings[0, 0]))
    assert rows[2]["e0"] == "nan"


def test_npz_opens_without_pickle(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert set(file.files) == {*features.table.column_names, "meta"}
        assert file["embedding"].shape == (len(ODD_NAMES), DIM)
        assert file["video"].tolist() == ODD_NAMES


def test_parquet_opens_elsewhere(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.schema.field("embedding").type.list_size == DIM
    assert json.loads(table.schema.metadata[b"openmarlin"]) == features.meta


def test_meta_is_strict_json_whatever_it_holds(tmp_path: Path) -> None:
    meta = {
        "speed": math.nan,
        "limit": math.inf,
        "count": np.int64(3),
        "share": np.float32(0.5),
        "path": Path("a"),
        1: (1, None, True),
    }
    Features(rows_to_table([], DIM), meta).save(tmp_path)  # type: ignore[arg-type]
    text = (tmp_path / "meta.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "speed": None, "limit": None, "count": 3, "share": 0.5, "path": "a", "1": [1, None, True],
    }  # fmt: skip


def test_folder_holds_table_and_record(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path / "out")
    assert names_in(tmp_path / "out") == ["features.parquet", "meta.json"]
    (tmp_path / "out" / "meta.json").unlink()
    assert Features.load(tmp_path / "out").meta == features.meta  # the table keeps a copy


@pytest.mark.parametrize("target", ["f.parquet", "f.npz", "f.csv"])
def test_failure_while_writing_leaves_the_old_file(
    features: Features, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = features.save(tmp_path / target)
    before = path.read_bytes()
    suffix = path.suffix

    def break_down(part: Path, *_: object) -> None:
        part.write_bytes(before[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats._FORMATS, suffix, (break_down, formats._FORMATS[suffix][1]))
    with pytest.raises(InputError, match="No space left"):
        features.save(path)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == [target]


@pytest.mark.parametrize("target", ["f.pkl", "f.json", "f.tar.gz"])
def test_unknown_formats_are_refused(features: Features, tmp_path: Path, target: str) -> None:
    with pytest.raises(InputError, match=r"use \.parquet, \.npz, \.csv or a folder"):
        features.save(tmp_path / target)
    with pytest.raises(InputError, match=r"use \.parquet"):
        Features.load(tmp_path / target)
    assert not names_in(tmp_path)


@pytest.mark.parametrize("name", ["f.parquet", "f.npz", "f.csv"])
@pytest.mark.parametrize("content", [b"", b"hello", b"a,b\n1,2\n", b"PAR1PAR1", b"PK\x03\x04"])
def test_files_of_another_kind_are_one_clear_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        Features.load(tmp_path / name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("target", ["f.parquet", "f.npz"])
@pytest.mark.parametrize("tenth", range(10))
def test_truncated_files_never_pass_for_whole(
    features: Features, tmp_path: Path, target: str, tenth: int
) -> None:
    path = features.save(tmp_path / target)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * tenth // 10])
    with pytest.raises(InputError, match="not a features table"):
        Features.load(path)


def test_missing_file_and_missing_column(features: Features, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no features at"):
        Features.load(tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"no features at .*features\.parquet"):
        Features.load(tmp_path)
    pq.write_table(features.table.drop_columns(["n_real", "ok"]), tmp_path / "f.parquet")
    with pytest.raises(InputError, match="no column n_real, ok"):
        Features.load(tmp_path / "f.parquet")


def test_an_older_table_repeats_nothing(features: Features, tmp_path: Path) -> None:
    pq.write_table(features.table.drop_columns(["n_repeated"]), tmp_path / "f.parquet")
    older = Features.load(tmp_path / "f.parquet")
    assert older.table.schema == schema(DIM)
    assert set(older.table.column("n_repeated").to_pylist()) == {0}


def test_lists_of_varying_length_are_refused(features: Features, tmp_path: Path) -> None:
    lists = pa.array([[1.0]] * len(features), pa.list_(pa.float32()))
    table = features.table.set_column(features.table.num_columns - 1, "embedding", lists)
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(InputError, match="not a fixed-size list"):
        Features.load(tmp_path / "f.parquet")


def test_broken_record_beside_the_table(features: Features, tmp_path: Path) -> None:
    features.save(tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*meta\.json"):
        Features.load(tmp_path)


def test_to_pandas(features: Features) -> None:
    pytest.importorskip("pandas")
    frame = features.to_pandas()
    assert list(frame.columns) == schema(DIM).names
    assert frame["video"].tolist() == ODD_NAMES
    np.testing.assert_array_equal(np.stack(frame["embedding"].tolist()), features.embeddings)


def test_to_pandas_without_pandas(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmarlin.data.features.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'openmarlin\[pandas\]'"):
        features.to_pandas()


def test_subclasses_load_as_themselves(features: Features, tmp_path: Path) -> None:
    class More(Features):
        pass

    assert type(More.load(features.save(tmp_path / "f.npz"))) is More


def test_ten_thousand_windows_are_quick(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10_000, 384)).astype(np.float32)
    rows = [
        WindowRow(video=f"{i // 10}.mp4", window=i % 10, start_s=0.0, end_s=1.0, n_frames=16,
                  n_real=16, face=0, ok=True, embedding=values[i])
        for i in range(len(values))
    ]  # fmt: skip
    back = Features.load(Features(rows_to_table(rows, 384)).save(tmp_path / "f.parquet"))
    np.testing.assert_array_equal(back.embeddings, values)
    assert sys.getsizeof(back.embeddings) < 1000  # a view of arrow's memory
