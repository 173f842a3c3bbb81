"""Evaluate: models and anybody's predictions, judged by tables of labels; wrong requests."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import numbered, write_video
from pages import read

import openmarlin
from openmarlin.errors import InputError, ModelError, OpenMarlinError
from openmarlin.jobs.evaluate import announce, evaluate
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.tasks.heads import LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskConfig, TaskModel

FAST: dict[str, Any] = {"precision": "fp32", "workers": 1, "resamples": 100}
CONFIG = ModelConfig(image_size=32, frames=4, patch=8, width=32, depth=1, heads=2)
BINARY = Target("binary", ("forged",), ("real", "fake"))
CROPS = {"rate": 1, "stride": 4, "precropped": True}


def save_model(folder: Path, target: Target = BINARY, seed: int = 0, **values: Any) -> Path:
    """A model that answers by chance, but not the same to everything."""
    generator = torch.Generator().manual_seed(seed)
    encoder = Encoder(CONFIG, generator)
    head = LinearHead(32, len(target.outputs))
    with torch.no_grad():
        head.linear.weight.normal_(generator=generator)
    config: dict[str, Any] = {"sampling": CROPS, "over_time": "answers", "prior": (0.3,), **values}
    task = TaskConfig(target=target.as_dict(), head=head.config, **config)
    TaskModel(encoder.eval(), head.eval(), task).save(folder, "A card.")
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


def scores_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "metrics.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, ten clips of two windows each, and their labels."""
    folder = tmp_path_factory.mktemp("evaluate")
    rows = []
    for i in range(10):
        write_video(folder / f"v{i}.mp4", numbered(8, 64, 64, first=37 * i))
        label = ("real", "fake")[i % 2]
        split = "train" if i < 2 else "test"
        sex = "fm"[i // 5]
        rows.append(
            {
                "video": f"v{i}.mp4",
                "split": split,
                "group": f"g{i // 2}",
                "forged": label,
                "sex": sex,
            }
        )
    write_table(folder / "labels.csv", rows)
    save_model(folder / "model", temperature=2.0, thresholds=(0.4,), chosen_on={"auc": 0.9})
    return folder


@pytest.fixture(scope="module")
def judged(place: Path) -> Path:
    """One run of the model, looked at by several tests."""
    result = evaluate(
        place / "model", place / "labels.csv", out=place / "out", subgroups="sex", **FAST
    )
    assert not result.failures
    announce(result)
    return result.out


def test_a_model_is_judged_on_the_test_part(judged: Path) -> None:
    content = scores_of(judged)
    assert content["counts"]["labelled"] == 8
    assert content["counts"]["groups"] == 4
    assert content["prior_source"] == "the training labels"
    assert content["thresholds"] == [0.4]
    rows = read_csv(judged / "predictions.csv")
    assert [Path(row["video"]).name for row in rows] == [f"v{i}.mp4" for i in range(2, 10)]
    assert all(row["predicted_forged"] in ("real", "fake") for row in rows)
    p = np.array([float(row["p_fake"]) for row in rows])
    said = np.array([row["predicted_forged"] == "fake" for row in rows])
    np.testing.assert_array_equal(said, p >= 0.4)
    true = np.array([row["forged"] == "fake" for row in rows])
    assert content["metrics"]["accuracy"]["value"] == pytest.approx((said == true).mean())


def test_windows_videos_subjects_and_the_temperature_are_named(judged: Path) -> None:
    levels = scores_of(judged)["levels"]
    assert levels["window"]["n"] == 16
    assert levels["uncalibrated"]["metrics"].keys() == {"brier", "ece"}
    assert "subject" not in levels  # each of a group's two videos has its own label


def test_report_shows_crops_of_the_mistakes(judged: Path) -> None:
    page = read(judged / "report.html")
    wrong = [
        r for r in read_csv(judged / "predictions.csv") if r["forged"] != r["predicted_forged"]
    ]
    assert len(page.all("img")) == len(wrong) > 0
    assert "://" not in page.source.replace("http://www.w3.org", "")
    for word in ("AUC", "Confusion", "sex", "chosen on", "temperature"):
        assert word.lower() in page.text.lower()


def test_its_own_predictions_score_the_same(place: Path, judged: Path) -> None:
    """The table holds what is needed to judge again: labels found by name, thresholds, faces."""
    again = evaluate(judged / "predictions.csv", place / "labels.csv", out=place / "again", **FAST)
    first, second = scores_of(judged), scores_of(again.out)
    for name, values in first["metrics"].items():
        assert second["metrics"][name]["value"] == pytest.approx(values["value"], abs=1e-4)
        assert second["metrics"][name]["low"] == pytest.approx(values["low"], abs=1e-4)


def test_resume_reads_nothing_again_and_refuses_other_labels(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "p")
    place = tmp_path / "p"
    shutil.rmtree(place / "out", ignore_errors=True)
    arguments = (place / "model", place / "labels.csv")
    first = evaluate(*arguments, out=place / "out", **FAST)
    parts = {path: path.stat().st_mtime_ns for path in (place / "out" / "parts").iterdir()}
    (place / "out" / "report.html").unlink()
    victim = next(path for path in parts if path.suffix == ".parquet")
    victim.unlink()
    again = evaluate(*arguments, out=place / "out", resume=True, **FAST)
    assert again.evaluation.scores == first.evaluation.scores
    assert (place / "out" / "report.html").is_file()
    unchanged = [p for p in parts if p.stem != victim.stem]
    assert all(path.stat().st_mtime_ns == parts[path] for path in unchanged)
    text = (place / "labels.csv").read_text()
    (place / "labels.csv").write_text(text.replace("g4,real", "g4,fake"))
    with pytest.raises(InputError, match="labels_sha256"):
        evaluate(*arguments, out=place / "out", resume=True, **FAST)
    with pytest.raises(InputError, match="earlier run"):
        evaluate(*arguments, out=place / "out", **FAST)
    evaluate(*arguments, out=place / "out", overwrite=True, **FAST)


def test_videos_that_fail_count_and_are_listed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video\n" * 40)
    rows = [{"video": str(place / f"v{i}.mp4"), "forged": i % 2} for i in range(4)]
    rows += [{"video": "gone.mp4", "forged": 1}, {"video": "text.mp4", "forged": 0}]
    labels = write_table(tmp_path / "l.csv", rows)
    result = evaluate(place / "model", labels, out=tmp_path / "out", **FAST)
    assert {Path(video).name for video in result.failures} == {"gone.mp4", "text.mp4"}
    assert result.evaluation.counts.unreadable == 2
    assert result.evaluation.counts.labelled == 6
    listed = {
        Path(row["video"]).name: row for row in read_csv(tmp_path / "out" / "predictions.csv")
    }
    assert listed["gone.mp4"]["p_fake"] == "0.3"  # the prior of the model
    assert listed["gone.mp4"]["face_seen"] == "0"
    page = read(tmp_path / "out" / "report.html")
    assert "no such file" in page.text
    assert any("no column split" in note for note in result.evaluation.notes)


def test_a_video_without_a_face_counts_with_the_prior(clips: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", sampling={"rate": 2, "stride": 4}, prior=(0.42,))
    write_video(tmp_path / "plain.mp4", numbered(20, 128, 96))
    rows = [
        {"video": str(clips / "two_people.mp4"), "forged": "fake"},
        {"video": "plain.mp4", "forged": "real"},
    ]
    labels = write_table(tmp_path / "l.csv", rows)
    result = evaluate(model, labels, out=tmp_path / "out", **FAST)
    assert not result.failures
    assert result.evaluation.states == ["seen", "no face"]
    assert result.evaluation.predictions.scores[1, 0] == pytest.approx(0.42)
    windows = result.evaluation.levels[0]
    assert windows.n > 0
    assert math.isnan(windows.scores["auc"].value)  # all that show a face are of one video
    assert "real" in windows.scores["auc"].note


def test_models_against_each_other(place: Path, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", seed=5)
    out = tmp_path / "out"
    result = evaluate(place / "model", place / "labels.csv", out=out, against=other, **FAST)
    content = scores_of(out)["metrics"]["auc"]
    assert content["difference"] == pytest.approx(content["value"] - content["other"])
    assert (out / "against" / "parts").is_dir()
    assert result.evaluation.differences["auc"].low <= result.evaluation.differences["auc"].high
    same = evaluate(
        place / "model",
        place / "labels.csv",
        out=out,
        against=place / "model",
        overwrite=True,
        **FAST,
    )
    assert same.evaluation.differences["auc"].value == 0


@pytest.fixture
def predictions(place: Path, tmp_path: Path) -> Path:
    rows = [{"video": str(place / f"v{i}.mp4"), "p_fake": 0.1 + 0.08 * i} for i in range(10)]
    return write_table(tmp_path / "predictions.csv", rows)


def test_a_table_against_another_of_other_names(
    place: Path, predictions: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text(predictions.read_text().replace("p_fake", "score"))
    result = evaluate(
        predictions, place / "labels.csv", out=tmp_path / "out", against=other, **FAST
    )
    assert result.evaluation.differences["auc"].value == 0
    assert result.evaluation.prior_source == "the training labels"  # those of split train
    assert not read(tmp_path / "out" / "report.html").all("img")


def test_split_and_all(place: Path, predictions: Path, tmp_path: Path) -> None:
    for split, n in (("train", 2), ("all", 10)):
        out = tmp_path / split
        result = evaluate(predictions, place / "labels.csv", out=out, split=split, **FAST)
        assert result.evaluation.counts.labelled == n


def test_rows_without_a_prediction_count(place: Path, predictions: Path, tmp_path: Path) -> None:
    text = predictions.read_text().splitlines()
    predictions.write_text("\n".join(text[:-3]) + "\n")
    result = evaluate(predictions, place / "labels.csv", out=tmp_path / "out", **FAST)
    assert (result.evaluation.counts.labelled, result.evaluation.counts.no_answer) == (8, 3)


def test_a_test_part_of_one_class_says_what_is_not_defined(
    place: Path, predictions: Path, tmp_path: Path
) -> None:
    rows = read_csv(place / "labels.csv")
    for row in rows:
        row["video"] = str(place / row["video"])
        row["split"] = "test" if row["forged"] == "fake" else "train"
    labels = write_table(tmp_path / "l.csv", rows)
    result = evaluate(predictions, labels, out=tmp_path / "out", **FAST)
    auc = result.evaluation.scores["auc"]
    assert math.isnan(auc.value)
    assert "real" in auc.note
    assert "real" in result.evaluation.notes[0]
    assert math.isfinite(result.evaluation.scores["accuracy"].value)


def change(rows: list[dict[str, str]], **columns: Any) -> list[dict[str, Any]]:
    """The rows with these columns, values by the number of a row."""
    return [row | {k: v(i) for k, v in columns.items()} for i, row in enumerate(rows)]


BAD_LABELS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"forged": lambda i: ""}, {}, r"none of the 8 rows has a label in forged"),
    ({"forged": lambda i: "nan"}, {}, r"none of the 8 rows"),
    ({"forged": lambda i: "maybe" if i == 5 else "real"}, {}, r"v5\.mp4.*'maybe'"),
    ({"split": lambda i: "train"}, {}, r"no row has the split 'test'.*train"),
    ({"split": lambda i: "fold1"}, {}, r"v0\.mp4.*'fold1'"),
    ({"video": lambda i: "v0.mp4"}, {}, r"v0\.mp4.*twice.*'real' and 'fake'"),
    ({}, {"subgroups": "age"}, r"'?age'?.*no such column"),
    ({}, {"subgroups": "sx"}, r"no such column.*sex"),
    ({}, {"split": "dev"}, r"split"),
    ({}, {"resamples": 3}, r"resamples.*100"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "settings", "words"), BAD_LABELS)
def test_labels_that_cannot_be_used_are_one_line_before_anything_is_read(
    columns: dict[str, Any], settings: dict[str, Any], words: str, place: Path, tmp_path: Path
) -> None:
    labels = write_table(tmp_path / "l.csv", change(read_csv(place / "labels.csv"), **columns))
    with pytest.raises(InputError, match=words) as error:
        evaluate(place / "model", labels, out=tmp_path / "out", **{**FAST, **settings})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_table_that_lacks_what_the_model_predicts(place: Path, tmp_path: Path) -> None:
    text = (place / "labels.csv").read_text().replace("forged", "forgd")
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=r"'forged', which .*model predicts.*forgd"):
        evaluate(place / "model", tmp_path / "l.csv", out=tmp_path / "out", **FAST)


def test_a_class_that_the_model_does_not_know(place: Path, tmp_path: Path) -> None:
    target = Target("class", ("emotion",), ("happy", "sad"))
    model = save_model(tmp_path / "model", target, prior=(0.5, 0.5))
    rows = [{"video": f"{w}.mp4", "emotion": w} for w in ("happy", "sad", "bored")]
    labels = write_table(tmp_path / "l.csv", rows)
    with pytest.raises(InputError, match=r"bored\.mp4.*'bored'.*happy, sad"):
        evaluate(model, labels, out=tmp_path / "out", **FAST)


def test_a_class_that_the_predictions_do_not_know(tmp_path: Path) -> None:
    rows = [{"video": f"{w}.mp4", "emotion": w} for w in ("happy", "sad", "bored")]
    labels = write_table(tmp_path / "l.csv", rows)
    said = [{"video": "happy.mp4", "p_happy": 0.5, "p_sad": 0.5}]
    path = write_table(tmp_path / "p.csv", said)
    with pytest.raises(InputError, match="p_bored"):
        evaluate(path, labels, label="emotion", out=tmp_path / "out", **FAST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("video,p_fake\nelsewhere.mp4,.5\n", "none of the 8 videos"),
        ("video,p_fake\n{0},1.5\n", "0 to 1"),
        ("video,p_fake\n{0},x\n", "'x'"),
        ("video,verdict\n{0},.5\n", "label.*verdict.*forged, sex"),
        ("path\n", "empty|nothing"),
    ],
)
def test_predictions_that_cannot_be_used(
    text: str, words: str, place: Path, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text.format(place / "v4.mp4"))
    with pytest.raises(InputError, match=words) as error:
        evaluate(path, place / "labels.csv", out=tmp_path / "out", **FAST)
    assert "\n" not in str(error.value)


def test_wrong_models_are_refused(place: Path, predictions: Path, tmp_path: Path) -> None:
    labels, out = place / "labels.csv", tmp_path / "out"
    with pytest.raises(InputError, match="no such file"):
        evaluate(tmp_path / "nothing", labels, out=out, **FAST)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no model of a task"):
        evaluate(tmp_path / "empty", labels, out=out, **FAST)
    with pytest.raises(InputError, match="not a table of predictions"):
        evaluate(place / "v0.mp4", labels, out=out, **FAST)
    emotion = Target("class", ("emotion",), ("happy", "sad"))
    other = save_model(tmp_path / "other", emotion, prior=(0.5, 0.5))
    with pytest.raises(InputError, match=r"emotion.*forged.*compared"):
        evaluate(predictions, labels, out=out, against=other, **FAST)
    assert not out.exists()


def test_labels_that_are_no_table(place: Path, tmp_path: Path) -> None:
    with pytest.raises(OpenMarlinError, match="forged"):
        evaluate(place / "model", place / "v0.mp4", out=tmp_path / "out", **FAST)


def test_command_line(place: Path, predictions: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openmarlin", "evaluate", str(predictions)]
    command += [str(place / "labels.csv"), "--out", str(tmp_path / "out"), "--resamples", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "AUC" in done.stderr
    assert str(tmp_path / "out" / "report.html") in done.stderr


def test_the_python_name() -> None:
    assert openmarlin.evaluate is evaluate
