"""Files, folders and tables become one list of videos."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openmarlin.data.inputs import list_videos, natural_key

from openmarlin.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("10.mp4", "9.mp4", "1.MKV", "notes.txt", "sub/2.avi"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    return tmp_path / "videos"


def test_folder_is_read_recursively_in_natural_order(folder: Path) -> None:
    names = [str(video.relative_to(folder)) for video in list_videos([folder])]
    assert names == ["1.MKV", "9.mp4", "10.mp4", "sub/2.avi"]


def test_named_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert list_videos([folder / "notes.txt"]) == [folder / "notes.txt"]


def test_each_video_once(folder: Path) -> None:
    assert len(list_videos([folder / "9.mp4", folder, folder / "10.mp4"])) == 4


def test_csv_paths_start_at_the_csv_and_may_be_missing(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("video,label\n9.mp4,1\ngone.mp4,0\n/abs/x.mp4,1\n,0\n", encoding="utf-8-sig")
    assert list_videos([table]) == [folder / "9.mp4", folder / "gone.mp4", Path("/abs/x.mp4")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "path\nx.mp4\n", "no column named 'video'"),
        ("a.csv", "video\n\n", "is empty"),
        ("a.csv", "", "no column named 'video'"),
        ("empty/readme.txt", "", "no videos in this folder"),
    ],
)
def test_bad_tables_and_folders(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        list_videos([path if name.endswith("csv") else path.parent])
    assert "\n" not in str(caught.value)


def test_binary_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"video\n\xff\xfe\x00\n")
    with pytest.raises(InputError, match="not a CSV table"):
        list_videos([tmp_path / "a.csv"])


def test_missing_path_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list_videos([tmp_path / "gone.mp4"])
    with pytest.raises(InputError, match="nothing to read"):
        list_videos([])


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True))
def test_natural_key_orders_numbers(numbers: list[int]) -> None:
    names = [f"{n}.jpg" for n in numbers]
    assert sorted(names, key=natural_key) == [f"{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8), max_size=10))
def test_natural_key_never_fails(names: list[str]) -> None:
    assert Counter(sorted(names, key=natural_key)) == Counter(names)


def test_digits_that_are_no_numbers() -> None:
    assert sorted(["a²", "a10", "a9"], key=natural_key) == ["a9", "a10", "a²"]
