"""FaceForensics++: pairs, groups, compressions, and the counts of the paper."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.data.layouts import layout
from openmarlin.data.layouts.faceforensics import METHODS
from openmarlin.errors import InputError

PAIRS = {
    "train": [["000", "003"], ["001", "870"]],
    "val": [["720", "672"]],
    "test": [["953", "974"]],
}


def real(name: str, compression: str = "c23") -> str:
    return f"original_sequences/youtube/{compression}/videos/{name}.mp4"


def fake(method: str, name: str, compression: str = "c23") -> str:
    return f"manipulated_sequences/{method}/{compression}/videos/{name}.mp4"


def make(root: Path, compression: str = "c23", *, lists: bool = True) -> None:
    for split, pairs in PAIRS.items():
        if lists:
            write(root / "splits" / f"{split}.json", pairs)
        for a, b in pairs:
            touch(root, real(a, compression), real(b, compression))
            for method in (*METHODS, "FaceShifter"):
                names = (f"{a}_{b}", f"{b}_{a}")
                touch(root, *(fake(method, name, compression) for name in names))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path)
    return tmp_path


def test_a_split_has_the_ids_of_its_pairs_and_both_fakes_of_each(root: Path) -> None:
    result = listing("faceforensics", root)
    counts = Counter((row.split, row.labels["method"]) for row in result.rows)
    assert counts["train", "original"] == 4
    assert counts["test", "original"] == counts["val", "original"] == 2
    assert all(counts["train", method] == 4 for method in METHODS)
    assert counts["train", "FaceShifter"] == 0
    assert not result.missing
    labels = {row.labels["label"] for row in result.rows if row.labels["method"] == "original"}
    assert labels == {"real"}
    one = next(row for row in result.rows if str(row.video).endswith(fake("FaceSwap", "003_000")))
    assert one.labels == {
        "label": "fake",
        "method": "FaceSwap",
        "compression": "c23",
        "original": str(root / real("003")),
    }


def test_faceshifter_is_a_fifth_method_when_asked_for(root: Path) -> None:
    rows = listing("faceforensics", root, methods=("FaceShifter",)).rows
    assert Counter(row.labels["method"] for row in rows) == {"original": 8, "FaceShifter": 8}


def test_the_counts_of_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_state", lambda video: "")
    touch(tmp_path, real("000", "c40"))
    first = 0
    for split, n in (("train", 360), ("val", 70), ("test", 70)):
        ids = [f"{first + i:03d}" for i in range(2 * n)]
        write(tmp_path / f"{split}.json", list(zip(ids[::2], ids[1::2], strict=True)))
        first += 2 * n
    rows = listing("faceforensics", tmp_path, compression="c40").rows
    assert Counter(row.split for row in rows) == {"train": 3600, "val": 700, "test": 700}
    assert Counter(row.labels["label"] for row in rows) == {"real": 1000, "fake": 4000}
    assert len({row.group for row in rows}) == 500


def test_a_real_video_and_all_fakes_with_it_are_one_group(root: Path) -> None:
    rows = listing("faceforensics", root).rows
    groups = {row.video.stem: row.group for row in rows}
    assert {groups[name] for name in ("000", "003", "000_003", "003_000")} == {"000"}
    assert groups["001"] == groups["870_001"] != groups["000"]


def test_sequences_of_one_youtube_video_are_one_group(root: Path) -> None:
    names = {"000": "--b1Ua-kWJE 0", "870": "a b-cd 0", "672": "a b-cd 1", "999": "other 0"}
    write(root / "conversion_dict.json", names)
    groups = {row.video.stem: row.group for row in listing("faceforensics", root).rows}
    assert groups["672_720"] == groups["001"] == groups["870"] == "001"
    assert groups["000"] == "000"
    write(root / "conversion_dict.json", [1])
    with pytest.raises(InputError, match=r"conversion_dict\.json"):
        listing("faceforensics", root)


@pytest.mark.parametrize("folder", ["raw", "c0"])
def test_c0_may_be_called_raw(tmp_path: Path, folder: str) -> None:
    make(tmp_path, folder)
    rows = listing("faceforensics", tmp_path, compression="c0").rows
    assert len(rows) == 40
    assert {row.labels["compression"] for row in rows} == {"c0"}


def test_what_was_compressed_twice_says_so(tmp_path: Path) -> None:
    make(tmp_path, "c23_c40")
    rows = listing("faceforensics", tmp_path, compression="c23_c40").rows
    assert {row.labels["compression"] for row in rows} == {"c23>c40"}


def test_another_compression_is_refused_with_those_there(root: Path) -> None:
    with pytest.raises(InputError, match=r"c40.*c23.*compression"):
        listing("faceforensics", root, compression="c40")


def test_without_lists_there_is_no_split_and_a_note(tmp_path: Path) -> None:
    make(tmp_path, lists=False)
    touch(tmp_path, real("555"))
    result = listing("faceforensics", tmp_path)
    assert {row.split for row in result.rows} == {""}
    assert (len(result.rows), result.absent) == (41, 0)
    assert any("train.json" in note for note in result.notes)
    groups = {row.video.stem: row.group for row in result.rows}
    assert groups["003_000"] == groups["000"] == "000"
    assert groups["555"] == "555"


def test_a_missing_method_and_a_missing_original(root: Path) -> None:
    for file in (root / fake("FaceSwap", "x")).parent.glob("*"):
        file.unlink()
    (root / fake("FaceSwap", "x")).parent.rmdir()
    (root / real("000")).unlink()
    result = listing("faceforensics", root)
    assert any("FaceSwap" in note for note in result.notes)
    assert result.absent == 9
    row = next(row for row in result.rows if row.video.stem == "000_003")
    assert row.labels["original"] == ""


def test_a_damaged_list(root: Path) -> None:
    write(root / "splits" / "val.json", [["1", "2", "3"]])
    with pytest.raises(InputError, match=r"val\.json"):
        listing("faceforensics", root)
    (root / "splits" / "val.json").unlink()
    with pytest.raises(InputError, match=r"val\.json"):
        listing("faceforensics", root)
