"""Checkpoints: whole or not at all, and never the last good one lost."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import TOY

from openmarlin.errors import InputError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.io import load, save_folder, weights_sha256
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.task import Monitor, Progress

CONFIG = PRESETS["tiny"].changed(**TOY["shape"])


MONITOR = Monitor("error", "min")


def open_in(run: Path, keep: int = 2) -> Checkpoints:
    return Checkpoints(run, MONITOR, keep)


def save(checkpoints: Checkpoints, step: int, error: float | None = None) -> Checkpoint:
    model = Autoencoder(CONFIG, torch.Generator().manual_seed(step))
    tensors = {"optimizer.a": torch.full((3,), float(step)), "view": torch.arange(6.0)[::2]}
    metrics = {} if error is None else {"error": error, "other": -error}
    return checkpoints.save(partial(save_folder, model), tensors, Progress(step, 9), metrics)


def steps(checkpoints: Checkpoints) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.all()]


def files(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    saved = save(open_in(tmp_path), 7, 0.5)
    newest = open_in(tmp_path).newest()
    assert newest == saved
    assert newest.progress == (7, 9)
    assert newest.metrics == {"error": 0.5, "other": -0.5}
    tensors = newest.tensors()
    torch.testing.assert_close(tensors["optimizer.a"], torch.full((3,), 7.0))
    torch.testing.assert_close(tensors["view"], torch.tensor([0.0, 2.0, 4.0]))
    model = Autoencoder(CONFIG, torch.Generator().manual_seed(7))
    assert weights_sha256(load(newest.model, "full")) == weights_sha256(model)


def test_nothing_there(tmp_path: Path) -> None:
    checkpoints = open_in(tmp_path)
    assert (checkpoints.newest(), checkpoints.best(), checkpoints.all()) == (None, None, [])


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    checkpoints = open_in(tmp_path)
    kept = []
    for step, error in enumerate([0.9, 0.3, 0.6, None, 0.3, 0.2, 0.4, 0.5], start=1):
        save(checkpoints, step, error)
        kept.append(steps(checkpoints))
    # of two as good as each other the older one is the best: nothing has changed since
    expected = [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6], [6, 7], [6, 7, 8]]
    assert kept == expected
    assert checkpoints.best().step == 6
    assert checkpoints.newest().step == 8


def test_the_best_may_be_the_greatest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Monitor("other", "max"), 1)
    for step, error in enumerate([0.9, 0.3, 0.6], start=1):
        save(checkpoints, step, error)
    assert checkpoints.best().step == 2
    assert Checkpoints(tmp_path).best() is None


def test_without_a_validation_none_is_the_best(tmp_path: Path) -> None:
    checkpoints = open_in(tmp_path, 1)
    for step in range(3):
        save(checkpoints, step)
    assert steps(checkpoints) == [2]
    assert checkpoints.best() is None


def test_the_same_step_again_takes_the_others_place(tmp_path: Path) -> None:
    checkpoints = open_in(tmp_path)
    save(checkpoints, 3, 0.5)
    save(checkpoints, 3, 0.4)
    assert [c.metrics["error"] for c in checkpoints.all()] == [0.4]
    assert [p.name for p in checkpoints.path.iterdir()] == ["step-00000003"]


def test_half_written_ones_are_not_seen(tmp_path: Path) -> None:
    checkpoints = open_in(tmp_path)
    save(checkpoints, 3)
    left = checkpoints.path / ".step-00000005.abc.part"
    (left / "model").mkdir(parents=True)
    (left / "state.json").write_text('{"step": 5}')
    assert steps(checkpoints) == [3]


@pytest.mark.parametrize("fault", ["disk", "interrupt"])
def test_a_save_that_fails_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    checkpoints = open_in(tmp_path, 1)
    save(checkpoints, 1)
    before = files(tmp_path)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device") if fault == "disk" else KeyboardInterrupt

    monkeypatch.setattr("openmarlin.training.checkpoint.save_file", fail)
    expected = InputError if fault == "disk" else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save(checkpoints, 2)
    assert files(tmp_path) == before
    if fault == "disk":
        assert "step-00000002: No space left on device" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """Another process may write no file longer than the model: the kernel says no, half-way."""
    save(open_in(tmp_path, 1), 1)
    before = files(tmp_path)
    size = (tmp_path / "checkpoints/step-00000001/model/model.safetensors").stat().st_size
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from test_checkpoint import open_in, save
resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))
from openmarlin.errors import InputError
try:
    save(open_in(Path({str(tmp_path)!r}), 1), 2)
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"cannot write {tmp_path}/checkpoints/step-00000002: ")
    assert "too large" in line
    assert files(tmp_path) == before


@pytest.mark.parametrize("damage", ["cut", "gone", "state"])
def test_a_damaged_one_is_named(tmp_path: Path, damage: str) -> None:
    checkpoints = open_in(tmp_path)
    path = save(checkpoints, 4).path
    file = path / ("state.json" if damage == "state" else "training.safetensors")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(InputError, match="damaged") as caught:
        checkpoints.newest().tensors()
    assert str(path) in str(caught.value)
    assert "the checkpoint before it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_state_is_readable_json(tmp_path: Path) -> None:
    path = save(open_in(tmp_path), 4, 0.25).path
    assert json.loads((path / "state.json").read_text()) == {
        "step": 4,
        "steps": 9,
        "metrics": {"error": 0.25, "other": -0.25},
    }
    assert (path / "state.json").read_text().endswith("}\n")
