"""DFEW: labels by number, folds, clips with and without zeros in their names, frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.data.layouts.dfew import EMOTIONS
from openmarlin.errors import InputError

LISTS = "EmoLabel_DataSplit"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lines = "".join(f"{i},{i}\n" for i in range(1, 8))
    for fold in (1, 2):
        write(
            tmp_path / LISTS / "train(single-labeled)" / f"set_{fold}.csv",
            f"video_name,label\n{lines}",
        )
    write(tmp_path / LISTS / "test(single-labeled)" / "set_1.csv", "video_name,label\n00012,4\n")
    write(tmp_path / LISTS / "test(single-labeled)" / "set_2.csv", "video_name,label\n13,4\n")
    return tmp_path


def test_seven_emotions_in_their_order(root: Path) -> None:
    touch(root, *(f"Clip/original/{i}.mp4" for i in (*range(1, 8), 12)))
    rows = listing("dfew", root).rows
    assert [row.labels["emotion"] for row in rows if row.split == "train"] == list(EMOTIONS)
    assert EMOTIONS[3] == "angry"
    (test,) = (row for row in rows if row.split == "test")
    assert (test.video.name, test.labels["emotion"]) == ("12.mp4", "angry")
    assert not any(row.split == "val" for row in rows)  # nobody chooses a model on the test part


def test_the_fold_is_chosen(root: Path) -> None:
    touch(root, *(f"Clip/original/{i}.mp4" for i in (*range(1, 8), 13)))
    result = listing("dfew", root, fold=2)
    assert [row.video.name for row in result.rows if row.split == "test"] == ["13.mp4"]
    with pytest.raises(InputError, match="set_3"):
        listing("dfew", root, fold=3)


def test_padded_names_and_missing_clips(root: Path) -> None:
    touch(root, "Clip/clip_224x224_avi/00001.avi", "Clip/clip_224x224_avi/00012.avi")
    result = listing("dfew", root)
    assert [row.video.name for row in result.rows] == ["00001.avi", "00012.avi"]
    assert result.absent == 6


@pytest.mark.parametrize("folder", ["jpg_256", "clip_224x224", "clip_224x224_16f"])
def test_frames_are_no_videos(root: Path, folder: str) -> None:
    touch(root, f"Clip/{folder}/00001/00001_00001.jpg")
    with pytest.raises(InputError, match=rf"{folder}.*ffmpeg") as error:
        listing("dfew", root)
    assert "\n" not in str(error.value)


def test_damaged_labels(root: Path) -> None:
    touch(root, "Clip/original/1.mp4")
    for line in ("1,8", "x,1", "1"):
        write(root / LISTS / "test(single-labeled)" / "set_1.csv", f"video_name,label\n{line}\n")
        with pytest.raises(InputError, match=r"set_1\.csv.*line 2"):
            listing("dfew", root)
