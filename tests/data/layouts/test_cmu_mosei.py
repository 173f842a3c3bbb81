"""CMU-MOSEI: intervals, classes of sentiment, folds, whole videos and segments."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from disk import listing, touch, write

from openmarlin.data.layouts.cmu_mosei import sentiment7
from openmarlin.errors import InputError

THIRD = np.float32(1 / 3)

# In no order of time, the second one from before the video began.
INTERVALS = [[7.5, 9.25], [-0.5, 3.0], [3.0, 7.5]]
VALUES = [
    [1 + 2 * THIRD, 0, 0, 0, 0, 0, 0],
    [-THIRD, THIRD, 0, 1, 0, 0, 0],
    [0, 0, 2 * THIRD, 0, 0, 0, 0],
]
FOLDS = (
    "# folds\nstandard_train_fold=['abc']\nstandard_valid_fold = ['-x_y']\n"
    "standard_test_fold=['gone', 'mute']\n"
)
FULL, SEGMENTED = "Raw/Videos/Full/Combined", "Raw/Videos/Segmented/Combined"
TRANSCRIPTS = "Raw/Transcript/Segmented/Combined"


def write_labels(path: Path, videos: dict[str, tuple[list, list]], top: str = "All Labels") -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'openmarlin[datasets]'")
    with h5py.File(path, "w") as file:
        for name, (intervals, values) in videos.items():
            file[f"{top}/data/{name}/intervals"] = np.array(intervals, np.float64)
            file[f"{top}/data/{name}/features"] = np.array(values, np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    one = ([[0, 2]], [[3, 0, 0, 0, 0, 0, 0]])
    videos = {"abc": (INTERVALS, VALUES), "-x_y": one, "gone": one, "new": one}
    write_labels(tmp_path / "CMU_MOSEI_Labels.csd", videos)
    write(tmp_path / "cmu_mosei_std_folds.py", FOLDS)
    touch(tmp_path, *(f"{FULL}/{name}.mp4" for name in ("abc", "-x_y", "new")))
    return tmp_path


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((-3, -3), (-7 / 3, -3), (-2, -2), (-4 / 3, -2), (-1, -1), (-1 / 3, -1), (0, 0)),
        *((1 / 3, 1), (1, 1), (4 / 3, 2), (2, 2), (7 / 3, 3), (3, 3)),
    ],
)
def test_seven_classes_of_thirds(value: float, label: int) -> None:
    for noise in (-1e-6, 0.0, 1e-6):  # 32 bits
        assert sentiment7(value + noise) == label


def test_rows_are_parts_in_order_of_time_with_their_own_labels(root: Path) -> None:
    result = listing("cmu_mosei", root)
    rows = [row for row in result.rows if row.group == "abc"]
    assert [row.part for row in rows] == [(0.0, 3.0), (3.0, 7.5), (7.5, 9.25)]
    assert {row.video for row in rows} == {root / FULL / "abc.mp4"}
    first, second, third = (row.labels for row in rows)
    assert first == {
        "sentiment": "-0.3333",
        "sentiment7": "-1",
        "sentiment2": "negative",
        "sentiment2_nonzero": "negative",
        "emotions": "happy;anger",
        "happy": "0.3333",
        "sad": "0",
        "anger": "1",
        "surprise": "0",
        "disgust": "0",
        "fear": "0",
    }
    assert (second["sentiment2"], second["sentiment2_nonzero"]) == ("non-negative", "")
    assert (second["sentiment7"], second["emotions"]) == ("0", "sad")
    assert (third["sentiment7"], third["emotions"]) == ("2", "none")
    assert third["sentiment2_nonzero"] == "positive"
    assert any("1 segments start before 0 s" in note for note in result.notes)


def test_folds_and_what_is_missing(root: Path) -> None:
    result = listing("cmu_mosei", root)
    assert {row.group: row.split for row in result.rows} == {
        "abc": "train",
        "-x_y": "val",
        "new": "",
    }
    assert any("1 segments are in none" in note for note in result.notes)
    assert any("1 videos of the standard folds have no labels" in note for note in result.notes)
    assert result.missing.keys() == {root / FULL / "gone.mp4"}
    assert (len(result.rows), result.absent) == (5, 1)


def test_without_the_folds_there_is_no_split_and_a_note(root: Path) -> None:
    (root / "cmu_mosei_std_folds.py").unlink()
    result = listing("cmu_mosei", root)
    assert {row.split for row in result.rows} == {""}
    assert any("cmu_mosei_std_folds.py" in note for note in result.notes)


def test_the_folds_are_not_run(root: Path) -> None:
    trap = root / "trap"
    write(root / "cmu_mosei_std_folds.py", f"{FOLDS}open({str(trap)!r}, 'w')\n")
    listing("cmu_mosei", root)
    assert not trap.exists()
    for text in ("standard_train_fold = ['a']", "standard_train_fold = [", "x = 1"):
        write(root / "cmu_mosei_std_folds.py", text)
        with pytest.raises(InputError, match=r"cmu_mosei_std_folds\.py"):
            listing("cmu_mosei", root)


def test_segments_are_found_by_interval_never_by_number(root: Path) -> None:
    (root / FULL / "abc.mp4").unlink()
    lines = [
        "abc___9___-0.5___3.0___Well",
        "abc___4___7.501___9.25___so",
        "abc___5___3___7.5___a___b",
    ]
    write(root / TRANSCRIPTS / "abc.txt", "\n".join(lines) + "\n")
    touch(root, f"{SEGMENTED}/abc_9.mp4", f"{SEGMENTED}/abc_4.mp4")
    result = listing("cmu_mosei", root)
    rows = {row.video.name: row for row in result.rows if row.group == "abc"}
    assert {name: row.labels["sentiment7"] for name, row in rows.items()} == {
        "abc_9.mp4": "-1",
        "abc_4.mp4": "2",
    }
    assert all(row.part == (None, None) for row in rows.values())
    assert root / SEGMENTED / "abc_5.mp4" in result.missing


def test_an_interval_that_no_transcript_has_is_missing(root: Path) -> None:
    (root / FULL / "abc.mp4").unlink()
    touch(root, f"{SEGMENTED}/abc_0.mp4")
    write(root / TRANSCRIPTS / "abc.txt", "abc___0___100.0___101.0___Well\n")
    result = listing("cmu_mosei", root)
    assert not [row for row in result.rows if row.group == "abc"]
    assert "transcript" in result.missing[root / FULL / "abc.mp4"]


def test_the_name_of_the_top_group_is_of_no_matter(root: Path) -> None:
    write_labels(root / "CMU_MOSEI_Labels.csd", {"abc": (INTERVALS, VALUES)}, "Emotion Labels")
    assert len(listing("cmu_mosei", root).rows) == 3


def test_segments_without_labels_are_left_out(root: Path) -> None:
    bad = ([[0, 1], [1, 2], [-2, -1]], [[np.nan] * 7, [1.0] * 7, [1.0] * 7])
    write_labels(root / "CMU_MOSEI_Labels.csd", {"abc": bad})
    result = listing("cmu_mosei", root)
    assert [row.part for row in result.rows] == [(1.0, 2.0)]
    assert any(note.startswith("2 segments have no label") for note in result.notes)


def test_damaged_labels(root: Path) -> None:
    write_labels(root / "CMU_MOSEI_Labels.csd", {"abc": ([[0, 1]], [[1, 2]])})
    with pytest.raises(InputError, match="not 7 values"):
        listing("cmu_mosei", root)
    (root / "CMU_MOSEI_Labels.csd").write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"CMU_MOSEI_Labels\.csd"):
        listing("cmu_mosei", root)
    (root / "CMU_MOSEI_Labels.csd").unlink()
    with pytest.raises(InputError, match=r"no CMU_MOSEI_Labels\.csd"):
        listing("cmu_mosei", root)


def test_without_h5py_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, f"{FULL}/abc.mp4", "CMU_MOSEI_Labels.csd")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"openmarlin\[datasets\]"):
        listing("cmu_mosei", tmp_path)
