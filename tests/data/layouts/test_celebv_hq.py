"""CelebV-HQ: names, groups, splits, segments of emotions, and clips that have vanished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from disk import by_name, listing, splits, touch, write

from openmarlin.errors import InputError

APPEARANCE = ["Blurry", "male", "Big Nose"]
ACTION = ["smile", "talk"]

CLIPS = ["Y0L0sNxp2XI_1_0", "Y0L0sNxp2XI_1_1", "abc_0", "gone_3"]


def clip(ytb_id: str, appearance: list[int], emotion: Any = "Neutral") -> dict[str, Any]:
    return {
        "ytb_id": ytb_id,
        "duration": {"start_sec": 1.0, "end_sec": 9.0},
        "bbox": {"top": 0.1, "bottom": 0.6, "left": 0.2, "right": 0.5},
        "attributes": {
            "appearance": appearance,
            "action": [0, 1],
            "emotion": {"sep_flag": not isinstance(emotion, str), "labels": emotion},
        },
        "version": "v0.1",
    }


def info(meta: str = "meta_info") -> dict[str, Any]:
    segments = [
        {"emotion": "Happiness", "start_sec": 0, "end_sec": 2.5},
        {"emotion": "Sadness", "start_sec": 3.0, "end_sec": 5.0},
        {"emotion": "Fear", "start_sec": 5.0, "end_sec": 5.0},
    ]
    return {
        meta: {"appearance_mapping": APPEARANCE, "action_mapping": ACTION},
        "clips": {
            CLIPS[0]: clip("Y0L0sNxp2XI_1", [1, 0, 1]),
            CLIPS[1]: clip("Y0L0sNxp2XI_1", [0, 0, 0], segments),
            CLIPS[2]: clip("abc", [0, 1, 0]),
            CLIPS[3]: clip("gone", [0, 1, 0]),
        },
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "celebvhq_info.json", info())
    touch(tmp_path, *(f"processed/{name}.mp4" for name in CLIPS[:3]))
    return tmp_path


def test_names_come_from_the_file_and_groups_from_ytb_id(root: Path) -> None:
    result = listing("celebv_hq", root)
    rows = by_name(result.rows)
    first = rows["Y0L0sNxp2XI_1_0.mp4"]
    assert first.labels == {"appearance": "blurry;big_nose", "action": "talk"}
    assert first.group == "Y0L0sNxp2XI_1"
    assert rows["Y0L0sNxp2XI_1_1.mp4"].labels["appearance"] == "none"


def test_vanished_clips_are_left_out_and_counted(root: Path) -> None:
    result = listing("celebv_hq", root)
    assert (len(result.rows), result.absent) == (3, 1)
    assert [path.name for path in result.missing] == ["gone_3.mp4"]


def test_the_misspelt_key_is_read_too(root: Path) -> None:
    write(root / "celebvhq_info.json", info("mete_info"))
    assert len(listing("celebv_hq", root, labels=("action",)).rows) == 3


def test_emotions_are_rows_of_segments(root: Path) -> None:
    rows = listing("celebv_hq", root, labels=("emotion",)).rows
    parts = [(row.video.stem, row.start_s, row.end_s, row.labels) for row in rows]
    assert parts == [
        (CLIPS[0], None, None, {"emotion": "neutral"}),
        (CLIPS[1], 0.0, 2.5, {"emotion": "happiness"}),
        (CLIPS[1], 3.0, 5.0, {"emotion": "sadness"}),
        (CLIPS[2], None, None, {"emotion": "neutral"}),
    ]
    with pytest.raises(InputError, match="emotion"):
        listing("celebv_hq", root, labels=("action", "emotion"))


def test_leak_free_keeps_a_youtube_video_on_one_side(root: Path) -> None:
    many = {f"v{i}_{k}": clip(f"v{i}", [0, 0, 0]) for i in range(20) for k in range(5)}
    write(root / "celebvhq_info.json", {**info(), "clips": many})
    touch(root, *(f"processed/{name}.mp4" for name in many))
    sides: dict[str, dict[str, set[str]]] = {}
    for how in ("leak-free", "paper-like"):
        result = listing("celebv_hq", root, split=how)
        sides[how] = {row.group: set() for row in result.rows}
        for row in result.rows:
            sides[how][row.group].add(row.split)
        counts = list(splits(result.rows).values())
        assert (counts.count("test"), counts.count("val")) == (10, 10)
    assert all(len(side) == 1 for side in sides["leak-free"].values())
    assert any(len(side) > 1 for side in sides["paper-like"].values())


def test_a_clip_keeps_its_split_when_others_vanish(root: Path) -> None:
    before = splits(listing("celebv_hq", root).rows)
    (root / "processed" / f"{CLIPS[0]}.mp4").unlink()
    after = splits(listing("celebv_hq", root).rows)
    assert after.items() <= before.items()


def test_the_lists_of_marlin_are_a_split(root: Path) -> None:
    with pytest.raises(InputError, match=r"train\.txt"):
        listing("celebv_hq", root, split="given")
    write(root / "train.txt", f"{CLIPS[0]}.mp4\n{CLIPS[1]}\n")
    write(root / "test.txt", f"{CLIPS[2]}\n")
    rows = listing("celebv_hq", root, split="given").rows
    assert [row.split for row in rows] == ["train", "train", "test"]
    assert {row.split for row in listing("celebv_hq", root, split="none").rows} == {""}


@pytest.mark.parametrize("folder", ["downloaded", "downloaded_celebvhq/processed", "cropped"])
def test_other_folders_of_clips(root: Path, folder: str) -> None:
    (root / folder).parent.mkdir(exist_ok=True)
    (root / "processed").rename(root / folder)
    result = listing("celebv_hq", root)
    assert {row.video.parent for row in result.rows} == {root / folder}
    assert any("precropped" in note for note in result.notes) == (folder == "cropped")


def test_whole_youtube_videos_are_no_clips(root: Path) -> None:
    (root / "processed").rename(root / "raw")
    with pytest.raises(InputError, match="whole YouTube videos"):
        listing("celebv_hq", root)


def test_damaged_files_are_named(root: Path) -> None:
    content = info()
    content["clips"][CLIPS[2]]["attributes"]["appearance"] = [1]
    write(root / "celebvhq_info.json", content)
    with pytest.raises(InputError, match="abc_0"):
        listing("celebv_hq", root)
    content["clips"][CLIPS[2]]["attributes"]["emotion"] = {"sep_flag": False, "labels": []}
    write(root / "celebvhq_info.json", content)
    with pytest.raises(InputError, match="abc_0"):
        listing("celebv_hq", root, labels=("emotion",))
    for text in ("{", "[]", '{"clips": {}}'):
        write(root / "celebvhq_info.json", text)
        with pytest.raises(InputError, match=r"celebvhq_info.json"):
            listing("celebv_hq", root)
