"""Both stages of the small mouth model on made-up talkers, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media import numbered, write_video
from talkers import LIPS_CM, draw_face, look_at, solid_face, talk, talking_store

from openmarlin.data.store import Store
from openmarlin.errors import InputError, ModelError
from openmarlin.jobs.lipsync_train_mouth import train_mouth
from openmarlin.lipsync.small import adapt
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.small.shape_task import correlation
from openmarlin.report.run import REPORT_FILE
from openmarlin.training.log import read_metrics
from openmarlin.training.result import TrainingResult
from openmarlin.video.audio import Sound

BASE: dict[str, Any] = {
    "batch": 4,
    "log_every": 10,
    "workers": 0,
    "precision": "fp32",
    "accelerator": "cpu",
    "val_share": 0.3,
    "val_clips": 4,
    "base_lr": 0.3,
    "clip_grad": 1.0,
}
SHAPE = {**BASE, "stage": "shape", "components": 3, "width": 24, "steps": 60, "val_every": 30}
DRAW = {**BASE, "stage": "renderer", "size": 32, "width": 8, "steps": 40, "val_every": 20}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return talking_store(tmp_path_factory.mktemp("mouth") / "store")


@pytest.fixture(scope="module")
def heard(store: Store, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    out = tmp_path_factory.mktemp("shape") / "run"
    return train_mouth(store.path, out=out, silent=0, noise=0, dropout=0, **SHAPE)


@pytest.fixture(scope="module")
def drawn(
    store: Store, heard: TrainingResult, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    out = tmp_path_factory.mktemp("renderer") / "run"
    critic = {"w_critic": 0.01, "critic_from": 0.5}
    return train_mouth(store.path, out=out, shape=heard.out, **DRAW, **critic)


def references(dubber: SmallDubber, openings: tuple[float, ...]) -> list[Any]:
    faces = []
    for o in openings:
        points = look_at(solid_face(o), side=dubber.size, margin=0)
        faces.append((draw_face(points, dubber.size, (200, 160, 140)), points))
    return faces


def test_loudness_is_heard(heard: TrainingResult) -> None:
    assert heard.model == heard.out / "model"
    assert (heard.out / REPORT_FILE).is_file()
    dubber = SmallDubber.load(heard.out)
    samples, openings = talk(3, np.random.default_rng(7))
    shapes = dubber.hear(Sound(samples, 0.0), np.arange(75) / 25).shapes
    change = shapes @ dubber.basis.opening
    assert correlation(change.astype(np.float32), openings.astype(np.float32)) > 0.7


def test_silence_closes(heard: TrainingResult) -> None:
    dubber = SmallDubber.load(heard.out)
    samples, _ = talk(4, np.random.default_rng(7))
    samples[32_000:48_000] = 0
    closed = dubber.hear(Sound(samples, 0.0), np.arange(100) / 25).closed
    assert closed[60:65] == pytest.approx(1)
    assert closed[10:45].max() == 0


def test_model_hears_without_drawing(heard: TrainingResult) -> None:
    dubber = SmallDubber.load(heard.out)
    result = dubber.hear(Sound(np.zeros(0, np.int16), 0.0), np.zeros(0))
    assert result.shapes.shape == (0, 3)
    with pytest.raises(ModelError, match="renderer"):
        dubber.draw(result, 0, np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 478, 2)), [])


def test_mouths_are_drawn_and_nothing_else(drawn: TrainingResult) -> None:
    dubber = SmallDubber.load(drawn.model or "")
    faces = references(dubber, (0.0, 0.25))
    images = np.stack([image for image, _ in faces])
    points = np.stack([mesh for _, mesh in faces])
    times_s = np.array([0.0, 0.04])
    samples, _ = talk(1, np.random.default_rng(0))
    heard = dubber.hear(Sound(samples, 0.0), times_s)
    result = dubber.draw(heard, 0, images, points, faces)
    assert result.shape == images.shape
    changed = (result != images).any(axis=(0, 3))
    assert changed.any()
    middle = look_at(LIPS_CM[None], side=dubber.size, margin=0)[0]
    rows, columns = np.nonzero(changed)
    assert rows.min() > 0.5 * dubber.size
    assert abs(columns.mean() - middle[0]) < 0.1 * dubber.size


def test_chunks_draw_the_same(drawn: TrainingResult) -> None:
    dubber = SmallDubber.load(drawn.model or "")
    faces = references(dubber, (0.0, 0.25, 0.1))
    images = np.stack([image for image, _ in faces])
    points = np.stack([mesh for _, mesh in faces])
    samples, _ = talk(1, np.random.default_rng(0))
    heard = dubber.hear(Sound(samples, 0.0), np.arange(3) / 25).closing(np.array([0, 0.5, 1]))
    together = dubber.draw(heard, 0, images, points, faces[:2])
    alone = dubber.draw(heard, 1, images[1:], points[1:], faces[:2])
    assert np.abs(together[1:].astype(int) - alone.astype(int)).max() <= 1


def test_training_of_the_renderer_learns(drawn: TrainingResult) -> None:
    rows = read_metrics(drawn.out / "metrics.jsonl")
    losses = [row["val_hole"] for row in rows if "val_hole" in row]
    assert losses[-1] < losses[0] * 1.05
    assert [row["critic"] for row in rows if row.get("critic")]  # it began, late
    assert sorted(p.name for p in (drawn.out / "pictures" / "clip-0").glob("[1-4]-*.jpg"))


@pytest.mark.parametrize("stage", ["shape", "renderer"])
def test_run_goes_on_as_if_nothing_had_happened(
    store: Store, heard: TrainingResult, tmp_path: Path, stage: str
) -> None:
    short = {"shape": SHAPE, "renderer": {**DRAW, "shape": heard.out}}[stage]
    short = {**short, "steps": 6, "save_every": 3, "log_every": 1}
    straight = train_mouth(store.path, out=tmp_path / "straight", **short)
    train_mouth(store.path, out=tmp_path / "cut", **short)
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("step-*"))[-1]
    for file in sorted(newest.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    newest.rmdir()
    again = train_mouth(out=tmp_path / "cut", resume=True)
    digests = [SmallDubber.load(run.model or "").digest for run in (straight, again)]
    assert digests[0] == digests[1]


def test_model_is_what_was_saved(drawn: TrainingResult, tmp_path: Path) -> None:
    dubber = SmallDubber.load(drawn.out)
    dubber.save(tmp_path / "copy")
    assert SmallDubber.load(tmp_path / "copy").digest == dubber.digest
    (tmp_path / "copy" / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(ModelError, match="damaged"):
        SmallDubber.load(tmp_path / "copy")
    with pytest.raises(ModelError, match="train-mouth"):
        SmallDubber.load(tmp_path)


@pytest.mark.parametrize("missing", ["sound", "points"])
def test_store_without_what_is_needed(tmp_path: Path, missing: str) -> None:
    store = talking_store(tmp_path / "store", people=2, seconds=1.2, **{missing: False})
    with pytest.raises(InputError, match=missing):
        train_mouth(store.path, out=tmp_path / "run", **SHAPE)


def test_renderer_needs_a_shape(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shape"):
        train_mouth(store.path, out=tmp_path / "run", **DRAW)


def test_a_model_is_trained_further_on_one_person(
    drawn: TrainingResult, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt, "STEPS", 4)
    model = SmallDubber.load(drawn.out)
    own = adapt.adapt(model, clips / "single_face.mp4", tmp_path)
    assert own.renderer is not None
    assert model.renderer is not None
    before, after = model.renderer.state_dict(), own.renderer.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    shapes = model.shape_net.state_dict()
    assert all(torch.equal(shapes[name], t) for name, t in own.shape_net.state_dict().items())
    again = adapt.adapt(model, clips / "single_face.mp4", tmp_path)  # what is there is taken
    assert again.digest == own.digest
    with pytest.raises(InputError, match="shows a face"):
        adapt.adapt(model, write_video(tmp_path / "empty.mp4", numbered(40)), tmp_path / "other")
