"""Videos sorted into folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch

from openmarlin.errors import InputError


def test_the_folder_is_the_label(tmp_path: Path) -> None:
    touch(
        tmp_path, "happy/10.mp4", "happy/2.mp4", "sad/deep/er/a.mkv", "sad/notes.txt", "loose.mp4"
    )
    touch(tmp_path, ".cache/b.mp4")
    result = listing("folder", tmp_path)
    assert [(row.video.name, row.labels["label"], row.split) for row in result.rows] == [
        ("2.mp4", "happy", ""),
        ("10.mp4", "happy", ""),
        ("a.mkv", "sad", ""),
    ]
    assert any("left out" in note for note in result.notes)


def test_folders_of_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/real/a.mp4", "valid/fake/b.mp4", "Test/real/c.mp4")
    rows = listing("folder", tmp_path).rows
    assert {(row.split, row.labels["label"]) for row in rows} == {
        ("train", "real"),
        ("val", "fake"),
        ("test", "real"),
    }


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    touch(tmp_path, "test/a.mp4", "control/b.mp4")
    assert {row.labels["label"] for row in listing("folder", tmp_path).rows} == {"test", "control"}


def test_a_folder_without_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(InputError, match="one for each class"):
        listing("folder", tmp_path)
    with pytest.raises(InputError, match="is a file"):
        listing("folder", tmp_path / "a.mp4")
