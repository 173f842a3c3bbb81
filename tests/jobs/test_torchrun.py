"""Two machines under torchrun, played by two of its agents on loopback: a process is killed, the
others are told, all start again and the curve is the one of an undisturbed run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from toys import TOY, labelled_store, toy_encoder, toy_store

from openmarlin.training.log import read_metrics

CURVE = ("step", "loss", "rec", "adv", "critic", "lr", "epoch", "val_rec", "val_auc")
PRETRAIN = {**TOY, "batch": 2, "steps": 24, "save_every": 5, "val_every": 8, "base_lr": 0.1}
FINETUNE = {
    "label": ["marked"], "batch": 4, "epochs": 8, "rate": 1, "stride": 4, "base_lr": 0.2,
    "workers": 0, "accelerator": "cpu", "precision": "fp32", "log_every": 1, "save_every": 5,
}  # fmt: skip

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def agents(verb: str, data: Path, out: Path, recipe: dict[str, Any]) -> Iterator[list[Any]]:
    """Two agents of torchrun with one process each, as on two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(recipe))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
        *("--max-restarts=3", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"),
        *("-m", "openmarlin", verb, str(data), "--out", str(out), "--config", str(config)),
    ]
    logs = [out.with_suffix(f".{i}.log") for i in (0, 1)]
    started = [
        subprocess.Popen(
            command,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            env=ENV,
        )
        for log in logs
    ]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()  # takes its worker with it
            process.wait()


def run(
    verb: str, data: Path, out: Path, recipe: dict[str, Any], kill: dict[int, int] | None = None
) -> str:
    """To the end; `kill` says after which step the process of which rank is killed.

    Returns:
        What all processes said.
    """
    with agents(verb, data, out, recipe) as started:
        for step, rank in (kill or {}).items():
            while not any(row["step"] >= step for row in read_metrics(out / "metrics.jsonl")):
                assert all(agent.poll() is None for agent in started), said(out)
                time.sleep(0.01)
            worker(started, rank).kill()
        assert [agent.wait() for agent in started] == [0, 0], said(out)
    return said(out)


def said(out: Path) -> str:
    return "\n".join(out.with_suffix(f".{i}.log").read_text() for i in (0, 1))


def worker(started: list[subprocess.Popen[bytes]], rank: int) -> psutil.Process:
    for agent in started:
        for child in psutil.Process(agent.pid).children():
            if child.environ().get("RANK") == str(rank):
                return child
    raise AssertionError(f"no process of rank {rank}")


def curve(out: Path) -> list[dict[str, Any]]:
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: row[key] for key in CURVE if key in row} for row in rows]


def sittings(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "environment.json").read_text())["sittings"]


def test_pretraining_goes_on_after_a_killed_process(tmp_path: Path) -> None:
    """As two processes of one machine learn that nothing happens to."""
    store = toy_store(tmp_path / "store").path
    command = ["pretrain", store, "--out", tmp_path / "straight", "--devices", "2"]
    pairs = {**PRETRAIN, "shape": None, **{f"shape.{k}": v for k, v in PRETRAIN["shape"].items()}}
    words = [f"{key}={value}" for key, value in pairs.items() if value is not None]
    subprocess.run([sys.executable, "-m", "openmarlin", *command, *words], env=ENV, check=True)
    told = run("pretrain", store, tmp_path / "killed", PRETRAIN, kill={12: 1})
    assert "goes on after step 10" in told
    assert "another process of this run is gone" in told
    assert "Traceback" not in told
    assert curve(tmp_path / "killed") == curve(tmp_path / "straight")
    assert curve(tmp_path / "killed")[-1]["step"] == 24
    first, second = sittings(tmp_path / "killed")
    assert first["torchrun"] == second["torchrun"] is not None
    assert sittings(tmp_path / "straight")[0]["torchrun"] is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pretraining_goes_on_whoever_is_killed_and_however_often(tmp_path: Path) -> None:
    """With loaders, which outlive a killed process for some seconds and hold its lock."""
    store = toy_store(tmp_path / "store").path
    recipe = {**PRETRAIN, "steps": 60, "workers": 1}
    run("pretrain", store, tmp_path / "straight", recipe)
    told = run("pretrain", store, tmp_path / "killed", recipe, kill={3: 0, 23: 1, 44: 0})
    for step in (20, 40):
        assert f"goes on after step {step}" in told
    assert curve(tmp_path / "killed") == curve(tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fine_tuning_goes_on_after_a_killed_process(tmp_path: Path) -> None:
    labelled_store(tmp_path / "store", n_videos=40)
    recipe = {**FINETUNE, "model": str(toy_encoder(tmp_path / "encoder"))}
    run("finetune", tmp_path / "store", tmp_path / "straight", recipe)
    told = run("finetune", tmp_path / "store", tmp_path / "killed", recipe, kill={12: 0})
    assert "goes on after step" in told
    assert curve(tmp_path / "killed") == curve(tmp_path / "straight")
    files = [tmp_path / name / "predictions.csv" for name in ("straight", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_job_does_not_go_on_unasked(tmp_path: Path) -> None:
    """Only what the job itself began: a second start of the command is refused as always."""
    store = toy_store(tmp_path / "store").path
    recipe = {**PRETRAIN, "steps": 4}
    run("pretrain", store, tmp_path / "run", recipe)
    before = (tmp_path / "run" / "environment.json").read_bytes()
    with agents("pretrain", store, tmp_path / "run", recipe) as started:
        assert all(agent.wait() for agent in started)
    assert "an earlier run is there" in said(tmp_path / "run")
    assert (tmp_path / "run" / "environment.json").read_bytes() == before
