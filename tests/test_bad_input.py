"""The table of docs/bad-input.md, row by row, through `extract` as a user calls it."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from full_disk import run_limited
from media import numbered, write_audio, write_video

from openmarlin.data.features import Features
from openmarlin.errors import InputError, ModelError
from openmarlin.jobs.extract import extract
from openmarlin.model.io import load
from openmarlin.video.reader import VideoReader

FAST = {"precision": "fp32", "backend": "torch"}


@pytest.fixture
def good(clips: Path) -> Path:
    return clips / "signer_yes.mkv"


def _ok(result: Features) -> np.ndarray:
    return np.asarray(result.table.column("ok").to_numpy())


def test_what_is_no_video_is_listed_and_the_rest_goes_on(good: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    write_audio(tmp_path / "sound.mp4")
    (tmp_path / "list.csv").write_text(f"video\ngone.mp4\n{good}\n")
    inputs = [tmp_path / name for name in ("empty.mp4", "text.mp4", "sound.mp4", "list.csv")]
    result = extract(inputs, limit_seconds=1.0, **FAST)
    assert set(result.failures) == {
        str(tmp_path / name) for name in ("empty.mp4", "text.mp4", "sound.mp4", "gone.mp4")
    }
    reasons = {Path(video).name: reason for video, reason in result.failures.items()}
    assert "empty" in reasons["empty.mp4"]
    assert "only audio" in reasons["sound.mp4"]
    assert "no such file" in reasons["gone.mp4"].lower()
    assert len(set(reasons.values())) == 4
    assert all("\n" not in reason for reason in reasons.values())
    assert _ok(result).all()
    assert len(result)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_listed(good: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    shutil.copy(good, secret)
    secret.chmod(0)
    assert "permission" in extract(secret, **FAST).failures[str(secret)].lower()


def test_truncated_at_every_tenth(clips: Path, tmp_path: Path) -> None:
    """Either some windows and the note that the file ends early, or a failure; never silence."""
    data = (clips / "signer_yes.mkv").read_bytes()
    whole = len(extract(clips / "signer_yes.mkv", **FAST))
    for tenth in range(1, 10):
        (tmp_path / f"{tenth}.mkv").write_bytes(data[: len(data) * tenth // 10])
    result = extract(tmp_path, **FAST)
    rows = [Path(video).stem for video in result.table.column("video").to_pylist()]
    for tenth in range(1, 10):
        windows = rows.count(str(tenth))
        assert windows <= whole
        reason = result.failures[str(tmp_path / f"{tenth}.mkv")]
        assert bool(windows) == reason.startswith("partly read")
    assert rows.count("9") >= rows.count("3") > 0


def test_nobody_in_the_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "n.mp4", numbered(40, 320, 240))
    result = extract(path, **FAST)
    assert len(result) == 2
    assert not _ok(result).any()
    assert np.isnan(result.embeddings).all()
    assert result.failures == {}
    result.report(tmp_path / "report.html")


def _face(clips: Path) -> np.ndarray:
    with VideoReader(clips / "single_face.mp4") as reader:
        return next(iter(reader)).image[:, 140:500]


def test_twenty_faces(clips: Path, tmp_path: Path) -> None:
    tile = cv2.resize(_face(clips), (240, 240), interpolation=cv2.INTER_AREA)
    crowd = np.tile(tile, (4, 5, 1))
    path = write_video(tmp_path / "crowd.mp4", [crowd] * 8, pixel_format="yuv444p")
    result = extract(path, faces="all", **FAST)
    assert len({row["face"] for row in result.table.to_pylist()}) == 20
    assert _ok(result).all()
    assert len(extract(path, faces=3, **FAST)) == 3


def test_tiny_and_huge(clips: Path, tmp_path: Path) -> None:
    tiny = write_video(tmp_path / "tiny.mkv", numbered(20, 8, 8), codec="ffv1")
    frame = cv2.resize(_face(clips), (4320, 4320))
    wide = cv2.copyMakeBorder(frame, 0, 0, 1680, 1680, cv2.BORDER_CONSTANT)
    huge = write_video(tmp_path / "huge.mp4", [wide] * 2, codec="mpeg4")
    result = extract([tiny, huge], **FAST)
    assert result.failures == {}
    assert _ok(result).tolist() == [False, True]
    x1, x2 = (result.table.column(name).to_pylist()[1] for name in ("x1", "x2"))
    assert 1680 < x1 < x2 < 1680 + 4320


def _wrong_checkpoint(kind: str, folder: Path) -> Path:
    model = load("tiny")
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()}
    path = folder / "model.encoder.pt"
    if kind == "other size":
        state["encoder.norm.weight"] = torch.ones(7)
    if kind == "missing keys":
        del state["encoder.blocks.3.mlp.layers.0.linear.weight"]
    if kind == "pickled code":
        path.write_bytes(pickle.dumps(_Evil()))
    elif kind == "no checkpoint":
        path.write_bytes(b"hello" * 100)
    else:
        torch.save(state, path)
    return path


class _Evil:
    def __reduce__(self) -> tuple:
        return (os._exit, (66,))


@pytest.mark.parametrize("kind", ["other size", "missing keys", "pickled code", "no checkpoint"])
def test_wrong_checkpoint_is_refused_before_anything_is_written(
    good: Path, tmp_path: Path, kind: str
) -> None:
    path = _wrong_checkpoint(kind, tmp_path)
    with pytest.raises(ModelError, match=re.escape(str(path))) as caught:
        extract(good, model=path, out=tmp_path / "out", **FAST)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _start(*arguments: str | Path) -> subprocess.Popen:
    return subprocess.Popen([*map(str, arguments)], stderr=subprocess.PIPE, text=True)


def test_full_disk_stops_with_one_line_and_can_be_resumed(clips: Path, tmp_path: Path) -> None:
    """The kernel refuses files above a size, as a full disk would: the tokens do not fit."""
    out = tmp_path / "out"
    options = ["--model", "small", "--tokens", "--out", out, "--precision", "fp32"]
    command = ["extract", clips / "signer_yes.mkv", *options]
    code, log = run_limited(3_000_000, *command)
    assert code == 2, log
    assert "Traceback" not in log
    assert "cannot write" in log
    assert not list(out.rglob("*.part"))
    again = _start(sys.executable, "-m", "openmarlin", *command, "--resume")
    _, log = again.communicate()
    assert again.returncode == 0, log
    assert len(Features.load(out)) == 3


def test_output_folder_is_not_empty(good: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match=re.escape(str(tmp_path))):
            extract(good, out=tmp_path, **options, **FAST)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["notes.txt"]


def test_resume_with_other_settings(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(good, out=out, limit_seconds=0.5, **FAST)
    with pytest.raises(InputError, match="rate was 2, is 3"):
        extract(good, out=out, limit_seconds=0.5, rate=3, resume=True, **FAST)


def test_a_file_that_was_cut_off_is_read_again_when_it_is_whole(
    clips: Path, tmp_path: Path
) -> None:
    data = (clips / "signer_yes.mkv").read_bytes()
    video, out = tmp_path / "v.mkv", tmp_path / "out"
    video.write_bytes(data[: len(data) // 2])
    cut = extract(video, out=out, **FAST)
    assert str(video) in cut.failures
    video.write_bytes(data)
    whole = extract(video, out=out, resume=True, **FAST)
    assert whole.failures == {}
    assert len(whole) == len(extract(video, **FAST)) > 0


def test_linked_and_twice_named_files_have_rows_of_their_own(good: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0.mkv").symlink_to(good)
    folders = [tmp_path / "train", tmp_path / "val"]
    options = {"limit_seconds": 0.5, "out": tmp_path / "out", **FAST}
    result = extract([*folders, folders[0] / "0.mkv"], **options)
    names = result.table.column("video").to_pylist()
    assert names == [str(folder / "0.mkv") for folder in folders]


def test_parts_and_labels_of_a_table(good: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"video,start_s,end_s,smile\n{good},0,0.5,1\n{good},1,1.5,0\n")
    rows = extract(table, **FAST).table.to_pylist()
    assert [row["smile"] for row in rows] == [1, 0]
    assert [row["start_s"] for row in rows] == pytest.approx([0, 1], abs=0.04)
    assert rows[1]["end_s"] == pytest.approx(1.5, abs=0.04)


HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.argv = ["openmarlin", *sys.argv[1:]]
from openmarlin.cli import main
main()
"""


def test_interrupted_by_ctrl_c(clips: Path, tmp_path: Path) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for name in ("signer_yes.mkv", "signer_help.mkv", "signer_book.mkv", "signer_again.mkv"):
        shutil.copy(clips / name, source)
    out = tmp_path / "out"
    run = _start(
        *(sys.executable, "-c", HEARS_CTRL_C, "extract", source, "--out", out, "--workers", "1")
    )
    while run.poll() is None and not list(out.glob("parts/*.parquet")):
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, log = run.communicate(timeout=60)
    assert run.returncode == 130, log
    assert "--resume" in log
    assert "Traceback" not in log
