"""Celeb-DF: 1 means real, the list is the test part, fakes know their original."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import by_name, listing, touch, write

from openmarlin.errors import InputError

LIST = "1 YouTube-real/00170.mp4\n1 Celeb-real/id0_0001.mp4\n0 Celeb-synthesis/id0_id1_0001.mp4\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "List_of_testing_videos.txt", LIST)
    touch(
        tmp_path,
        "Celeb-real/id0_0000.mp4",
        "Celeb-real/id0_0001.mp4",
        "YouTube-real/00170.mp4",
        "YouTube-real/00171.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/id0_id1_0001.mp4",
        "Celeb-synthesis/id7_id1_0004.mp4",
    )
    return tmp_path


def test_one_is_real(root: Path) -> None:
    rows = by_name(listing("celeb_df", root).rows)
    labels = {name: (row.labels["label"], row.split, row.group) for name, row in rows.items()}
    assert labels == {
        "id0_0000.mp4": ("real", "train", "id0"),
        "id0_0001.mp4": ("real", "test", "id0"),
        "00170.mp4": ("real", "test", "youtube_00170"),
        "00171.mp4": ("real", "train", "youtube_00171"),
        "id0_id1_0000.mp4": ("fake", "train", "id0"),
        "id0_id1_0001.mp4": ("fake", "test", "id0"),
        "id7_id1_0004.mp4": ("fake", "train", "id7"),
    }


def test_a_fake_knows_its_original(root: Path) -> None:
    rows = by_name(listing("celeb_df", root).rows)
    original = rows["id0_id1_0001.mp4"].labels["original"]
    assert original == str(root / "Celeb-real" / "id0_0001.mp4")
    assert rows["id7_id1_0004.mp4"].labels["original"] == ""
    assert rows["id7_id1_0004.mp4"].labels["method"] == "Celeb-synthesis"
    assert rows["00170.mp4"].labels["method"] == "original"


def test_missing_test_videos_are_counted(root: Path) -> None:
    (root / "YouTube-real" / "00170.mp4").unlink()
    result = listing("celeb_df", root)
    assert result.missing.keys() == {root / "YouTube-real" / "00170.mp4"}
    assert (len(result.rows), result.absent) == (6, 1)


@pytest.mark.parametrize("line", ["0 YouTube-real/1.mp4", "1 Celeb-synthesis/1.mp4", "real x.mp4"])
def test_a_list_that_means_it_the_other_way_round_is_refused(root: Path, line: str) -> None:
    write(root / "List_of_testing_videos.txt", f"{LIST}{line}\n")
    with pytest.raises(InputError, match="1 is real"):
        listing("celeb_df", root)
