"""MAFW: words of eleven emotions, folds."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.data.layouts.mafw import EMOTIONS
from openmarlin.errors import InputError


@pytest.mark.parametrize("folder", ["split", "Train & Test Set"])
def test_eleven_emotions_and_a_fold(tmp_path: Path, folder: str) -> None:
    lists = tmp_path / folder / "single" / "no_caption" / "set_3"
    words = sorted(EMOTIONS)
    assert len(words) == 11
    write(lists / "train.txt", "".join(f"{i:05d}.mp4 {word}\n" for i, word in enumerate(words)))
    write(lists / "test.txt", "00011.mp4 anger\n00012.mp4 contempt\n")
    touch(tmp_path, *(f"data/clips/{i:05d}.mp4" for i in range(12)))
    result = listing("mafw", tmp_path, fold=3)
    train = [row.labels["emotion"] for row in result.rows if row.split == "train"]
    assert train == words
    assert [row.video.name for row in result.rows if row.split == "test"] == ["00011.mp4"]
    assert result.missing.keys() == {tmp_path / "data/clips/00012.mp4"}
    with pytest.raises(InputError, match="set_1"):
        listing("mafw", tmp_path)
    write(lists / "test.txt", "00011.mp4 boredom\n")
    with pytest.raises(InputError, match="boredom"):
        listing("mafw", tmp_path, fold=3)


def test_frames_are_no_videos(tmp_path: Path) -> None:
    lists = tmp_path / "split" / "single" / "no_caption" / "set_1"
    write(lists / "train.txt", "00001.mp4 anger\n")
    write(lists / "test.txt", "00002.mp4 anger\n")
    touch(tmp_path, "data/frames/00001/00001.png")
    with pytest.raises(InputError, match=r"frames.*ffmpeg"):
        listing("mafw", tmp_path)
