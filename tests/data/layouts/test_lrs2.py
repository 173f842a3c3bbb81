"""LRS2: lists of clips by programme."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "train.txt", "553/00001\n553/00002\n")
    write(tmp_path / "val.txt", "600/00001\n")
    write(tmp_path / "test.txt", "631/00011 NF\n631/00012 MV\n")
    names = ("553/00001", "553/00002", "600/00001", "631/00011")
    touch(tmp_path, *(f"main/{name}.mp4" for name in names))
    return tmp_path


def test_splits_groups_and_what_is_not_there(root: Path) -> None:
    result = listing("lrs2", root)
    assert [(row.video.stem, row.split, row.group) for row in result.rows] == [
        ("00001", "train", "553"),
        ("00002", "train", "553"),
        ("00001", "val", "600"),
        ("00011", "test", "631"),  # the mark behind the name is no part of it
    ]
    assert list(result.missing) == [root / "main/631/00012.mp4"]


def test_the_folder_around_it_will_do(root: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    around.mkdir()
    (around / "mvlrs_v1").symlink_to(root)
    assert len(listing("lrs2", around).rows) == 4


def test_a_damaged_list_is_said(root: Path) -> None:
    write(root / "val.txt", "00001\n")
    with pytest.raises(InputError, match=r"val\.txt"):
        listing("lrs2", root)
