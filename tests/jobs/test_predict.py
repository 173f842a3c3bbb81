"""Predict: real clips to tables, report and overlays; killed and resumed; wrong requests."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from media import numbered, write_video
from task_models import ACTIONS, AFFECT, FAKE, MOOD, attentive_head, saved, task_model
from typer.testing import CliRunner

import openmarlin
from openmarlin.cli import app
from openmarlin.data.clips import Sampling
from openmarlin.data.manifest import read_manifest
from openmarlin.errors import OpenMarlinError
from openmarlin.jobs.predict import Prediction, announce, predict
from openmarlin.model.io import save_folder
from openmarlin.model.zoo import DEFAULT_ENCODER, DEFAULT_TASK
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.predictions import read_predictions
from openmarlin.video.reader import VideoReader

CROPPED = Sampling(precropped=True)
WINDOW = ["window", "start_s", "end_s", "face", "face_score", "x1", "y1", "x2", "y2", "ok"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run") / "model", FAKE, thresholds=(0.4,))


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("run") / "model", FAKE, sampling=CROPPED)


@pytest.fixture(scope="module")
def folder(
    clips: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Prediction]:
    """One run over real clips, one without any face and a broken file, with overlays."""
    source = tmp_path_factory.mktemp("videos")
    for name in ("face_then_none.mp4", "two_people.mp4"):
        shutil.copy(clips / name, source)
    write_video(source / "nobody.mp4", numbered(40))
    (source / "broken.mp4").write_text("no video")
    out = tmp_path_factory.mktemp("run") / "out"
    return out, predict(source, model=model, out=out, overlay=True)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _by_name(rows: list[dict]) -> dict[str, dict]:
    return {Path(row["video"]).name: row for row in rows}


def test_a_row_a_window_and_face(folder: tuple[Path, Prediction]) -> None:
    out, result = folder
    frame = result.to_pandas()
    assert list(frame.columns) == ["video", *WINDOW, "predicted_label", "p_fake"]
    two = frame[frame["video"].str.endswith("two_people.mp4")]
    assert set(two["face"]) == {0, 1}  # all faces, unless one says otherwise
    assert np.isfinite(frame["p_fake"][frame["ok"]]).all()
    assert frame["p_fake"][~frame["ok"]].isna().all()
    assert set(frame["predicted_label"][~frame["ok"]]) == {""}
    decided = np.where(frame["p_fake"][frame["ok"]] >= 0.4, "fake", "real")
    assert (frame["predicted_label"][frame["ok"]] == decided).all()
    assert pq.read_table(out / "windows.parquet").to_pylist()[0] == result.windows.to_pylist()[0]
    lines = _table(out / "windows.csv")
    assert len(lines) == len(frame)
    assert [line["p_fake"] == "" for line in lines] == (~frame["ok"]).tolist()


def test_a_row_a_video_and_no_face_is_never_guessed(folder: tuple[Path, Prediction]) -> None:
    out, result = folder
    lines = _table(out / "predictions.csv")
    assert [Path(line["video"]).name for line in lines] == [
        *("broken.mp4", "face_then_none.mp4", "nobody.mp4", "two_people.mp4")
    ]
    by_name, videos = _by_name(lines), _by_name(result.videos)
    nobody = by_name["nobody.mp4"]
    assert (nobody["face_seen"], nobody["predicted_label"], nobody["p_fake"]) == ("0", "", "")
    assert (nobody["n_windows"], nobody["n_without_face"]) == ("2", "2")
    assert "no face" in nobody["note"]
    assert videos["nobody.mp4"]["p_fake"] is None
    seen = by_name["face_then_none.mp4"]
    assert (seen["face_seen"], seen["note"]) == ("1", "")
    assert 0 < int(seen["n_without_face"]) < int(seen["n_windows"])
    assert float(seen["p_fake"]) == pytest.approx(videos["face_then_none.mp4"]["p_fake"], rel=1e-5)
    assert by_name["two_people.mp4"]["n_windows"] == "2"


def test_what_cannot_be_read_is_listed(folder: tuple[Path, Prediction]) -> None:
    out, result = folder
    assert [Path(video).name for video in result.failures] == ["broken.mp4"]
    assert [Path(line["video"]).name for line in _table(out / "failures.csv")] == ["broken.mp4"]
    broken = _by_name(_table(out / "predictions.csv"))["broken.mp4"]
    assert (broken["face_seen"], broken["n_windows"], broken["p_fake"]) == ("0", "0", "")
    assert "not read" in broken["note"]


def test_predictions_can_be_read_back(folder: tuple[Path, Prediction]) -> None:
    out, result = folder
    rows = read_manifest(out / "predictions.csv").rows
    again = read_predictions(out / "predictions.csv", FAKE, rows)
    assert again.seen.tolist() == [bool(video["face_seen"]) for video in result.videos]
    expected = [np.nan if v["p_fake"] is None else v["p_fake"] for v in result.videos]
    np.testing.assert_allclose(again.scores[:, 0], expected, rtol=1e-5)


def test_overlays_have_the_length_and_sound_of_their_videos(
    clips: Path, folder: tuple[Path, Prediction]
) -> None:
    out, _ = folder
    names = sorted(path.name.rpartition("-")[0] for path in (out / "overlay").iterdir())
    assert names == ["face_then_none", "nobody", "two_people"]
    for name in ("face_then_none", "two_people"):
        (drawn,) = (out / "overlay").glob(f"{name}-*.mp4")
        with VideoReader(drawn) as after, VideoReader(clips / f"{name}.mp4") as before:
            assert after.info.has_audio == before.info.has_audio
            pairs = list(zip(after, before, strict=True))
        times = [[frame.time_s for frame in frames] for frames in zip(*pairs, strict=True)]
        np.testing.assert_allclose(times[0], times[1], atol=2e-3)
        first, last = (
            np.abs(a.image.astype(int) - b.image).max() for a, b in (pairs[5], pairs[-1])
        )
        assert first > 100  # a box is there
        if name == "face_then_none":
            assert last < 60  # and is not where nobody is


def test_the_report_says_what_came_out(folder: tuple[Path, Prediction]) -> None:
    out, _ = folder
    page = (out / "report.html").read_text()
    for word in ("two_people.mp4", "nobody.mp4", "not judged", "windows.csv"):
        assert word in page


def test_the_terminal_says_what_failed_and_where_to_look(
    folder: tuple[Path, Prediction], capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = folder
    announce(result)
    shown = capsys.readouterr().err
    assert "broken.mp4" in shown
    assert str(out / "report.html") in shown
    assert "3 of 4 videos" in shown
    seen = _by_name(result.videos)["two_people.mp4"]
    assert f"two_people.mp4: {seen['predicted_label']} (fake" in shown
    assert "nobody.mp4: no face seen" in shown


def test_finished_overlays_stay_and_missing_ones_are_drawn(
    folder: tuple[Path, Prediction], model: Path, tmp_path: Path
) -> None:
    before, result = folder
    out = tmp_path / "out"
    shutil.copytree(before, out)  # keeps the times of files
    drawn = sorted((out / "overlay").iterdir())
    drawn[0].unlink()
    stays = drawn[1].stat().st_mtime_ns
    source = Path(result.videos[0]["video"]).parent
    predict(source, model=model, out=out, overlay=True, resume=True)
    names = ("windows.csv", "predictions.csv", "failures.csv")
    assert [(out / n).read_bytes() for n in names] == [(before / n).read_bytes() for n in names]
    assert drawn[0].is_file()
    assert drawn[1].stat().st_mtime_ns == stays


@pytest.mark.parametrize(
    ("target", "columns"),
    [
        (MOOD, ["predicted_mood", "p_calm", "p_happy", "p_sad"]),
        (ACTIONS, [*(f"predicted_{n}" for n in ACTIONS.classes), "p_talk", "p_nod", "p_blink"]),
        (AFFECT, ["predicted_valence", "predicted_arousal"]),
        (Target("ordinal", ("pain",), ("0", "1", "2")), ["predicted_pain", "p_0", "p_1", "p_2"]),
    ],
)
def test_columns_of_every_kind_of_target(tmp_path: Path, target: Target, columns: list) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(40, 64, 64))
    path = saved(tmp_path / "model", target, sampling=CROPPED)
    result = predict(video, model=path, out=tmp_path / "out")
    assert result.windows.column_names == ["video", *WINDOW, *columns]
    named = [name for name in result.videos[0] if name.startswith(("p_", "predicted_"))]
    assert named == columns
    for row in (*result.windows.to_pylist(), *result.videos):
        numbers = [row[name] for name in columns if name.startswith("p_")]
        if target.is_one_of:
            assert sum(numbers) == pytest.approx(1)
        assert all(row[name] not in ("", None) for name in columns)


def test_a_head_on_tokens(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(40, 64, 64))
    path = saved(tmp_path / "model", FAKE, attentive_head(1), CROPPED, over_time="answers")
    result = predict(video, model=path, out=tmp_path / "out")
    means = np.mean([row["p_fake"] for row in result.windows.to_pylist()])
    assert result.videos[0]["p_fake"] == pytest.approx(means, rel=1e-5)


def test_labels_parts_and_columns_of_a_table(tmp_path: Path, cropped: Path) -> None:
    write_video(tmp_path / "a.mp4", numbered(100, 64, 64))
    table = tmp_path / "list.csv"
    table.write_text(
        "video,start_s,end_s,group,label,take\na.mp4,0,1,anna,real,1\na.mp4,2,,anna,,2\n"
    )
    result = predict(table, model=cropped, out=tmp_path / "out")
    rows = result.windows.to_pylist()
    assert result.windows.column_names[:6] == [
        *("video", "label", "take", "group", "part_start_s", "part_end_s")
    ]
    assert [row["take"] for row in rows] == [1, 2, 2]
    assert [(v["start_s"], v["end_s"], v["label"]) for v in result.videos] == [
        (0.0, 1.0, "real"),
        (2.0, None, ""),
    ]
    assert result.videos[1]["n_windows"] == 2


def test_limits_and_faces(clips: Path, model: Path, tmp_path: Path) -> None:
    video = clips / "two_people.mp4"
    result = predict(
        video, model=model, out=tmp_path / "out", faces="largest", limit_seconds=2, overlay=True
    )
    assert len(result.windows) == 1
    (drawn,) = (tmp_path / "out" / "overlay").iterdir()
    with VideoReader(drawn) as reader:
        assert len(list(reader)) == 24  # 2 s at 12 frames a second


def test_without_a_model_it_says_expressions(clips: Path, tmp_path: Path) -> None:
    result = predict(clips / "single_face.mp4", out=tmp_path / "out", limit_seconds=2)
    (video,) = result.videos
    expressions = TaskModel.load(DEFAULT_TASK).target.classes
    assert video["predicted_expression"] in expressions
    assert sum(video[f"p_{name}"] for name in expressions) == pytest.approx(1)
    assert result.meta["model"]["name"] == DEFAULT_ENCODER
    assert "about half" in result.meta["model"]["caution"]


def test_a_video_too_short_for_a_window_is_not_judged(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(10, 64, 64))
    sampling = Sampling(precropped=True, tail="drop")
    path = saved(tmp_path / "model", FAKE, sampling=sampling)
    result = predict(video, model=path, out=tmp_path / "out")
    assert len(result.windows) == 0
    assert (result.videos[0]["n_windows"], result.videos[0]["p_fake"]) == (0, None)
    assert "too short" in result.videos[0]["note"]
    assert result.failures == {}


def _encoder(path: Path) -> Path:
    save_folder(task_model().encoder, path)
    return path


def _damaged(path: Path) -> Path:
    saved(path)
    (path / "head.safetensors").write_bytes(b"no tensors")
    return path


def _other_head(path: Path) -> Path:
    saved(path)
    shutil.copy(saved(path.parent / "other", MOOD) / "head.safetensors", path)
    return path


def _newer(path: Path) -> Path:
    saved(path)
    config = path / "config.json"
    config.write_text(config.read_text().replace('"precropped"', '"zoomed"'))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "no such folder"),
        (_encoder, "without a head"),
        (lambda path: saved(path / "model").parent, "its model is .*model"),
        (lambda path: path.parent, "no model of a task"),
        (_damaged, "head.safetensors"),
        (_other_head, "does not fit"),
        (_newer, "zoomed"),
    ],
)
def test_wrong_models_are_one_line(tmp_path: Path, make, message: str) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(20, 64, 64))
    with pytest.raises(OpenMarlinError, match=message) as caught:
        predict(video, model=make(tmp_path / "x"), out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": None}, "out"),
        ({"faces": 0}, "faces=0"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"rate": 1}, "'rate'"),
        ({"inputs": "list.csv"}, "'p_fake'"),
        ({"inputs": "gone.mp4"}, "no such file"),
    ],
)
def test_wrong_requests_are_one_line(
    tmp_path: Path, cropped: Path, options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("a.mp4"), numbered(20, 64, 64))
    Path("list.csv").write_text("video,p_fake\na.mp4,1\n")
    values = {"inputs": "a.mp4", "out": "out", "model": cropped, **options}
    with pytest.raises(OpenMarlinError, match=message) as caught:
        predict(values.pop("inputs"), **values)
    assert "\n" not in str(caught.value)
    assert not Path("out").exists()


def test_another_model_does_not_go_on_with_a_run(tmp_path: Path, cropped: Path) -> None:
    video, out = write_video(tmp_path / "a.mp4", numbered(20, 64, 64)), tmp_path / "out"
    place = tmp_path / "model"
    shutil.copytree(cropped, place)
    first = predict(video, model=place, out=out)
    with pytest.raises(OpenMarlinError, match="resume=True"):
        predict(video, model=place, out=out)
    shutil.rmtree(place)
    saved(place, FAKE, sampling=CROPPED, thresholds=(0.9,))
    with pytest.raises(OpenMarlinError, match="model_sha256"):
        predict(video, model=place, out=out, resume=True)
    other = predict(video, model=place, out=out, overwrite=True)
    assert other.videos[0]["p_fake"] == first.videos[0]["p_fake"]  # thresholds decide nothing else


def test_killed_at_any_moment_and_resumed(tmp_path: Path, cropped: Path) -> None:
    """SIGKILL as soon as the first video is done; the resumed tables equal undisturbed ones."""
    source, out = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    for i in range(4):
        write_video(source / f"{i}.mp4", numbered(200, 320, 240, first=100 * i))
    (source / "bad.mp4").write_text("no video")
    words = ["predict", source, "--model", cropped, "--out", out, "--workers", "1"]
    command = list(map(str, words))
    process = subprocess.Popen([sys.executable, "-m", "openmarlin", *command])
    parts = out / "parts"
    while process.poll() is None and not list(parts.glob("*.parquet")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert before
    resumed = CliRunner().invoke(app, [*command, "--resume"])
    assert resumed.exit_code == 1, resumed.output  # one video is broken
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    whole = openmarlin.predict(source, model=cropped, out=tmp_path / "whole")
    numbers = [_table(folder / "predictions.csv") for folder in (out, tmp_path / "whole")]
    for one, other in zip(*numbers, strict=True):
        assert {**one, "p_fake": ""} == {**other, "p_fake": ""}
        if one["p_fake"]:
            assert float(one["p_fake"]) == pytest.approx(float(other["p_fake"]), abs=1e-5)
    assert len(whole.videos) == 5
