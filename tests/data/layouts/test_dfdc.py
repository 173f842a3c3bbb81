"""DFDC: parts to train on, tests and the preview."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import by_name, listing, touch, write

from openmarlin.errors import InputError


def test_fakes_stay_with_their_original_also_across_parts(tmp_path: Path) -> None:
    first = {
        "fake.mp4": {"label": "FAKE", "split": "train", "original": "real.mp4"},
        "lost.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"},
        "gone.mp4": {"label": "REAL", "split": "train", "original": None},
    }
    second = {"real.mp4": {"label": "REAL", "split": "train"}}
    write(tmp_path / "dfdc_train_part_0" / "metadata.json", first)
    write(tmp_path / "dfdc_train_part_1" / "metadata.json", second)
    names = (
        "dfdc_train_part_0/fake.mp4",
        "dfdc_train_part_0/lost.mp4",
        "dfdc_train_part_1/real.mp4",
    )
    touch(tmp_path, *names)
    result = listing("dfdc", tmp_path)
    rows = by_name(result.rows)
    assert {name: row.labels["label"] for name, row in rows.items()} == {
        "real.mp4": "real",
        "fake.mp4": "fake",
        "lost.mp4": "fake",
    }
    assert rows["fake.mp4"].labels["original"] == str(tmp_path / names[2])
    assert rows["fake.mp4"].group == rows["real.mp4"].group == "real.mp4"
    assert (rows["lost.mp4"].labels["original"], rows["lost.mp4"].group) == ("", "gone.mp4")
    assert {row.split for row in result.rows} == {"train"}
    assert [path.name for path in result.missing] == ["gone.mp4"]


def test_one_is_fake_in_the_tests(tmp_path: Path) -> None:
    write(tmp_path / "test" / "labels.csv", "filename,label\na.mp4,1\nb.mp4,0\n")
    write(tmp_path / "test" / "metadata.json", {"a.mp4": {"is_fake": 1}})
    write(tmp_path / "validation" / "labels.csv", "filename,label\nc.mp4,0\n")
    touch(tmp_path, "test/a.mp4", "test/b.mp4", "validation/c.mp4")
    rows = by_name(listing("dfdc", tmp_path).rows)
    assert {name: (row.labels["label"], row.split) for name, row in rows.items()} == {
        "a.mp4": ("fake", "test"),
        "b.mp4": ("real", "test"),
        "c.mp4": ("real", "val"),
    }
    assert rows["a.mp4"].labels["method"] == ""


def test_the_preview(tmp_path: Path) -> None:
    videos = {
        "original_videos/643755/643755_A_001.mp4": {"label": "real", "set": "train"},
        "method_A/1224068/1224068_B_002_0_1.mp4": {"label": "fake", "set": "test"},
        "method_B/77/99_C_001.mp4": {"label": "fake", "set": "test", "target_id": "99"},
    }
    write(tmp_path / "dataset.json", videos)
    touch(tmp_path, *videos)
    rows = listing("dfdc", tmp_path).rows
    assert [(row.labels["label"], row.labels["method"], row.split, row.group) for row in rows] == [
        ("real", "original", "train", "643755"),
        ("fake", "method_A", "test", "1224068"),
        ("fake", "method_B", "test", "99"),
    ]


def test_damaged_labels(tmp_path: Path) -> None:
    part = tmp_path / "metadata.json"
    for content in ([], {"a.mp4": {"label": "MAYBE"}}, {"a.mp4": 1}):
        write(part, content)
        with pytest.raises(InputError, match=r"metadata\.json"):
            listing("dfdc", tmp_path)
    write(tmp_path / "labels.csv", "filename,label\na.mp4,FAKE\n")
    with pytest.raises(InputError, match=r"labels\.csv.*line 2"):
        listing("dfdc", tmp_path)
