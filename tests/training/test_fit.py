"""The loop with other tasks than pre-training: killed and resumed, the same bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from linear_task import Classifier, Judged, make_settings, toy_data, train
from safetensors.torch import load_file
from toys import toy_store

from openmarlin.errors import TrainingError
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine
from openmarlin.training.fit import Fitted
from openmarlin.training.log import read_metrics
from openmarlin.training.optim import Schedule
from openmarlin.training.trainer import Trainer

MEASURED = {"clips_per_s", "data_wait", "memory_gb"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums are then taken in the order in which the child takes them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_store(tmp_path_factory.mktemp("fit") / "store").path


@pytest.fixture(scope="module")
def straight(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    out = tmp_path_factory.mktemp("straight") / "run"
    train(make_settings(store, out))
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    metrics = read_metrics(out / "metrics.jsonl")
    return [{key: row[key] for key in row if key not in MEASURED} for row in metrics]


def same_end(out: Path, other: Path) -> None:
    assert rows(out) == rows(other)
    mine, theirs = (load_file(run / "model" / "head.safetensors") for run in (out, other))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_classifier_learns_whose_face_it_is(straight: Path) -> None:
    curve = rows(straight)
    losses = [row["loss"] for row in curve if "loss" in row]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    accuracies = {row["step"]: row["accuracy"] for row in curve if "accuracy" in row}
    assert accuracies[120] > accuracies[7]
    checkpoints = Checkpoints(straight, Classifier.monitor, 2)
    kept = [checkpoint.step for checkpoint in checkpoints.all()]
    assert kept[-2:] == [119, 120]
    best = checkpoints.best()
    assert best is not None
    assert best.metrics["accuracy"] == max(c.metrics["accuracy"] for c in checkpoints.all())


def test_killed_it_goes_on_bit_for_bit(store: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = Path(__file__).with_name("linear_task.py")
    process = subprocess.Popen(
        [sys.executable, script, store, out], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while not any(row["step"] >= 20 for row in rows(out)):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    newest = Checkpoints(out).newest()
    assert newest is not None
    assert newest.step < 120
    result = train(make_settings(store, out, resume=True))
    assert result.progress == (120, 120)
    same_end(out, straight)


@pytest.mark.parametrize("replicated", [False, True])
def test_two_players_go_on_bit_for_bit(store: Path, tmp_path: Path, replicated: bool) -> None:
    def run(out: Path, **values: Any) -> Fitted:
        settings = make_settings(store, out, **{"steps": 12, "accumulate": 2, **values})
        return train(settings, Judged(settings, replicated=replicated))

    run(tmp_path / "one")
    assert {"loss", "judge"} <= set(rows(tmp_path / "one")[0])
    out = tmp_path / "other"
    run(out)
    for later in (out / "checkpoints" / "step-00000012", out / "model"):
        for file in sorted(later.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        later.rmdir()
    assert Checkpoints(out).newest().step == 7
    run(out, resume=True)
    same_end(out, tmp_path / "one")


def test_a_judge_learns_first_and_more_often(store: Path, tmp_path: Path) -> None:
    settings = make_settings(store, tmp_path / "run", ema=None)
    task = Judged(settings, replicated=True)
    with Engine.of(settings) as engine:
        trainer = Trainer(engine, task, settings, Schedule(10, 0, 0.1, 0.1))
        clips = toy_data(settings).train
        batch = next(engine.load(clips, [[(0, i) for i in range(6)]], 0))
        trainer.step(0, [batch])
        steps = {
            name: {int(state["step"]) for state in player.optimizer.state_dict()["state"].values()}
            for name, player in task.players.items()
        }
    assert steps == {"judge": {2}, "classifier": {1}}


def test_a_loss_that_is_not_finite_ends_the_run(store: Path, tmp_path: Path) -> None:
    settings = make_settings(store, tmp_path / "run")
    task = Classifier(settings)
    with torch.no_grad():
        task.model.module.bias[0] = float("inf")
    with pytest.raises(TrainingError, match=r"nonfinite\.json"):
        train(settings, task)
    assert not (settings.out / "model").exists()


class Chosen(Classifier):
    """Its validations come from a list; the best checkpoint is the model."""

    publish = "best"

    def __init__(self, settings: Any, values: list[float]) -> None:
        super().__init__(settings)
        self.values = values

    def validate(self, batches: Any) -> dict[str, float]:
        list(batches)
        return {"accuracy": self.values.pop(0)}


def test_full_memory_is_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator refuses what no machine has, in a step."""

    def step(*_: Any) -> dict[str, float]:
        return {"loss": float(torch.empty(2**56).sum())}

    monkeypatch.setattr(Trainer, "step", step)
    settings = make_settings(store, tmp_path / "run")
    with pytest.raises(TrainingError, match="out of memory in step 0; give a smaller") as caught:
        train(settings, Classifier(settings))
    assert "\n" not in str(caught.value)


def test_the_best_is_published_and_patience_ends_the_run(store: Path, tmp_path: Path) -> None:
    values = [0.1, 0.5, 0.3, 0.5, 0.2, 0.9, 0.9]
    settings = make_settings(
        store, tmp_path / "run", val_every=2, save_every=100, patience=3, keep=1
    )
    result = train(settings, Chosen(settings, values))
    assert result.best == (4, 0.5)
    assert result.progress == (10, 10)  # 6, 8 and 10 were no better
    folder = Checkpoints(settings.out, Classifier.monitor)
    assert [c.step for c in folder.all()] == [4, 10]
    mine = load_file(settings.out / "model" / "head.safetensors")
    best = load_file(folder.all()[0].model / "head.safetensors")
    torch.testing.assert_close(mine, best, rtol=0, atol=0)
    again = make_settings(
        store, tmp_path / "run", val_every=2, save_every=100, patience=3, keep=1, resume=True
    )
    assert train(again, Chosen(again, [])).progress == (10, 10)


def test_patience_counts_validations_of_earlier_sittings(store: Path, tmp_path: Path) -> None:
    values = {"val_every": 2, "save_every": 6, "patience": 3, "keep": 9}
    settings = make_settings(store, tmp_path / "run", **values)
    train(settings, Chosen(settings, [0.5, 0.4, 0.3, 0.2]))
    later = tmp_path / "run" / "checkpoints" / "step-00000008"
    for file in sorted(later.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    later.rmdir()
    again = make_settings(store, tmp_path / "run", **values, resume=True)
    assert train(again, Chosen(again, [0.2])).progress == (8, 8)


def test_cadence_by_epochs(store: Path, tmp_path: Path) -> None:
    """Six tracks by four a step: epochs end with, or within, steps 2, 3, 5, 6, 8 and 9."""
    settings = make_settings(store, tmp_path / "run", steps=9, val_every="epoch", save_every=100)
    train(settings)
    assert [row["step"] for row in rows(settings.out) if "accuracy" in row] == [2, 3, 5, 6, 8, 9]


def test_a_plateau_ends_the_run_and_goes_on_bit_for_bit(store: Path, tmp_path: Path) -> None:
    values = {"schedule": "plateau", "min_lr": 0.4, "warmup": 0, "ema": None, "save_every": 20}
    one, other = tmp_path / "one", tmp_path / "other"
    result = train(make_settings(store, one, **values))
    assert result.progress.step == result.progress.steps < 120
    train(make_settings(store, other, **values))
    newest = Checkpoints(other).newest()
    assert newest is not None
    for later in (newest.path, other / "model"):
        for file in sorted(later.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        later.rmdir()
    train(make_settings(store, other, **values, resume=True))
    same_end(other, one)
