"""Files, folders and tables become rows: each name once, parts, columns, what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import numbered, write_video

from openmarlin.data.manifest import Manifest, Row, natural_key, read_manifest, write_manifest
from openmarlin.errors import InputError, VideoError
from openmarlin.output import Failures
from openmarlin.video.reader import VideoReader


def videos(inputs: object) -> list[Path]:
    return [row.video for row in read_manifest(inputs).rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hidden = ("._9.mp4", ".cache/5.mp4")
    for name in ("10.mp4", "9.mp4", "1.MKV", "notes.txt", "sub/2.avi", *hidden):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    return tmp_path / "videos"


def test_folder_is_read_with_all_below_in_natural_order_without_hidden_files(folder: Path) -> None:
    names = [str(video.relative_to(folder)) for video in videos(folder)]
    assert names == ["1.MKV", "9.mp4", "10.mp4", "sub/2.avi"]


def test_named_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert videos(folder / "notes.txt") == [folder / "notes.txt"]


def test_each_name_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert videos(["9.mp4", folder, folder / "10.mp4"]) == [
        Path("9.mp4"),
        *(folder / name for name in ("1.MKV", "10.mp4", "sub/2.avi")),
    ]


def test_links_are_names_of_their_own_and_loops_end(tmp_path: Path) -> None:
    for name in ("raw", "train", "val"):
        (tmp_path / name).mkdir()
    (tmp_path / "raw" / "a.mp4").touch()
    for split in ("train", "val"):
        (tmp_path / split / "0.mp4").symlink_to("../raw/a.mp4")
    (tmp_path / "raw" / "more").symlink_to("../train")
    (tmp_path / "train" / "loop").symlink_to("../raw")
    rows = read_manifest([tmp_path / "train", tmp_path / "val"]).rows
    assert [str(row.video.relative_to(tmp_path)) for row in rows] == [
        "train/0.mp4",
        "train/loop/a.mp4",
        "val/0.mp4",
    ]
    assert len({row.key for row in rows}) == 3


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_people_save_them(folder: Path, separator: str, end: str) -> None:
    lines = [
        ["Video", "start_s", "END_S", " split ", "Group", "smile", "who"],
        ["9.mp4", "0.5", "2", "train", "anna", "1", '"de la Cruz, Ana; B."'],
        ["gone.mp4", "", "", "val", "", "", "x"],
        ["/abs/x.mp4", "3", "", "", "bo", "2", ""],
        ["", "", "", "", "", "", ""],
    ]
    table = folder / "list.csv"
    text = end.join(separator.join(cells) for cells in lines) + end
    table.write_bytes(text.encode("utf-8-sig"))
    manifest = read_manifest(table)
    first, second, third = manifest.rows
    assert (first.video, first.start_s, first.end_s) == (folder / "9.mp4", 0.5, 2.0)
    assert (first.split, first.group) == ("train", "anna")
    assert first.labels == {"smile": "1", "who": "de la Cruz, Ana; B."}
    assert (second.video, second.start_s, second.end_s) == (folder / "gone.mp4", None, None)
    assert (third.video, third.start_s) == (Path("/abs/x.mp4"), 3.0)
    columns = {name: values.to_pylist() for name, values in manifest.columns().items()}
    assert columns["split"] == ["train", "val", ""]
    assert columns["who"] == ["de la Cruz, Ana; B.", "x", ""]
    np.testing.assert_equal(columns["smile"], [1.0, np.nan, 2.0])
    np.testing.assert_equal(columns["part_end_s"], [2.0, np.nan, np.nan])


def test_times_with_a_decimal_comma(folder: Path) -> None:
    (folder / "a.csv").write_text("video;start_s\n9.mp4;1,5\n")
    assert read_manifest(folder / "a.csv").rows[0].start_s == 1.5


def test_parts_of_one_video_are_rows_and_rows_of_one_video_add_up(folder: Path) -> None:
    (folder / "a.csv").write_text("video,start_s,end_s,x\n9.mp4,0,1,1\n9.mp4,1,2,2\n9.mp4,0,1,1\n")
    rows = read_manifest(folder / "a.csv").rows
    assert [(row.start_s, row.labels["x"]) for row in rows] == [(0, "1"), (1, "2")]
    (folder / "b.csv").write_text("video,y\n9.mp4,7\n")
    (row,) = read_manifest([folder / "9.mp4", folder / "b.csv"]).rows
    assert row.labels == {"y": "7"}


def test_failures_can_be_tried_again(folder: Path) -> None:
    table = folder / "failures.csv"
    table.write_text(f"video,reason\n{folder / '9.mp4'},cut off\n")
    assert read_manifest(table).rows == [Row(folder / "9.mp4")]


def test_failures_of_parts_can_be_tried_again(folder: Path) -> None:
    failures = Failures(folder / "failures.csv")
    rows = [
        Row(folder / "9.mp4", 1.1, 2.0),
        Row(folder / "9.mp4", 0.1 + 0.2),
        Row(folder / "a.mp4"),
    ]
    for row in rows:
        failures.add(row.video, "cut off", row.part)
    failures.flush()
    again = read_manifest(folder / "failures.csv").rows
    assert again == rows
    assert [row.key for row in again] == [row.key for row in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("frames,label\nx.mp4,1\n", "frames, label"),
        ("video\n\n", "'video' is empty"),
        ("", "none"),
        ("video,start_s\na.mp4,soon\n", r"line 2.*start_s.*soon"),
        ("video,start_s,end_s\na.mp4,3,2\n", "line 2.*end_s"),
        ("video,x\na,b.mp4,1\n", "line 2"),
        ("video,x,x\na.mp4,1,2\n", "'x'"),
        ("video,x\na.mp4,1\na.mp4,2\n", r"a\.mp4.*x '1' and '2'"),
        (b"video\n\xff\xfe\x00\n", "UTF-8"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str | bytes, message: str) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nonsense://example.org/a.mp4", "nonsense://example.org/a.mp4"),
        (Path("nonsense://example.org/a.mp4"), "example.org"),
        ("", "''"),
        ("gone.mp4", "gone.mp4"),
        ([], "at least one"),
        (np.zeros((16, 8, 8, 3), np.uint8), "ndarray"),
        ([np.zeros((8, 8, 3), np.uint8)], "list"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
def test_what_is_no_input(given: object, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_manifest(given)
    assert "\n" not in str(caught.value)


def test_folders_without_videos(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(InputError, match=r"\.mkv"):
        read_manifest(tmp_path)
    for i in range(3):
        (tmp_path / f"{i:03}.png").touch()
    with pytest.raises(InputError, match=r"3 pictures \(\.png\).*ffmpeg"):
        read_manifest(tmp_path)


def test_the_stamp_is_that_of_the_file(tmp_path: Path) -> None:
    row = Row(tmp_path / "a.mp4")
    assert row.stamp is None
    row.video.write_bytes(b"one")
    first = row.stamp
    row.video.write_bytes(b"others")
    assert first is not None
    assert first != row.stamp


def test_only_the_frames_of_a_part_with_their_own_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", numbered(50))
    with VideoReader(video) as reader:
        part = list(Row(video, 0.4, 1.2).frames(reader))
        assert [frame.index for frame in part] == list(range(10, 30))
        assert [frame.time_s for frame in part[:2]] == pytest.approx([0.4, 0.44], abs=1e-3)
        assert len(list(Row(video, 0.4).frames(reader, limit_s=0.2))) == 5
        with pytest.raises(VideoError, match=r"v\.mp4.*5"):
            list(Row(video, 5, 6).frames(reader))


def test_no_columns_where_nothing_is_known() -> None:
    assert Manifest([Row(Path("a")), Row(Path("b"))]).columns() == {}


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True))
def test_natural_key_orders_numbers(numbers: list[int]) -> None:
    names = [f"{n}.jpg" for n in numbers]
    assert sorted(names, key=natural_key) == [f"{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8), max_size=10))
def test_natural_key_never_fails(names: list[str]) -> None:
    assert Counter(sorted(names, key=natural_key)) == Counter(names)


def test_digits_that_are_no_numbers() -> None:
    assert sorted(["a²", "a10", "a9"], key=natural_key) == ["a9", "a10", "a²"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rows = [
        Row(tmp_path / "v" / "a, b.mp4", 0.0, 2.5, "train", "anna", {"n": "1", "says": 'a "b"; c'}),
        Row(tmp_path / "v" / "a, b.mp4", 2.5, None, "", "", {"n": "", "empty": ""}),
        Row(tmp_path / "über.mp4", labels={"original": str(tmp_path / "v" / "c.mp4")}),
    ]
    out = write_manifest(tmp_path / "v" / "t.csv", rows)
    assert out.read_text().splitlines()[0] == "video,start_s,end_s,split,group,n,says,original"
    read = read_manifest([out]).rows
    assert [(r.video.resolve(), r.part, r.split, r.group) for r in read] == [
        (r.video, r.part, r.split, r.group) for r in rows
    ]
    assert read[0].labels == {"n": "1", "says": 'a "b"; c', "original": ""}
    assert read[2].labels["original"] == "c.mp4"


def test_only_columns_with_values_are_written(tmp_path: Path) -> None:
    out = write_manifest(tmp_path / "t.csv", [Row(tmp_path / "a.mp4", labels={"x": "", "y": "1"})])
    assert out.read_text() == "video,y\na.mp4,1\n"


def test_a_table_behind_a_link_names_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    video = tmp_path / "a.mp4"
    video.write_bytes(b"video")
    out = write_manifest(tmp_path / "link" / "t.csv", [Row(video)])
    assert read_manifest([out]).rows[0].video.read_bytes() == b"video"


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5).map(lambda s: round(s, 4)),
            st.floats(0.001, 1e3).map(lambda s: round(s, 4)),
        ),
        min_size=1,
        unique_by=lambda part: part[0],
    )
)
def test_times_survive_a_table(parts: list[tuple[float, float]]) -> None:
    with TemporaryDirectory() as folder:
        rows = [Row(Path(folder) / "a.mp4", start_s, start_s + n) for start_s, n in parts]
        read = read_manifest([write_manifest(Path(folder) / "t.csv", rows)]).rows
    for before, after in zip(rows, read, strict=True):
        assert after.part == pytest.approx(before.part, abs=1e-4)


def test_a_null_byte_in_a_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("video,smile\na\0b.mp4,1\n")
    with pytest.raises(InputError, match=r"t\.csv, line 2: holds a null byte"):
        read_manifest(tmp_path / "t.csv")
