"""finetune, end to end: what comes out, the same after kill -9, what is refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import write_video
from safetensors.torch import load_file
from toys import labelled_store, toy_encoder

import openmarlin
from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.jobs.finetune import Finetuned, announce, finetune
from openmarlin.tasks.model import TaskModel
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.log import read_metrics
from openmarlin.video.reader import VideoReader

MEASURED = {"clips_per_s", "data_wait", "memory_gb"}
OPTIONS: dict[str, Any] = {
    "label": ["marked"], "batch": 4, "epochs": 8, "rate": 1, "stride": 4, "base_lr": 0.2,
    "weight_decay": 0.0, "workers": 0, "accelerator": "cpu", "precision": "fp32", "log_every": 1,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums are then taken in the order in which the child takes them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and an encoder."""
    folder = tmp_path_factory.mktemp("finetune")
    labelled_store(folder / "store", n_videos=40)
    toy_encoder(folder / "encoder")
    return folder


def run(place: Path, out: Path, data: str = "store", **options: Any) -> Finetuned:
    model = str(place / "encoder")
    return finetune(place / data, out=out, **{"model": model, **OPTIONS, **options})


@pytest.fixture(scope="module")
def straight(place: Path) -> Finetuned:
    """A run that nothing happened to."""
    return run(place, place / "straight", patience=4)


def rows(out: Path) -> list[dict[str, Any]]:
    metrics = read_metrics(out / "metrics.jsonl")
    return [{key: row[key] for key in row if key not in MEASURED} for row in metrics]


def test_what_comes_out(straight: Finetuned) -> None:
    out = straight.out
    assert straight.evaluation is not None
    assert straight.evaluation.scores["auc"].value == 1
    assert json.loads((out / "metrics.json").read_text())
    with (out / "predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    with (out / "splits.csv").open() as file:
        splits = {row["video"]: row["split"] for row in csv.DictReader(file)}
    assert {row["split"] for row in predictions} == {"val", "test"}
    assert all(splits[row["video"]] == row["split"] for row in predictions)
    assert sorted(set(splits.values())) == ["test", "train", "val"]
    assert "training.html" in (out / "report.html").read_text()
    assert "val_auc" in (out / "training.html").read_text()


def test_the_model_is_the_best_checkpoint_and_answers_as_predicted(
    place: Path, straight: Finetuned
) -> None:
    assert straight.model == straight.out / "model"
    model = TaskModel.load(straight.model)
    best = Checkpoints(straight.out, None).all()[0]
    assert straight.best is not None
    assert straight.best[0] == best.step
    for file in ("model.safetensors", "head.safetensors"):
        mine, theirs = load_file(straight.model / file), load_file(best.model / file)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    config = model.config
    assert config.over_time == "answers"
    assert config.temperature != 1
    assert len(config.thresholds) == 1
    assert config.trained_on["step"] == best.step
    store = Store(place / "store")
    with (straight.out / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            name = Path(row["video"]).name
            (number,) = (i for i, track in enumerate(store.tracks) if track.video == name)
            starts = (0, 4, 8)
            clips = np.stack([store.read(number, range(start, start + 4))[0] for start in starts])
            score = model.answer(model.encoder.encode(clips)).mean()
            assert float(row["p_1"]) == pytest.approx(score, abs=1e-4)


def test_it_ends_early_when_validation_gets_no_better(straight: Finetuned) -> None:
    assert straight.best is not None
    assert straight.step == straight.steps < 8 * 7
    validated = [row["step"] for row in rows(straight.out) if "val_auc" in row]
    assert validated.index(straight.best[0]) + 4 == len(validated) - 1
    assert not straight.stopped


@pytest.mark.parametrize(
    "options",
    [
        {"train": "lora", "schedule": "plateau", "drop_path": 0.3},
        {"train": "layernorm", "w_uniformity": 0.5, "w_alignment": 0.1, "balance": "loss"},
        {"train": "head", "balance": "sampling"},
    ],
    ids=lambda options: options["train"],
)
def test_ways_of_training(place: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    result = run(place, tmp_path / "run", epochs=2, **options)
    model = TaskModel.load(tmp_path / "run" / "model")
    before = load_file(place / "encoder" / "model.safetensors")
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    kind = options["train"]
    assert bool(changed) == (kind != "head")
    assert all("norm" in name for name in changed) or kind == "lora"
    assert model.config.head["normalisation"] == ("l2" if kind == "layernorm" else "none")
    assert result.evaluation is not None


def test_killed_it_goes_on_bit_for_bit(place: Path, tmp_path: Path) -> None:
    options = {
        **OPTIONS, "model": str(place / "encoder"), "epochs": 4, "save_every": 5, "mixup": 0.8,
        "cutmix": 1.0, "drop_path": 0.3, "schedule": "plateau", "balance": "sampling", "ema": 0.5,
    }  # fmt: skip
    one, other = tmp_path / "one", tmp_path / "other"
    whole = finetune(place / "store", out=one, **options)
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from openmarlin.jobs.finetune import finetune\n"
        f"finetune({str(place / 'store')!r}, out={str(other)!r}, **{options!r})"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not any(row["step"] >= 12 for row in rows(other)):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < Checkpoints(other).all()[-1].step < whole.step
    result = finetune(out=other, resume=True)
    assert result.step == result.steps == whole.step
    assert rows(one) == rows(other)
    for file in ("model.safetensors", "head.safetensors"):
        mine, theirs = load_file(one / "model" / file), load_file(other / "model" / file)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
    again = finetune(out=other, resume=True)  # a run that has ended is only judged again
    assert again.step == whole.step
    assert rows(one) == rows(other)


def test_several_windows_and_kinds_of_label(tmp_path: Path) -> None:
    n = 24
    moods = [("sad", "glad", "angry")[i // 2 % 3] for i in range(n)]
    columns = {
        "mood": moods,
        "age": [20.0 + i for i in range(n)],
        "a": ["1" if i % 3 else "" for i in range(n)],
        "b": [str(i // 2 % 2) for i in range(n)],
    }
    labelled_store(tmp_path / "store", columns, tracks=2)
    toy_encoder(tmp_path / "encoder")
    a = {"label": ["mood"], "smoothing": 0.1}, ("uar", "val_uar")
    b = {"label": ["age:regression"]}, ("ccc", "val_ccc")
    c = {"label": ["b", "a"], "balance": "loss"}, ("auc_macro", "val_auc_macro")
    for number, (options, (main, monitor)) in enumerate((a, b, c)):
        result = run(tmp_path, tmp_path / f"run-{number}", epochs=1, **options)
        assert result.evaluation is not None
        assert (result.evaluation.main, result.monitor) == (main, monitor)


def test_a_table_of_labels_for_a_store(place: Path, tmp_path: Path) -> None:
    store = Store(place / "store")
    table = tmp_path / "labels.csv"
    parts = ["train"] * 24 + ["val"] * 8 + ["test"] * 7
    lines = [
        f"{t.video},{i // 2 % 2},{s}"
        for i, (t, s) in enumerate(zip(store.tracks, parts, strict=False))
    ]
    lines.append("gone.mp4,1,test")
    table.write_text("video,forged,split\n" + "\n".join(lines) + "\n")
    options = {"label": ["forged"], "labels": table, "epochs": 1}
    result = run(place, tmp_path / "run", **options)
    assert result.evaluation is not None
    counts = result.evaluation.counts
    assert (counts["rows"], counts["without_face"]) == (8, 1)  # counted, with the prior
    table.write_text(table.read_text().replace("gone.mp4,1", "gone.mp4,0"))
    with pytest.raises(InputError, match="labels_sha256"):
        run(place, tmp_path / "run", resume=True, **options)


def test_groups_on_both_sides_are_refused(place: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    tracks = Store(place / "store").tracks
    parts = [("train", "val", "test")[i % 3] for i in range(len(tracks))]
    lines = [
        f"{t.video},{i // 2 % 2},{s},{t.group}"
        for i, (t, s) in enumerate(zip(tracks, parts, strict=False))
    ]
    table.write_text("video,forged,split,group\n" + "\n".join(lines) + "\n")
    with pytest.raises(InputError, match="more than one part"):
        run(place, tmp_path / "run", label=["forged"], labels=table)
    assert not (tmp_path / "run").exists()
    result = run(place, tmp_path / "run", label=["forged"], labels=table, leaks="allow", steps=1,
                 epochs=None)  # fmt: skip
    assert result.step == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": []}, "label"),
        ({"label": ["smil"]}, "smil"),
        ({"model": "no_such_model"}, "no_such_model"),
        ({"image_size": 36}, "multiple"),
        ({"exclude": "marked=9"}, "exclude"),
    ],
)
def test_requests_that_cannot_be_carried_out(
    place: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(openmarlin.errors.OpenMarlinError, match=words) as error:
        run(place, tmp_path / "run", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_videos_become_a_store_first(clips: Path, place: Path, tmp_path: Path) -> None:
    lines = [f"{tmp_path / 'broken.mp4'},1,test"]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with VideoReader(clips / "signer_yes.mkv") as reader:
        frames = [frame.image for frame in islice(reader, 30)]
    for i, part in enumerate(("train", "train", "val", "test")):
        video = write_video(tmp_path / f"{i}.mp4", frames)
        lines.append(f"{video},{i % 2},{part}")
    table = tmp_path / "labels.csv"
    table.write_text("video,signs,split\n" + "\n".join(lines) + "\n")
    model = str(place / "encoder")
    options = {
        **OPTIONS, "label": ["signs"], "model": model, "epochs": 1, "image_size": 32,
        "leaks": "allow",
    }  # fmt: skip
    result = finetune(table, out=tmp_path / "run", **options)
    assert result.evaluation is not None
    assert list(result.failures) == [str(tmp_path / "broken.mp4")]
    counts = result.evaluation.counts
    assert (counts["rows"], counts["unreadable"]) == (2, 1)
    assert Store(tmp_path / "run" / "store").size == 64
    assert (tmp_path / "run" / "failures.csv").is_file()


def test_it_says_what_came_of_it(straight: Finetuned, capsys: pytest.CaptureFixture[str]) -> None:
    announce(straight)
    text = capsys.readouterr().err
    assert "auc 1.0000" in text
    assert str(straight.out / "report.html") in text
