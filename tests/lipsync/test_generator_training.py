"""Training of generators on made-up people: clips, losses, critics, resume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from talkers import look_at, solid_face, talking_store
from toys import toy_store

from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.jobs.lipsync_train import train
from openmarlin.jobs.lipsync_train_expert import train_expert
from openmarlin.lipsync.experts.mouth_view import mouth_matrix, mouth_view
from openmarlin.lipsync.generation.data import FaceClips, count_ticks
from openmarlin.lipsync.generation.losses import cut_mouths, joint_loss, pixel_loss
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.task import GeneratorTraining
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import network_inputs
from openmarlin.lipsync.generators.make import load_generator
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.result import TrainingResult
from openmarlin.video.audio import Sound

SMALL: dict[str, Any] = {
    "width": 0.06, "size": 32, "batch": 2, "steps": 4, "workers": 0, "val_every": 2,
    "save_every": 2, "val_share": 0.25, "val_clips": 2, "accelerator": "cpu", "precision": "fp32",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return talking_store(tmp_path_factory.mktemp("talking") / "store", people=4, talks=2)


@pytest.fixture(scope="module")
def expert(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = talking_store(tmp_path_factory.mktemp("long") / "store", people=2, seconds=4)
    run = tmp_path_factory.mktemp("expert") / "run"
    settings = {**SMALL, "kind": "pixels", "width": 16, "steps": 2}
    for name in ("size", "val_clips"):
        settings.pop(name)
    model = train_expert(long.path, out=run, **settings).model
    assert model is not None
    return model


@pytest.fixture(scope="module")
def trained(store: Store, expert: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """With all that there is: an expert from the start, and a critic."""
    out = tmp_path_factory.mktemp("generator") / "run"
    return train(store.path, out=out, **_all(expert))


def _all(expert: Path) -> dict[str, Any]:
    return {**SMALL, "expert": str(expert), "w_sync": 0.1, "w_quality": 0.1, "sync_below": 100.0}


def test_what_is_trained_can_be_loaded_and_draws(trained: TrainingResult) -> None:
    assert set(trained.metrics) >= {"val_mouth", "val_sync", "val_sound_matters"}
    generator = load_generator(trained.model or "")
    drawn = generator(torch.zeros(1, 3, 1, 80, 16), torch.rand(1, 6, 3, 32, 32))
    assert drawn.shape == (1, 3, 3, 32, 32)
    assert (trained.out / "pictures" / "clip-0" / "3-reference.jpg").is_file()


def test_a_run_goes_on_as_if_it_had_not_stopped(
    store: Store, expert: Path, trained: TrainingResult, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(store.path, out=run, **_all(expert))
    newest = Checkpoints(run).newest()
    assert newest is not None
    shutil.rmtree(newest.path)
    shutil.rmtree(run / "model")
    train(out=run, resume=True)
    whole = load_file((trained.model or Path()) / "model.safetensors")
    again = load_file(run / "model" / "model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("speech2vid", {"size": 64}),
        ("lipgan", {"w_joint": 0.01, "ticks": 1, "size": 64}),
        ("attn_wav2lip", {"ticks": 5}),
        ("wav2lip_vit", {"encoder": "tiny", "encoder_size": 32}),
    ],
)
def test_every_system_takes_a_step(
    store: Store, tmp_path: Path, system: str, changes: dict[str, Any]
) -> None:
    settings = {**SMALL, "steps": 1, "system": system, **changes}
    result = train(store.path, out=tmp_path / "run", **settings)
    assert load_generator(result.model or "").config.system == system


def test_clips_and_their_references(store: Store) -> None:
    config = GeneratorConfig(system="wav2lip", width=0.1, size=32)
    clips = FaceClips(store, [0, 1], 16, config, seed=1)
    sample = clips[3, 1]
    assert sample["faces"].shape == sample["reference"].shape == (16, 32, 32, 3)
    assert sample["sound"].shape == (16, 1, 80, 16)
    assert sample["sync_mel"].shape == (80, 61)
    assert sample["sync_window"].shape == (80, 52)
    assert torch.equal(sample["sound"], clips[3, 1]["sound"])
    assert not torch.equal(sample["faces"], sample["reference"])
    track = store.tracks[0]
    assert count_ticks(track._replace(fps=50.0)) == 25


def test_other_sound_changes_what_is_heard_alone(store: Store) -> None:
    config = GeneratorConfig(system="wav2lip", width=0.1, size=32)
    clips = FaceClips(store, [0], 16, config, seed=None)
    samples = store.sound(1)
    assert samples is not None
    own, other = clips.clip(0, 3, 20), clips.clip(0, 3, 20, Sound(samples, 0.0))
    assert torch.equal(own["faces"], other["faces"])
    assert not torch.equal(own["sound"], other["sound"])


def test_the_lower_half_is_hidden_and_the_reference_is_not() -> None:
    faces = torch.full((1, 2, 8, 8, 3), 200, dtype=torch.uint8)
    target, inputs = network_inputs(faces, faces)
    assert (inputs[:, :3, :, 4:] == 0).all()
    assert torch.equal(inputs[:, :3, :, :4], target[:, :, :, :4])
    assert torch.equal(inputs[:, 3:], target)


def test_mouths_are_cut_as_experts_see_them() -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    points = look_at(solid_face(0.2), side=128, margin=0)
    seen = mouth_view(image, points)["mouth"]
    faces = torch.from_numpy(image / 255.0).float().permute(2, 0, 1)[None, :, None]
    matrix = torch.from_numpy(mouth_matrix(points))[None, None]
    cut = 255 * cut_mouths(faces, matrix)[0, 0].numpy()
    assert np.abs(cut - seen).mean() < 1
    assert np.abs(cut - seen).max() < 12


def test_losses() -> None:
    drawn, target = torch.zeros(1, 3, 1, 4, 4), torch.zeros(1, 3, 1, 4, 4)
    target[..., 2:, :] = 1
    assert pixel_loss(drawn, target, 1.0).item() == pytest.approx(0.5)
    assert pixel_loss(drawn, target, 3.0).item() == pytest.approx((2 * 0.5 + 2 * 1) / 4)
    distances = torch.tensor([0.0, 0.5, 2.0])
    assert joint_loss(distances, together=True).item() == pytest.approx((0.25 + 4) / 3)
    assert joint_loss(distances, together=False).item() == pytest.approx((1 + 0.25) / 3)


def test_critics_learn_nothing_from_the_generators_turn(store: Store, tmp_path: Path) -> None:
    request = GeneratorSettings(
        data=store.path,
        out=tmp_path / "run",
        **{**SMALL, "size": 64, "system": "lipgan", "w_joint": 0.01},
    )
    task = GeneratorTraining(request)
    for player in task.players.values():
        player.call = player.module
    sample = FaceClips(store, [0], 4, task.config, seed=0)[0, 0]
    batch = {name: each[None] for name, each in sample.items() if name != "id"}
    losses = task.losses("generator", batch, task.forward(batch), torch.Generator())
    losses["loss"].backward()
    assert all(p.grad is None for p in task.players["joint"].module.parameters())
    assert any(p.grad is not None for p in task.model.module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_joint": 0.01}, "lipgan"),
        ({"w_sync": 0.6, "w_quality": 0.5}, "below 1"),
        ({"system": "wav2lip_vit", "ticks": 5}, "16 frames"),
        ({"size": 50}, "multiples"),
        ({"system": "lipgan", "w_joint": 0.01}, "64"),
        ({"expert": "nowhere"}, "no expert 'nowhere'"),
        ({"ticks": 60}, "--sound --points"),
    ],
)
def test_requests_that_cannot_be_met(
    store: Store, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message) as raised:
        train(store.path, out=tmp_path / "run", **{**SMALL, **changes})
    assert "\n" not in str(raised.value)


def test_experts_that_need_the_mesh_do_not_train_generators(store: Store, tmp_path: Path) -> None:
    long = talking_store(tmp_path / "long", people=2, seconds=4)
    settings = {**SMALL, "width": 16, "steps": 1}
    for name in ("size", "val_clips"):
        settings.pop(name)
    model = train_expert(long.path, out=tmp_path / "expert", **settings).model
    with pytest.raises(InputError, match="--kind pixels"):
        train(store.path, out=tmp_path / "run", **{**SMALL, "expert": str(model)})


def test_a_store_without_sound(tmp_path: Path) -> None:
    silent = toy_store(tmp_path / "store", n_frames=40)
    with pytest.raises(InputError, match="--sound --points"):
        train(silent.path, out=tmp_path / "run", **SMALL)
