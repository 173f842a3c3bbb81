"""FERV39k: labels are words, clips lie by scene and emotion."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.errors import InputError

LISTS = "4_setups/All_scenes"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / LISTS / "train_All.csv", "Action/Happy/0267 Happy\nCrime/Sad/0267 Sad\n")
    write(tmp_path / LISTS / "test_All.csv", "Action/Happy/0268 5\nAction/Angry/0001 Angry\n")
    return tmp_path


def test_words_count_not_numbers(root: Path) -> None:
    names = ("Action/Happy/0267", "Crime/Sad/0267", "Action/Happy/0268")
    touch(root, *(f"0_7_LabelClips/{name}.mp4" for name in names))
    result = listing("ferv39k", root)
    assert [(row.video.stem, row.labels["emotion"], row.split) for row in result.rows] == [
        ("0267", "happy", "train"),
        ("0267", "sad", "train"),
        ("0268", "happy", "test"),  # some copies have numbers, which differ: the folder is a word
    ]
    assert result.missing.keys() == {root / "0_7_LabelClips/Action/Angry/0001.mp4"}


def test_frames_are_no_videos(root: Path) -> None:
    frames = root / "2_ClipsforFaceCrop"
    touch(frames, "Action/Happy/0267/0001.jpg")
    with pytest.raises(InputError, match=r"2_ClipsforFaceCrop.*ffmpeg"):
        listing("ferv39k", root)
    touch(frames, "Action/Happy/0267.mp4")
    assert [row.video for row in listing("ferv39k", root).rows] == [
        frames / "Action/Happy/0267.mp4"
    ]


@pytest.mark.parametrize("line", ["Action/Happy/0267 Glad", "Action/0267 Happy", "nonsense"])
def test_damaged_lists(root: Path, line: str) -> None:
    touch(root, "0_7_LabelClips/Action/Happy/0267.mp4")
    write(root / LISTS / "train_All.csv", f"{line}\n")
    with pytest.raises(InputError, match=r"train_All\.csv"):
        listing("ferv39k", root)
