"""Extract: real clips to a table, whatever the batching; killed and resumed; wrong requests."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from media import numbered, write_video
from pandas.testing import assert_frame_equal
from safetensors.numpy import load_file

import openmarlin
from openmarlin.data.features import Features
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError
from openmarlin.jobs.extract import Extraction, announce, extract

FAST = {"precision": "fp32", "backend": "torch"}
COLUMNS = [
    *("video", "face", "window", "start_s", "end_s", "n_frames", "n_real", "n_repeated"),
    *("n_interpolated", "face_score", "x1", "y1", "x2", "y2", "ok", "embedding"),
]


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Extraction]:
    """One run over four clips into a folder, looked at by several tests."""
    source = tmp_path_factory.mktemp("videos")
    for name in ("single_face.mp4", "face_then_none.mp4", "two_people.mp4", "signer_yes.mkv"):
        shutil.copy(clips / name, source)
    out = tmp_path_factory.mktemp("run") / "out"
    return out, extract(source, out=out, model="tiny", faces="all", tokens=True, **FAST)


def _assert_same(first: Features, second: Features) -> None:
    """Equal tables, embeddings up to the noise of batching."""
    columns = (features.to_pandas().drop(columns="embedding") for features in (first, second))
    assert_frame_equal(*columns)
    np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-5)


def _of(result: Features, name: str) -> list[dict]:
    return [row for row in result.table.to_pylist() if row["video"].endswith(name)]


def test_table_has_the_promised_columns_and_rows(folder: tuple[Path, Extraction]) -> None:
    out, result = folder
    assert result.table.column_names == COLUMNS
    assert result.embeddings.shape == (len(result), 192)
    assert result.embeddings.dtype == np.float32
    ok = result.table.column("ok").to_numpy()
    assert np.isfinite(result.embeddings[ok]).all()
    assert np.isnan(result.embeddings[~ok]).all()
    _assert_same(Features.load(out / "features.parquet"), result)


def test_every_frame_is_covered_and_tails_say_how_much_is_real(
    folder: tuple[Path, Extraction],
) -> None:
    _, result = folder
    rows = _of(result, "single_face.mp4")
    # 2.4 s at 30 fps: windows of 32 source frames start every 32 frames.
    starts = [row["start_s"] - rows[0]["start_s"] for row in rows]
    np.testing.assert_allclose(starts, [0, 32 / 30, 64 / 30], atol=2e-3)
    assert [row["n_real"] for row in rows[:2]] == [16, 16]
    assert 1 <= rows[2]["n_real"] < 16
    for earlier, later in pairwise(rows):
        assert earlier["end_s"] == pytest.approx(later["start_s"], abs=1 / 30 + 2e-3)


def test_two_people_are_two_faces_beside_each_other(folder: tuple[Path, Extraction]) -> None:
    _, result = folder
    rows = _of(result, "two_people.mp4")
    assert {row["face"] for row in rows} == {0, 1}
    first = {row["face"]: row for row in rows if row["window"] == 0}
    left, right = sorted(first.values(), key=lambda row: row["x1"])
    assert left["x1"] < left["x2"] < 480
    assert right["x1"] > left["x1"] + 60


def test_window_without_a_face_is_a_row_with_nan(folder: tuple[Path, Extraction]) -> None:
    _, result = folder
    rows = _of(result, "face_then_none.mp4")
    assert rows[0]["ok"]
    assert rows[0]["face"] >= 0
    last = rows[-1]
    assert (last["ok"], last["face"]) == (False, -1)
    assert np.isnan(last["embedding"]).all()
    assert np.isnan(last["x1"])


def test_folder_holds_meta_failures_tokens_and_report(folder: tuple[Path, Extraction]) -> None:
    out, result = folder
    meta = json.loads((out / "meta.json").read_text())
    assert meta["model"]["name"] == "tiny"
    assert len(meta["model"]["sha256"]) == 64
    assert meta["settings"]["faces"] == "all"
    assert meta["counts"]["videos"] == meta["counts"]["videos_done"] == 4
    assert meta["counts"]["windows"] == len(result)
    assert meta["throughput"]["windows_per_s"] > 0
    assert not (out / "failures.csv").exists()
    report = (out / "report.html").read_text()
    assert "two_people.mp4" in report
    assert "untrained" in report
    tokens = load_file(next((out / "tokens").glob("single_face-*.safetensors")))
    assert {array.shape for array in tokens.values()} == {(1568, 192)}
    assert len(tokens) == len(_of(result, "single_face.mp4"))


def test_the_terminal_says_which_weights_were_used(
    folder: tuple[Path, Extraction], capsys: pytest.CaptureFixture[str]
) -> None:
    _, result = folder
    announce(result)
    assert "'tiny' are untrained" in capsys.readouterr().err
    model = {**result.meta["model"], "name": "mine", "caution": "", "licence": "research"}
    announce(replace(result, meta={**result.meta, "model": model}))
    shown = capsys.readouterr().err
    assert "Weights: mine, research." in shown
    assert "untrained" not in shown


def test_batches_and_workers_do_not_change_the_numbers(
    clips: Path, folder: tuple[Path, Extraction]
) -> None:
    _, together = folder
    video = clips / "two_people.mp4"
    alone = extract(video, model="tiny", faces="all", batch=1, workers=1, **FAST)
    expected = np.array([row["embedding"] for row in _of(together, "two_people.mp4")])
    np.testing.assert_allclose(alone.embeddings, expected, atol=1e-5)


@pytest.mark.parametrize(("faces", "per_window"), [("largest", 1), (1, 1), (2, 2), ("all", 2)])
def test_faces_option(clips: Path, faces: str | int, per_window: int) -> None:
    result = extract(clips / "two_people.mp4", faces=faces, limit_seconds=2.0, **FAST)
    windows = [row["window"] for row in result.table.to_pylist()]
    assert all(windows.count(window) == per_window for window in set(windows))


def test_precropped_needs_no_face(clips: Path) -> None:
    result = extract(clips / "face_then_none.mp4", precropped=True, tail="drop", **FAST)
    assert result.table.column("ok").to_numpy().all()
    assert {row["face"] for row in result.table.to_pylist()} == {0}


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_one_file_by_suffix(clips: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"features{suffix}"
    result = extract(clips / "signer_yes.mkv", out=out, limit_seconds=1.0, **FAST)
    np.testing.assert_array_equal(Features.load(out).embeddings, result.embeddings)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    with pytest.raises(InputError, match="exists already"):
        extract(clips / "signer_yes.mkv", out=out, **FAST)


def test_python_surface(clips: Path, tmp_path: Path) -> None:
    result = openmarlin.extract(clips / "signer_yes.mkv", limit_seconds=1.0, **FAST)
    frame = result.to_pandas()
    assert list(frame.columns) == COLUMNS
    page = result.report(tmp_path / "report.html")
    assert "signer_yes.mkv" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate=0"),
        ({"faces": "some"}, "faces='some'"),
        ({"stride": 0}, "stride=0"),
        ({"limit_seconds": -1}, "limit_seconds=-1"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"batch": 0}, "batch=0"),
        ({"resume": True}, "resume=True"),
        ({"tokens": True, "out": "x.npz"}, "tokens=True"),
        ({"faces": -1}, "faces=-1"),
        ({"workers": -1}, "workers=-1"),
        ({"stride": 32}, "stride 32"),
        ({"model": torch.nn.Linear(2, 2)}, "Linear"),
        ({"rats": 3}, "'rats'.*'rate'"),
        ({"backend": "openvino", "precision": "int8"}, "precision='int8'"),
    ],
)
def test_wrong_requests_are_one_line(clips: Path, options: dict, message: str) -> None:
    with pytest.raises(openmarlin.errors.OpenMarlinError, match=message) as caught:
        extract(clips / "signer_yes.mkv", **options)
    assert "\n" not in str(caught.value)


def _cli(*arguments: str | Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "openmarlin", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_killed_at_any_moment_and_resumed(clips: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as the first video is done; the resumed table equals an undisturbed one."""
    source, out = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    for name in ("signer_yes.mkv", "signer_help.mkv", "single_face.mp4"):
        shutil.copy(clips / name, source)
    command = ["extract", source, "--out", out, "--precision", "fp32", "--workers", "1"]
    process = _cli(*command)
    parts = out / "parts"
    while process.poll() is None and not list(parts.glob("*.parquet")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert before
    assert not (out / "features.parquet").exists()

    resumed = _cli(*command, "--resume")
    _, log = resumed.communicate()
    assert resumed.returncode == 0, log
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    whole = extract(source, precision="fp32")
    _assert_same(Features.load(out), whole)


def test_parts_that_fail_are_listed_and_tried_again_as_parts(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(40, 64, 64))
    table, out = tmp_path / "list.csv", tmp_path / "out"
    table.write_text("video,start_s,end_s\na.mp4,0,1\na.mp4,5,6\na.mp4,7.5,\n")
    first = extract(table, out=out, model="tiny", precropped=True)
    assert list(first.failures) == [f"{video} [5.0 s to 6.0 s]", f"{video} [7.5 s to end]"]
    assert first.meta["counts"]["videos_done"] == 1
    again = extract(out / "failures.csv", out=tmp_path / "again", model="tiny", precropped=True)
    assert again.failures == first.failures
    listed = [(folder / "failures.csv").read_text() for folder in (out, tmp_path / "again")]
    assert listed[0] == listed[1]
    assert [line.split(",")[:3] for line in listed[0].splitlines()[1:]] == [
        [str(video), "5.0", "6.0"],
        [str(video), "7.5", ""],
    ]


def test_exit_codes(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    mixed = _cli(
        "extract", clips / "signer_yes.mkv", tmp_path / "text.mp4", "--out", tmp_path / "out"
    )
    _, log = mixed.communicate()
    assert mixed.returncode == 1
    assert "text.mp4" in log
    assert "Traceback" not in log
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)] == [str(tmp_path / "text.mp4")]
    assert len(Features.load(tmp_path / "out")) > 0

    wrong = _cli("extract", tmp_path / "gone.mp4", "--out", tmp_path / "out2")
    _, log = wrong.communicate()
    assert wrong.returncode == 2
    assert "no such file" in log
    assert not (tmp_path / "out2").exists()


CROPPED = {"model": "tiny", "precropped": True, **FAST}


def _video(path: Path, n: int = 20) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_video(path, numbered(n, 64, 64), fps=25)


def test_every_name_of_a_file_has_its_own_rows_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = _video(tmp_path / "raw" / "a.mp4")
    links = [tmp_path / name / "0.mp4" for name in ("train", "val")]
    for link in links:
        link.parent.mkdir()
        link.symlink_to(raw)
    monkeypatch.chdir(raw.parent)
    result = extract(["a.mp4", *(link.parent for link in links), raw], **CROPPED)
    assert result.table.column("video").to_pylist() == ["a.mp4", *map(str, links)]


def test_resume_reads_again_what_has_changed(tmp_path: Path) -> None:
    same, other = _video(tmp_path / "v" / "0.mp4"), _video(tmp_path / "v" / "1.mp4", 60)
    whole = other.read_bytes()
    other.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    first = extract(tmp_path / "v", out=out, **CROPPED)
    assert set(first.failures) == {str(other)}
    part = out / "parts" / f"{Row(same).key}.parquet"
    written = part.stat().st_mtime_ns
    other.write_bytes(whole)
    second = extract(tmp_path / "v", out=out, resume=True, **CROPPED)
    assert second.failures == {}
    assert [Path(v).stem for v in second.table.column("video").to_pylist()] == ["0", "1", "1"]
    assert part.stat().st_mtime_ns == written


def test_a_csv_gives_parts_and_columns(tmp_path: Path) -> None:
    _video(tmp_path / "a.mp4", 100)
    _video(tmp_path / "b.mp4", 20)
    table = tmp_path / "list.csv"
    table.write_text(
        "video,start_s,end_s,split,group,smiles\n"
        "a.mp4,0.5,1.0,train,anna,1\na.mp4,2,,val,anna,0\nb.mp4,,,val,007,3\n"
    )
    result = extract(table, out=tmp_path / "out", **CROPPED)
    given = ("start_s", "split", "group", "smiles")
    rows = [tuple(row[name] for name in given) for row in result.table.to_pylist()]
    # 0.5 s lies between two frames of 0.04 s; from 2 s to the end there are two windows.
    assert rows == [
        (pytest.approx(0.52), "train", "anna", 1),
        (pytest.approx(2.0), "val", "anna", 0),
        (pytest.approx(3.28), "val", "anna", 0),
        (pytest.approx(0.0), "val", "007", 3),
    ]
    assert result.meta["counts"]["faces"] == 3
    report = (tmp_path / "out" / "report.html").read_text()
    assert len(re.findall('<article class="video">', report)) == 3


def test_failures_can_be_given_as_input(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    out = tmp_path / "out"
    extract([tmp_path / "bad.mp4", _video(tmp_path / "good.mp4")], out=out, **CROPPED)
    _video(tmp_path / "bad.mp4")
    again = extract(out / "failures.csv", **CROPPED)
    assert again.table.column("video").to_pylist() == [str(tmp_path / "bad.mp4")]
    assert again.failures == {}


def test_a_recipe_of_an_earlier_run_gives_the_same(tmp_path: Path) -> None:
    video, out = _video(tmp_path / "a.mp4"), tmp_path / "out"
    first = extract(video, out=out, rate=1, **CROPPED)
    second = extract(video, config=out / "config.yaml")
    assert (first.out, second.out) == (out, None)
    _assert_same(first, second)
    assert len(extract(video, config=out / "config.yaml", rate=3)) < len(first)


def test_a_column_that_the_features_have_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    _video(tmp_path / "a.mp4")
    (tmp_path / "list.csv").write_text("video,face\na.mp4,1\n")
    with pytest.raises(InputError, match="'face'"):
        extract(tmp_path / "list.csv", out=tmp_path / "out", **CROPPED)
    assert not (tmp_path / "out").exists()
