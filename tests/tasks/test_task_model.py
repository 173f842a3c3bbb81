"""Models of a task: saved, moved, loaded without anything else, and folders that are none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import openmarlin
from openmarlin.errors import InputError, ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import save_folder
from openmarlin.tasks.heads import AttentiveHead, Head, LinearHead, NeighbourHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import HEAD, TaskConfig, TaskModel, as_scores, decide, prior_of

SHAPE = ModelConfig(image_size=16, frames=2, patch=8, width=12, depth=1, heads=2)
MOOD = Target("class", ("mood",), ("angry", "calm", "happy"))
TRAITS = Target("multilabel", ("a", "b", "c"), ("a", "b", "c"))


def make_model(head: Head, target: Target = MOOD, **values: Any) -> TaskModel:
    encoder = Encoder(SHAPE, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for tensor in head.state_dict().values():
            tensor.normal_(generator=torch.Generator().manual_seed(1)).abs_()
    config = TaskConfig(
        target=target.as_dict(),
        head=head.config,
        sampling={"rate": 3, "faces": "all", "limit_s": 2.0},
        prior=(0.2, 0.3, 0.5),
        trained_on={"rows": 5},
        **values,
    )
    return TaskModel(encoder, head.eval(), config)


@pytest.mark.parametrize(
    "head",
    [
        LinearHead(12, 3, "standard"),
        AttentiveHead(12, 3, blocks=1, heads=4),
        NeighbourHead(12, 3, 7, k=3, is_one_of=True),
    ],
    ids=["linear", "attentive", "neighbours"],
)
def test_a_model_comes_back_as_it_was_saved(head: Head, tmp_path: Path) -> None:
    model = make_model(head, temperature=1.7)
    model.save(tmp_path / "model", "The card.")
    again = TaskModel.load(tmp_path / "model")
    assert again.config.model_dump(mode="json") == model.config.model_dump(mode="json")
    assert again.target == model.target
    assert again.sampling == model.sampling
    pooled = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    pooled[2] = np.nan
    np.testing.assert_array_equal(again.answer(pooled), model.answer(pooled))
    assert np.isnan(again.answer(pooled)[2]).all()
    clips = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(again.encoder.encode(clips), model.encoder.encode(clips))
    assert not again.head.training
    assert (tmp_path / "model" / "README.md").read_text() == "The card."


def test_a_model_moves_and_needs_nothing_else(tmp_path: Path) -> None:
    """Another folder, another process, another working folder; the encoder alone loads, too."""
    model = make_model(LinearHead(12, 3))
    model.save(tmp_path / "here" / "model", "")
    for file in (tmp_path / "here" / "model").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o044 == 0o044 & ~_umask(), file.name
    shutil.move(tmp_path / "here" / "model", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    program = (
        "import numpy as np\n"
        "from openmarlin.tasks.model import TaskModel\n"
        "model = TaskModel.load('there')\n"
        "print(model.answer(np.ones((1, 12), np.float32)).tolist())"
    )
    path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = model.answer(np.ones((1, 12), np.float32))
    np.testing.assert_allclose(json.loads(result.stdout), answers, rtol=1e-6)
    assert openmarlin.load(tmp_path / "there").config == SHAPE


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_there_is_replaced_on_request_alone(tmp_path: Path) -> None:
    model = make_model(LinearHead(12, 3))
    model.save(tmp_path, "one")
    with pytest.raises(InputError):
        model.save(tmp_path, "two")
    model.save(tmp_path, "two", overwrite=True)
    assert (tmp_path / "README.md").read_text() == "two"


def _no_head(folder: Path) -> None:
    (folder / HEAD).unlink()


def _no_table(folder: Path) -> None:
    _change(folder, lambda content: content.pop("task"))


def _wrong_width(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["head"].update(n_outputs=5))


def _huge(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["head"].update(width=2**56))


def _odd_width(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["head"].update(width=-1))


def _many_blocks(folder: Path) -> None:
    head = {"kind": "attentive", "width": 12, "heads": 2, "n_outputs": 3, "blocks": 2**31}
    _change(folder, lambda content: content["task"].update(head=head))


def _unknown_key(folder: Path) -> None:
    _change(folder, lambda content: content["task"].update(voltage=3))


def _unknown_head(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["head"].update(kind="oracle"))


def _other_target(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["target"].update(classes=["no", "yes"]))


def _no_target(folder: Path) -> None:
    _change(folder, lambda content: content["task"]["target"].pop("kind"))


def _missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / HEAD)
    del tensors["linear.bias"]
    save_file(tensors, folder / HEAD)


def _damaged_head(folder: Path) -> None:
    (folder / HEAD).write_bytes(b"no tensors")


def _damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _change(folder: Path, change: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    change(content)
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (_no_head, "without a head"),
        (_no_table, "without a head"),
        (_wrong_width, "does not fit"),
        (_huge, "does not fit"),
        (_odd_width, "cannot be built"),
        (_many_blocks, "blocks"),
        (_unknown_key, "voltage"),
        (_unknown_head, "oracle"),
        (_other_target, "does not fit"),
        (_no_target, "kind"),
        (_missing_tensor, "linear.bias"),
        (_damaged_head, "head.safetensors"),
        (_damaged_config, "config.json"),
    ],
)
def test_a_folder_that_is_no_model_of_a_task_is_refused(
    damage: Any, word: str, tmp_path: Path
) -> None:
    make_model(LinearHead(12, 3)).save(tmp_path / "model", "")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=word) as caught:
        TaskModel.load(tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model of a task"):
        TaskModel.load(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        TaskModel.load(tmp_path / "gone")
    save_folder(make_model(LinearHead(12, 3)).encoder, tmp_path / "encoder")
    with pytest.raises(ModelError, match="probe"):
        TaskModel.load(tmp_path / "encoder")


def test_temperature_softens_and_keeps_the_order() -> None:
    logits = np.array([[2.0, 0.0, -1.0]])
    sharp, soft = (as_scores(logits, MOOD, t) for t in (1.0, 4.0))
    assert sharp.sum() == pytest.approx(1)
    assert soft.sum() == pytest.approx(1)
    assert soft.max() < sharp.max()
    assert (np.argsort(soft) == np.argsort(sharp)).all()
    np.testing.assert_allclose(as_scores(logits, TRAITS), 1 / (1 + np.exp(-logits)))
    value = Target("regression", ("x",), ("x",))
    np.testing.assert_array_equal(as_scores(logits[:, :1], value, 3.0), logits[:, :1])


def test_decisions_of_every_kind() -> None:
    scores = np.array([[0.2, 0.3, 0.5], [np.nan] * 3, [0.6, 0.2, 0.2]])
    np.testing.assert_array_equal(decide(scores, MOOD), [[2], [np.nan], [0]])
    ordinal = Target("ordinal", ("mood",), MOOD.classes)
    np.testing.assert_array_equal(decide(scores, ordinal), [[1], [np.nan], [0]])
    yes = decide(scores, TRAITS, (0.1, 0.5, 0.5))
    np.testing.assert_array_equal(yes, [[1, 0, 1], [np.nan] * 3, [1, 0, 0]])
    np.testing.assert_array_equal(decide(scores, TRAITS)[0], [0, 0, 1])


@given(st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=20))
def test_the_prior_is_the_mean_answer(numbers: list[int | None]) -> None:
    labels = np.array([np.nan if n is None else float(n) for n in numbers])[:, None]
    known = [n for n in numbers if n is not None]
    if known:
        prior = prior_of(labels, MOOD)
        assert sum(prior) == pytest.approx(1)
        assert prior == pytest.approx([known.count(i) / len(known) for i in range(3)])
