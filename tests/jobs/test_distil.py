"""distil: a few steps on real faces, cut up or not the same, and models that can be used."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from teaching import face_store, write_teacher

from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.jobs.distil import distil
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.training.log import read_metrics
from openmarlin.training.result import TrainingResult

SHORT: dict[str, Any] = {
    "batch": 2,
    "pictures": 2,
    "steps": 6,
    "val_every": 3,
    "save_every": 2,
    "log_every": 1,
    "val_clips": 2,
    "val_share": 0.3,
    "base_lr": 0.1,
    "muon_lr": 0.02,
    "ema": 0.9,
    "precision": "fp32",
    "workers": 0,
}
KINDS = {"mesh", "blendshapes", "pose", "mobileface", "spread"}


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store, a teacher, and a small model to start from."""
    folder = tmp_path_factory.mktemp("distil")
    face_store(clips, folder / "store")
    (folder / "teachers").mkdir()
    write_teacher(folder / "teachers", "mobileface", 112, 24)
    return folder


def run(folder: Path, out: str, **changes: Any) -> TrainingResult:
    request = {**SHORT, "teachers": folder / "teachers", "init": "tiny", **changes}
    return distil(folder / "store", out=folder / out, **request)


@pytest.fixture(scope="module")
def straight(folder: Path) -> TrainingResult:
    return run(folder, "straight")


def test_a_run_leaves_curves_a_report_and_an_encoder(
    folder: Path, straight: TrainingResult
) -> None:
    assert not straight.stopped
    rows = read_metrics(folder / "straight" / "metrics.jsonl")
    assert {*KINDS, "loss"} <= rows[0].keys()
    assert {f"val_{kind}" for kind in KINDS} | {"val_r2"} <= rows[-1].keys()
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 6
    assert all(map(math.isfinite, losses))
    assert straight.model == folder / "straight" / "model"
    encoder = load(straight.model)
    assert isinstance(encoder, Encoder)
    assert encoder.config.trained
    start = load("tiny")
    assert not torch.equal(encoder.blocks[0].attn.qkv.weight, start.blocks[0].attn.qkv.weight)
    report = (folder / "straight" / "report.html").read_text()
    assert "nobody trained on" in report


def test_one_that_is_cut_up_comes_to_the_same(folder: Path, straight: TrainingResult) -> None:
    whole = list(read_metrics(folder / "straight" / "metrics.jsonl"))
    # As if it had been killed after the fourth step.
    shutil.copytree(folder / "straight", folder / "parts")
    shutil.rmtree(folder / "parts" / "checkpoints" / "step-00000006")
    result = distil(out=folder / "parts", resume=True)
    assert result.step == 6
    rows = read_metrics(folder / "parts" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in whole]
    for row, other in zip(rows, whole, strict=True):
        for name in {*KINDS, "loss", "val_r2"} & other.keys():
            assert row[name] == pytest.approx(other[name], rel=1e-5), name


def test_requests_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"poze.*no such targets: did you mean 'pose'"):
        run(folder, "wrong", weights={"poze": 2.0})
    assert run(folder, "alone", teachers=None, weights={"dlib": 2.0}, steps=1).step == 1
    with pytest.raises(InputError, match="no teacher there"):
        run(folder, "nobody", teachers=tmp_path)
    with pytest.raises(OpenMarlinError, match="there is no model"):
        run(folder, "nothing", init=str(tmp_path / "missing"))
