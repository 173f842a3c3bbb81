"""Losses: nothing for predictions that are the targets, and each kind compared with itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openmarlin.distillation.measuring import BLENDSHAPES, MESH, POSE, Measurements
from openmarlin.distillation.network import Predictions
from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.targets import make_targets
from openmarlin.distillation.task import SPREAD, Distillation
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder

SHAPE = ModelConfig(image_size=32, frames=16, patch=16, width=32, depth=1, heads=2)


@pytest.fixture
def task(tmp_path: Path) -> Distillation:
    rng = np.random.default_rng(0)
    values = {
        MESH: rng.normal(size=(40, 478, 2)) * 20 + 100,
        BLENDSHAPES: rng.random((40, 52)),
        POSE: rng.normal(size=(40, 3)) * 0.2,
        "mobileface": rng.normal(size=(40, 10)),
    }
    floats = {name: value.astype(np.float32) for name, value in values.items()}
    measured = Measurements(floats, np.array([0, 20, 40]))
    targets = make_targets(measured, np.array([0, 1]), np.array([0, 1]))
    settings = DistilSettings(data=tmp_path, out=tmp_path / "run", steps=1)
    return Distillation(Encoder(SHAPE), targets, settings)


def batch_of(task: Distillation) -> tuple[dict[str, torch.Tensor], Predictions]:
    """Made-up targets, and the predictions that are right."""
    generator = torch.Generator().manual_seed(0)
    n_all = task.kinds[SPREAD].stop
    clips = torch.randn(2, n_all, generator=generator)
    frames = torch.randn(2, 8, task.n_frame, generator=generator)
    pictures = torch.randn(2, 3, task.n_frame, generator=generator)
    flat = pictures.flatten(0, 1)
    batch = {
        "clip_target": clips,
        "step_target": frames[..., task.in_time],
        "picture_target": pictures,
    }
    right = Predictions(clips, frames[..., task.in_time], flat, flat[:, task.in_time])
    return batch, right


def losses(task: Distillation, batch: dict[str, torch.Tensor], found: Predictions) -> torch.Tensor:
    return task.losses("student", batch, found, torch.Generator())["loss"]


def test_right_predictions_cost_nothing(task: Distillation) -> None:
    batch, right = batch_of(task)
    assert all(value == 0 for value in task.losses("student", batch, right, None).values())  # type: ignore[arg-type]
    assert set(task.step_kinds) == {MESH, BLENDSHAPES, POSE}


@pytest.mark.parametrize("field", Predictions._fields)
def test_every_prediction_counts(task: Distillation, field: str) -> None:
    batch, right = batch_of(task)
    wrong = right._replace(**{field: getattr(right, field) + 1})
    assert losses(task, batch, wrong) > 0


def test_what_was_not_measured_costs_nothing(task: Distillation) -> None:
    batch, right = batch_of(task)
    for target in batch.values():
        target[0] = torch.nan
    known = Predictions(*(torch.nan_to_num(each) for each in right))
    assert losses(task, batch, known) == 0


def test_a_clip_counts_as_much_as_four_pictures(task: Distillation) -> None:
    """Where all predictions of clips, or of pictures, are off by the same."""
    batch, right = batch_of(task)
    clips = right._replace(clips=right.clips + 1, steps=right.steps + 1)
    pictures = right._replace(pictures=right.pictures + 1, picture_steps=right.picture_steps + 1)
    ratio = losses(task, batch, clips) / losses(task, batch, pictures)
    assert float(ratio) == pytest.approx(2 * 4 / 6)  # 2 clips, 6 pictures
