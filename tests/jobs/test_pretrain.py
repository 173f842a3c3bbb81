"""pretrain in real processes: however it is cut up or cut off, the same curve, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import TOY, toy_store

from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.jobs.pretrain import Pretrained, pretrain
from openmarlin.model.io import load, weights_sha256
from openmarlin.pretraining.task import MONITOR
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.log import read_metrics

CHILD = """
import json, sys
import torch
from openmarlin.errors import OpenMarlinError
from openmarlin.jobs.pretrain import pretrain
torch.set_num_threads(1)
try:
    print("done", pretrain(**json.loads(sys.argv[1])).step)
except OpenMarlinError as error:
    sys.exit(f"error: {error}")
"""
LONG = {**TOY, "steps": 48, "save_every": 7, "val_every": 10, "base_lr": 0.1, "ema": 0.9}
CURVE = ("step", "loss", "rec", "adv", "critic", "lr", "epoch", "val_rec")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums are then taken in the order in which the children take them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return toy_store(tmp_path_factory.mktemp("pretrain") / "store")


@pytest.fixture(scope="module")
def straight(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """A run that nothing happened to."""
    return pretrain(data=store.path, out=tmp_path_factory.mktemp("straight") / "run", **LONG)


def child(script: Path | None = None, **settings: Any) -> subprocess.Popen[str]:
    """A process of its own that pre-trains, the leader of its process group."""
    what = [str(script)] if script else ["-c", CHILD]
    return subprocess.Popen(
        [sys.executable, *what, json.dumps(settings, default=str)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def ends(stdout: str) -> list[str]:
    """What `CHILD` said at its end; gloo of some versions of torch speaks, too."""
    return [line for line in stdout.splitlines() if line.startswith("done")]


def curve(out: Path) -> list[dict[str, Any]]:
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: row[key] for key in CURVE if key in row} for row in rows]


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    while not any(row["step"] >= step for row in read_metrics(out / "metrics.jsonl")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def same_end(out: Path, straight: Pretrained) -> None:
    assert curve(out) == curve(straight.out)
    one, other = load(out / "model", "full"), load(straight.out / "model", "full")
    assert weights_sha256(one) == weights_sha256(other)


def test_killed_at_any_step_the_curve_goes_on_bit_for_bit(
    store: Store, straight: Pretrained, tmp_path: Path
) -> None:
    out, step = tmp_path / "run", random.randrange(3, 30)
    process = child(data=store.path, out=out, **LONG)
    wait_for_step(out, step, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    newest = Checkpoints(out).newest()
    before = len(curve(out))
    assert (newest.step if newest else 0) < 48, f"killed too late (at {step})"
    result = pretrain(out=out, resume=True)
    assert (result.step, result.stopped) == (48, False)
    assert len(curve(out)) > before
    same_end(out, straight)


def test_a_signal_saves_and_ends_and_the_run_goes_on(
    store: Store, straight: Pretrained, tmp_path: Path
) -> None:
    """Sent to all processes of the run, loaders too, as a scheduler does."""
    out = tmp_path / "run"
    process = child(data=store.path, out=out, **{**LONG, "workers": 1})
    wait_for_step(out, 4, process)
    os.killpg(process.pid, signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    stopped_at = int(stdout.split()[-1])
    assert 4 <= stopped_at < 48
    newest = Checkpoints(out).newest()
    assert newest.step == stopped_at
    assert "stopped by a signal" in (out / "log.txt").read_text()
    assert not (out / "model").exists()
    assert pretrain(out=str(out), resume=True, workers=0).step == 48
    same_end(out, straight)


@pytest.fixture(scope="module")
def alone(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """One process, all clips of a step in one batch."""
    return pretrain(
        data=store.path, out=tmp_path_factory.mktemp("alone") / "run", **{**TOY, "base_lr": 0.1}
    )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does_with_the_doubled_batch(
    store: Store, alone: Pretrained, tmp_path: Path, strategy: str
) -> None:
    script = tmp_path / "train.py"  # Fabric starts the second process with the first one's command
    script.write_text(CHILD)
    half = {**TOY, "base_lr": 0.1, "batch": 2, "devices": 2, "strategy": strategy}
    process = child(script, data=store.path, out=tmp_path / "run", **half)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert ends(stdout) == ["done 6"] * 2
    one, two = curve(alone.out), curve(tmp_path / "run")
    assert [sorted(row) for row in two] == [sorted(row) for row in one]
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=2e-4, abs=2e-6)
    record = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert record["identity"]["processes"] == 2
    runs = (alone.out, tmp_path / "run")
    theirs, ours = (load(run / "model", "full").state_dict() for run in runs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-2, atol=1e-4, msg=name)
    with pytest.raises(InputError) as caught:
        pretrain(out=tmp_path / "run", resume=True, devices=1)
    assert "processes was 2, is 1" in str(caught.value)


def test_two_processes_with_muon_learn_what_one_does(store: Store, tmp_path: Path) -> None:
    """Its iterations in bfloat16 make more of rounding than AdamW does."""
    settings = {**TOY, "base_lr": 0.1, "muon_lr": 0.02}
    one = pretrain(data=store.path, out=tmp_path / "one", **settings)
    script = tmp_path / "train.py"
    script.write_text(CHILD)
    half = {**settings, "batch": 2, "devices": 2}
    process = child(script, data=store.path, out=tmp_path / "two", **half)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert ends(stdout) == ["done 6"] * 2
    recs = (
        [row["rec"] for row in curve(run) if "rec" in row] for run in (one.out, tmp_path / "two")
    )
    theirs, ours = recs
    assert ours == pytest.approx(theirs, rel=1e-2)


def test_every_checkpoint_is_a_model(straight: Pretrained) -> None:
    checkpoints = Checkpoints(straight.out, MONITOR).all()
    assert [c.step for c in checkpoints[-2:]] == [42, 48]
    for folder in [*(c.model for c in checkpoints), straight.out / "model"]:
        encoder, full = load(folder), load(folder, "full")
        assert encoder.config.trained
        assert encoder.config.image_size == 32
        features = encoder.features(torch.zeros(2, 3, 4, 32, 32))
        assert features.shape == (2, 64)
        assert full.config.decoder_width == 32
    assert "step 48 of 48" in full.config.source


def test_what_is_in_the_run_folder(straight: Pretrained) -> None:
    rows = curve(straight.out)
    assert [row["step"] for row in rows if "rec" in row] == list(range(1, 49))
    validated = {row["step"]: row["val_rec"] for row in rows if "val_rec" in row}
    assert sorted(validated) == sorted({*range(7, 49, 7), *range(10, 49, 10), 48})
    assert straight.val_rec == validated[48]
    assert validated[48] < 0.8 * validated[7]
    best = Checkpoints(straight.out, MONITOR).best()
    saved = {step: validated[step] for step in (*range(7, 49, 7), 48)}
    assert best.metrics["val_rec"] == min(saved.values())
    pictures = sorted(file.name for file in (straight.out / "pictures" / "clip-0").iterdir())
    steps = [f"step-{step:08d}.jpg" for step in sorted(validated)]
    assert pictures == ["1-original.jpg", "2-seen-by-the-model.jpg", *steps]
    for name in ("config.yaml", "environment.json", "log.txt", "tensorboard"):
        assert (straight.out / name).exists()


def test_a_finished_run_is_finished(straight: Pretrained) -> None:
    before = curve(straight.out)
    again = pretrain(out=straight.out, resume=True)
    assert (again.step, again.stopped, again.val_rec) == (48, False, straight.val_rec)
    assert curve(straight.out) == before
