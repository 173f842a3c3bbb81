"""The task models inside the package: by name, on the default encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openmarlin.errors import ModelError
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.tensor_files import CONFIG
from openmarlin.model.zoo import DEFAULT_ENCODER, DEFAULT_TASK, SHIPPED_TASKS, WEIGHTS, find_model
from openmarlin.tasks.model import HEAD, TaskModel
from openmarlin.tasks.settings import ReadSettings
from openmarlin.tasks.sources import open_source


@pytest.mark.parametrize("name", SHIPPED_TASKS)
def test_they_stand_on_the_encoder_that_their_head_has_learnt_on(name: str) -> None:
    model = TaskModel.load(name)
    sha256 = weights_sha256(load(DEFAULT_ENCODER))
    assert weights_sha256(model.encoder) == sha256
    assert model.config.trained_on["encoder"]["sha256"] == sha256
    assert "non-commercial" in model.encoder.config.licence


@pytest.mark.parametrize("name", SHIPPED_TASKS)
def test_they_are_a_head_with_a_card(name: str) -> None:
    assert (WEIGHTS / name / "README.md").is_file()
    assert (WEIGHTS / name / HEAD).stat().st_size < 100e3
    assert json.loads((WEIGHTS / name / CONFIG).read_text())["encoder"] == DEFAULT_ENCODER
    assert not (WEIGHTS / name / "model.safetensors").exists()


def test_expression_is_one_of_seven_and_actions_are_five() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 192)).astype(np.float32)
    expression, actions = (TaskModel.load(name) for name in SHIPPED_TASKS)
    assert expression.target.kind == "class"
    assert expression.target.outputs[:2] == ("neutral", "happy")
    np.testing.assert_allclose(expression.answer(vectors).sum(axis=1), 1)
    assert actions.target.outputs == ("smile", "mouth_open", "blink", "brow_raise", "head_turn")
    assert len(actions.config.thresholds) == actions.answer(vectors).shape[1] == 5


def test_a_name_is_a_name_and_all_else_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_TASK).mkdir()  # such as the results of an earlier `predict`
    assert find_model(DEFAULT_TASK) == WEIGHTS / DEFAULT_TASK
    assert find_model(f"./{DEFAULT_TASK}").resolve() == tmp_path / DEFAULT_TASK
    assert find_model(tmp_path / DEFAULT_TASK) == tmp_path / DEFAULT_TASK
    with pytest.raises(ModelError, match="expression or actions, which come with the package"):
        TaskModel.load(tmp_path / "nothing")


def test_evaluate_takes_them_by_name() -> None:
    source = open_source(DEFAULT_TASK, (), [], ReadSettings())
    assert source.target.columns == ("expression",)
    assert source.path == WEIGHTS / DEFAULT_TASK
