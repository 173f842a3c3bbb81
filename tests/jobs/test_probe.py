"""Probe: from labelled videos to a model that answers; wrong requests; kill and resume."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import write_video
from pages import read

import openmarlin
from openmarlin.data.clips import Sampling
from openmarlin.data.manifest import read_manifest
from openmarlin.errors import InputError
from openmarlin.jobs.probe import Probed, announce, probe
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import save_folder
from openmarlin.output import Failures
from openmarlin.settings import read_recipe
from openmarlin.tasks.inference import answer
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.probe_attentive import fit_attentive
from openmarlin.tasks.probe_features import extract_features, list_unseen

SHAPE = ModelConfig(image_size=16, frames=4, patch=8, width=24, depth=1, heads=2)
FAST: dict[str, Any] = {
    "precropped": True,
    "rate": 1,
    "stride": 4,
    "precision": "fp32",
    "workers": 1,
    "resamples": 100,
}
N = 36


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that are bright or dark, three of a person; a table; a toy model; one that is none."""
    folder = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        light = i % 2
        frames = rng.integers(110 * light, 110 * light + 140, (8, 16, 16, 3)).astype(np.uint8)
        write_video(folder / f"{i}.mp4", frames, codec="libx264rgb", pixel_format="rgb24",
                    options={"crf": "0"}, container_format="matroska")  # fmt: skip
        rows.append({"video": f"{i}.mp4", "group": f"p{i // 3}", "light": ("off", "on")[light],
                     "level": f"{light + rng.normal() * 0.1:.3f}", "empty": "",
                     "same": "x"})  # fmt: skip
    (folder / "broken.mp4").write_bytes(b"no video")
    rows.append({**rows[0], "video": "broken.mp4", "group": "q1"})
    rows.append({**rows[0], "video": "gone.mp4", "group": "q2"})
    rows.append({**rows[0], "video": "0.mp4", "light": "", "level": "nan"})
    write_table(folder / "labels.csv", rows[:-1])
    unlabelled = [{**row, "light": "" if i < 3 else row["light"]} for i, row in enumerate(rows[:N])]
    write_table(folder / "unlabelled.csv", unlabelled)
    encoder = Encoder(SHAPE, torch.Generator().manual_seed(0))
    save_folder(encoder, folder / "toy")
    return folder


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, out: Path, table: str = "labels.csv", **settings: Any) -> Probed:
    values = {"label": "light", "model": str(folder / "toy"), **FAST, **settings}
    return probe(folder / table, out=out, **values)


@pytest.fixture(scope="module")
def first(folder: Path) -> Probed:
    return run(folder, folder / "run", shares=(1, 0.5, 0.05), draws=2)


def test_a_run_holds_all_it_promises(folder: Path, first: Probed) -> None:
    assert first.evaluation.scores["uar"].value == 1.0
    names = {path.name for path in first.out.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "environment.json", "failures.csv", "features", "metrics.csv",
        "metrics.json", "model", "predictions.csv", "report.html", "shares.csv", "splits.csv",
    }  # fmt: skip
    metrics = json.loads((first.out / "metrics.json").read_text())
    assert metrics["metrics"]["uar"]["value"] == 1.0
    assert metrics["probe"]["validation"]["tried"] == 135
    assert [row["draws"] for row in metrics["probe"]["shares"]] == [1, 2, 2]
    rows = read_csv(first.out / "predictions.csv")
    assert len(rows) == N + 2
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    splits = read_manifest(first.out / "splits.csv").rows
    assert [row.split for row in splits] == [row["split"] for row in rows]


def test_what_cannot_be_read_is_listed_and_counts_with_the_prior(first: Probed) -> None:
    assert [Path(name).name for name in first.failures] == ["broken.mp4", "gone.mp4"]
    rows = {Path(row["video"]).name: row for row in read_csv(first.out / "predictions.csv")}
    for name in ("broken.mp4", "gone.mp4"):
        assert rows[name]["face_seen"] == "0"
        assert float(rows[name]["p_on"]) == pytest.approx(first.config.prior[1], abs=1e-5)
    assert (
        first.config.trained_on["learnt_from"] <= first.config.trained_on["parts"]["train"]["rows"]
    )


def test_the_model_answers_new_videos_as_the_run_did(folder: Path, first: Probed) -> None:
    model = TaskModel.load(first.model)
    manifest = read_manifest(first.out / "splits.csv")
    answers = answer(
        model, manifest, folder / "again", Failures(folder / "again.csv"), precision="fp32"
    )
    expected = [float(row["p_on"]) for row in read_csv(first.out / "predictions.csv")]
    np.testing.assert_allclose(answers.rows[:, 1], expected, atol=2e-4)


def test_the_card_says_what_it_learnt_and_how_well(first: Probed) -> None:
    card = (first.model / "README.md").read_text()
    for words in ("light", "off", "on", "train", "uar", "Limits", "identify", "openmarlin predict"):
        assert words in card
    assert first.config.trained_on["labels"] in card


def test_shares_are_drawn_and_one_without_a_class_is_no_crash(first: Probed) -> None:
    assert [(draw.share, draw.draw) for draw in first.draws] == [
        (1, 0), (0.5, 0), (0.5, 1), (0.05, 0), (0.05, 1)
    ]  # fmt: skip
    rows = read_csv(first.out / "shares.csv")
    assert [int(row["rows"]) for row in rows] == [draw.rows for draw in first.draws]
    tiny = first.draws[-1]
    assert tiny.rows == 1
    assert "tell apart" in tiny.problem
    assert rows[-1]["problem"] == tiny.problem
    assert not rows[-1]["uar"]


def test_the_report_shows_what_was_tried_and_fewer_labels(first: Probed) -> None:
    page = read(first.out / "report.html")
    assert "Tried on validation" in page.text
    assert "With fewer labels" in page.text
    assert "normalisation" in page.text
    assert "tell apart" in page.text  # why a draw failed
    assert len(page.all("svg")) >= 2
    assert not page.all("script")


@pytest.mark.parametrize("head", ["attentive", "knn", "paper"])
def test_other_heads(
    head: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmarlin.tasks.probe.fit_attentive", partial(fit_attentive, epochs=2))
    monkeypatch.setattr("openmarlin.tasks.probe_paper._MAX_EPOCHS", 20)
    result = run(folder, tmp_path / "out", head=head, label="light:binary")
    assert result.config.head["kind"] == {"knn": "neighbours", "paper": "linear"}.get(head, head)
    assert len(result.config.thresholds) == 1
    model = TaskModel.load(result.model)
    assert model.head.reads == ("tokens" if head == "attentive" else "feature")
    assert (result.out / "features" / "tokens").is_dir() == (head == "attentive")
    if head != "paper":
        assert result.evaluation.scores["auc"].value > 0.8


def test_a_quantity(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "out", label="level")
    assert result.evaluation.scores["ccc"].value > 0.8
    assert "alpha" in result.config.chosen_on["settings"]


def test_rows_without_a_label_are_left_out_and_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(folder, tmp_path / "out", "unlabelled.csv")
    assert len(read_csv(result.out / "predictions.csv")) == N - 3
    assert result.config.trained_on["left_out"] == {"without a label": 3}
    assert any("3 of 36" in note for note in result.evaluation.notes)
    announce(result)
    assert "3 of 36" in capsys.readouterr().err


def test_features_of_an_earlier_run_are_used_again(
    folder: Path, first: Probed, tmp_path: Path
) -> None:
    again = probe(
        folder / "labels.csv",
        out=tmp_path / "out",
        label="light",
        model=str(folder / "toy"),
        features=first.out / "features",
        shares=(1, 0.5, 0.05),
        draws=2,
        resamples=100,
    )  # the windows are those of the features
    assert not (again.out / "features").exists()
    assert read_recipe(again.out / "config.yaml")["stride"] == FAST["stride"]
    assert again.draws == first.draws
    assert {Path(name).name for name in again.failures} == {"broken.mp4", "gone.mp4"}
    for settings, word in (
        ({"stride": 2}, "stride"),
        ({"model": "tiny"}, "another model"),
        ({"head": "attentive"}, "no tokens"),
    ):
        with pytest.raises(InputError, match=word):
            run(folder, tmp_path / "new", features=first.out / "features", **settings)
        assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="empties"):
        run(folder, first.out, features=first.out / "features", overwrite=True)


def test_a_run_goes_on_after_a_kill_with_the_features_it_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openmarlin.jobs.probe.list_unseen", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder, out)
    monkeypatch.undo()
    parts = {path: path.stat().st_mtime_ns for path in (out / "features" / "parts").iterdir()}
    assert len(parts) > N
    assert not (out / "model").exists()
    with pytest.raises(InputError, match="resume"):
        run(folder, out)
    result = run(folder, out, resume=True)
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert (result.model / "head.safetensors").is_file()
    again = run(folder, out, resume=True)
    assert (
        again.evaluation.scores == result.evaluation.scores
        or np.isnan([score.low for score in again.evaluation.scores.values()]).any()
    )


def test_labels_that_changed_stop_a_resumed_run(folder: Path, tmp_path: Path) -> None:
    rows = read_csv(folder / "labels.csv")[:N]
    for row in rows:
        row["video"] = str(folder / row["video"])
    table = write_table(tmp_path / "labels.csv", rows)
    settings = {**FAST, "label": "light", "model": str(folder / "toy"), "out": tmp_path / "out"}
    probe(table, **settings)
    rows[0]["light"], rows[1]["light"] = rows[1]["light"], rows[0]["light"]
    write_table(table, rows)
    with pytest.raises(InputError, match="labels") as caught:
        probe(table, resume=True, **settings)
    assert "\n" not in str(caught.value)
    rows[0]["light"], rows[1]["light"] = rows[1]["light"], rows[0]["light"]
    write_table(table, rows)
    probe(table, resume=True, **settings)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"label": ()}, "label"),
        ({"label": "lihgt"}, "light"),
        ({"label": "empty"}, "empty"),
        ({"label": "same"}, "one value"),
        ({"shares": (1, 0)}, "shares"),
        ({"shares": "1,2"}, "shares"),
        ({"blocks": -1}, "blocks"),
        ({"head": "svm"}, "head"),
        ({"stride": 9}, "stride"),
        ({"features": "nowhere"}, "features"),
    ],
)
def test_wrong_requests_are_one_line_and_leave_nothing(
    settings: dict[str, Any], word: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=word) as caught:
        run(folder, tmp_path / "out", **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def with_splits(folder: Path, path: Path, change: Any) -> Path:
    """A table of existing videos with a split of its own, by `change(number, row)`."""
    rows = read_csv(folder / "labels.csv")[:N]
    for i, row in enumerate(rows):
        row["video"] = str(folder / row["video"])
        row["split"] = ("train", "train", "val", "test")[i // 3 % 4]
        change(i, row)
    return write_table(path, rows)


def test_a_group_on_two_sides_is_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    def one_person(i: int, row: dict[str, str]) -> None:
        row["group"] = "p0" if i in (0, 9) else row["group"]

    table = with_splits(folder, tmp_path / "labels.csv", one_person)
    settings = {**FAST, "label": "light", "model": str(folder / "toy"), "out": tmp_path / "out"}
    with pytest.raises(InputError, match="'p0'") as caught:
        probe(table, **settings)
    assert "leaks" in str(caught.value)
    assert not (tmp_path / "out").exists()
    result = probe(table, leaks="allow", **settings)
    assert any("p0" in note for note in result.evaluation.notes)


def test_a_class_that_train_lacks_is_scored_as_wrong_and_named(
    folder: Path, tmp_path: Path
) -> None:
    def third(i: int, row: dict[str, str]) -> None:
        if row["split"] == "test" and i % 3 == 0:
            row["light"] = "dim"

    table = with_splits(folder, tmp_path / "labels.csv", third)
    result = probe(table, out=tmp_path / "out", label="light", model=str(folder / "toy"), **FAST)
    assert any("dim (3 in test)" in note for note in result.evaluation.notes)
    assert result.evaluation.scores["recall[dim]"].value == 0


def test_validation_of_one_class_is_refused_before_a_video_is_read(
    folder: Path, tmp_path: Path
) -> None:
    def change(i: int, row: dict[str, str]) -> None:
        row["light"] = str(int(row["light"] == "on" or row["split"] == "val"))

    table = with_splits(folder, tmp_path / "labels.csv", change)
    with pytest.raises(InputError, match="validation"):
        probe(table, out=tmp_path / "out", label="light", model=str(folder / "toy"), **FAST)
    assert not (tmp_path / "out").exists()


def test_a_part_without_labels_is_made_of_train_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    def change(i: int, row: dict[str, str]) -> None:
        row["light"] = "" if row["split"] == "test" else row["light"]

    table = with_splits(folder, tmp_path / "labels.csv", change)
    result = probe(table, out=tmp_path / "out", label="light", model=str(folder / "toy"), **FAST)
    assert any("made of train" in note for note in result.evaluation.notes)
    assert result.config.trained_on["parts"]["test"]["rows"] > 0


def test_no_face_in_any_training_video_is_said(folder: Path, tmp_path: Path) -> None:
    def gone(i: int, row: dict[str, str]) -> None:
        if row["split"] == "train":
            row["video"] = f"gone-{i}.mp4"

    table = with_splits(folder, tmp_path / "labels.csv", gone)
    with pytest.raises(InputError, match="none of the 18 train videos"):
        probe(table, out=tmp_path / "out", label="light", model=str(folder / "toy"), **FAST)


def test_the_command_line_says_the_same(folder: Path, first: Probed, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "openmarlin", "probe", str(folder / "labels.csv"),
        "--label", "light", "--out", str(tmp_path / "out"), "--model", str(folder / "toy"),
        "--features", str(first.out / "features"), "--shares", "1,0.5", "--draws", "2",
        "resamples=100",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr  # some videos could not be read
    assert "light: class (off, on)" in result.stderr
    assert "UAR 1.000" in result.stderr
    assert (tmp_path / "out" / "model" / "config.json").is_file()
    assert openmarlin.probe is probe


def test_a_video_without_a_face_is_listed_and_counted(clips: Path, tmp_path: Path) -> None:
    """A real video with the real face nets: its second half shows nobody."""
    rows = read_manifest(clips / "face_then_none.mp4").rows
    encoder = openmarlin.load("tiny", image_size=32)
    half = [replace(rows[0], start_s=start, end_s=start + 1) for start in (0.0, 5.0)]
    failures = Failures(tmp_path / "failures.csv")
    features = extract_features(
        encoder, half, Sampling(), tmp_path / "features", failures, tokens=False, precision="fp32"
    )
    assert features.seen.tolist() == [True, False]
    assert not list_unseen(features, failures)
    (reason,) = failures.as_dict().values()
    assert "no face" in reason
