"""`openmarlin manifest`: a table that can be read again, what is missing, errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from disk import touch, write

import openmarlin
from openmarlin.data.manifest import read_manifest
from openmarlin.errors import InputError
from openmarlin.jobs.manifest import announce
from openmarlin.video.reader import VideoReader


def _run(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "openmarlin", "manifest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def celeb_df(tmp_path: Path) -> Path:
    root = tmp_path / "Celeb-DF-v2"
    lines = "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    write(root / "List_of_testing_videos.txt", lines)
    touch(root, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    return root


def test_the_table_is_a_manifest(celeb_df: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables" / "labels.csv"
    result = openmarlin.manifest("celeb_df", celeb_df, out=out)
    lines = out.read_text().splitlines()
    assert lines[0] == "video,split,group,label,method,original"
    assert lines[1] == "../Celeb-DF-v2/Celeb-real/id0_0000.mp4,train,id0,real,original,"
    rows = read_manifest([out]).rows
    assert [row.video.resolve().relative_to(celeb_df).as_posix() for row in rows] == [
        "Celeb-real/id0_0000.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
    ]
    assert rows[1].labels["original"] == "../Celeb-DF-v2/Celeb-real/id0_0000.mp4"
    assert (result.rows, result.listed, result.splits) == (2, 3, {"train": 1, "test": 1})
    assert any("'id0'" in note and "more than one split" in note for note in result.notes)


def test_missing_videos_are_a_table_too(celeb_df: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    result = openmarlin.manifest("celeb_df", celeb_df, out=out)
    assert result.missing == tmp_path / "labels.missing.csv"
    assert result.missing.read_text().splitlines() == [
        "video,reason",
        "Celeb-DF-v2/YouTube-real/00170.mp4,there is no such file",
    ]
    (row,) = read_manifest([result.missing]).rows
    assert row.labels == {}
    touch(celeb_df, "YouTube-real/00170.mp4")
    with pytest.raises(InputError, match="overwrite"):
        openmarlin.manifest("celeb_df", celeb_df, out=out)
    result = openmarlin.manifest("celeb_df", celeb_df, out=out, overwrite=True)
    assert (result.missing, result.rows) == (None, 3)
    assert not (tmp_path / "labels.missing.csv").exists()


def test_a_list_of_missing_videos_that_is_somebody_elses_stays(
    celeb_df: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "labels.missing.csv", "mine")
    with pytest.raises(InputError, match=r"labels\.missing\.csv"):
        openmarlin.manifest("celeb_df", celeb_df, out=tmp_path / "labels.csv")
    assert other.read_text() == "mine"
    assert not (tmp_path / "labels.csv").exists()


def test_no_video_at_all_is_an_error(celeb_df: Path, tmp_path: Path) -> None:
    for file in celeb_df.rglob("*.mp4"):
        file.unlink()
    with pytest.raises(InputError, match=r"none of the 2 videos.*00170") as error:
        openmarlin.manifest("celeb_df", celeb_df, out=tmp_path / "labels.csv")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("labels*"))


@pytest.mark.parametrize(
    ("layout", "settings", "words"),
    [
        ("celebdf", {}, "'celeb_df'"),
        ("celeb_df", {"fold": 1}, "fold="),
        ("celeb_df", {"fold": 0}, "fold=0"),
        ("celeb_df", {"folds": 1}, "'folds'"),
        ("dfdc", {}, "DFDC"),
        ("celeb_df", {"out": "labels.txt"}, "csv"),
        ("celeb_df", {"out": None}, "out="),
    ],
)
def test_wrong_requests(
    celeb_df: Path, tmp_path: Path, layout: str, settings: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        openmarlin.manifest(layout, celeb_df, **{"out": tmp_path / "labels.csv", **settings})
    assert "\n" not in str(error.value)


def test_a_root_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such"):
        openmarlin.manifest("celeb_df", tmp_path / "nowhere", out=tmp_path / "labels.csv")


def test_the_command_line(celeb_df: Path, tmp_path: Path) -> None:
    done = _run("celeb_df", celeb_df, "--out", tmp_path / "labels.csv")
    assert done.returncode == 0
    assert "2 of 3 videos are there (1 missing, see" in done.stderr
    assert "train 1, test 1; 1 groups" in done.stderr
    refused = _run("celebdf", celeb_df, "--out", tmp_path / "b.csv")
    assert refused.returncode == 2
    assert "did you mean 'celeb_df'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert _run("celeb_df", "--out", tmp_path / "b.csv").returncode == 2
    assert _run("--out", tmp_path / "b.csv").returncode == 2


def test_a_table_of_the_example_clips_can_be_decoded(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two clips sorted into classes become a table, and that becomes frames."""
    for label, name in (("thanks", "signer_thanks.mkv"), ("yes", "signer_yes.mkv")):
        file = tmp_path / "sorted" / label / name
        file.parent.mkdir(parents=True)
        file.write_bytes((clips / name).read_bytes())
    result = openmarlin.manifest("folder", tmp_path / "sorted", out=tmp_path / "labels.csv")
    announce(result)
    assert "2 of 2 videos" in capsys.readouterr().err
    table = read_manifest(result.out)
    assert table.columns()["label"].to_pylist() == ["thanks", "yes"]
    for row in table.rows:
        with VideoReader(row.video) as reader:
            assert next(iter(row.frames(reader))).image.shape[2] == 3


def test_a_clip_in_both_parts_is_told(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lists = tmp_path / "EmoLabel_DataSplit" / f"{split}(single-labeled)"
        write(lists / "set_1.csv", "video_name,label\n1,1\n")
    touch(tmp_path, "Clip/original/1.mp4")
    result = openmarlin.manifest("dfew", tmp_path, out=tmp_path / "labels.csv")
    assert result.splits == {"train": 1}
    assert any("1 clips are named again" in note for note in result.notes)


def test_a_table_goes_on_as_a_table(celeb_df: Path, tmp_path: Path) -> None:
    """The layout csv moves a table to another folder: paths still name the same files."""
    first, second = tmp_path / "a" / "labels.csv", tmp_path / "b" / "c" / "labels.csv"
    openmarlin.manifest("celeb_df", celeb_df, out=first)
    openmarlin.manifest("csv", first, out=second)
    before, after = (
        [
            (row.video.resolve(), row.split, (out.parent / row.labels["original"]).resolve())
            for row in read_manifest([out]).rows
            if row.labels["original"]
        ]
        for out in (first, second)
    )
    assert before == after
