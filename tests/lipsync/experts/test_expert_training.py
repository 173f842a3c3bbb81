"""Own experts on made-up people: data, training, resume, use."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from talkers import talking_store
from toys import toy_store

from openmarlin.data.store import Store
from openmarlin.errors import InputError, ModelError
from openmarlin.jobs.lipsync_train_expert import train_expert
from openmarlin.lipsync.experts.data import TalkDataset, play_at, split_talks
from openmarlin.lipsync.experts.network import SOUND_SKIP, WINDOW, sound_columns
from openmarlin.lipsync.experts.own import load_own
from openmarlin.lipsync.experts.talks import Talks
from openmarlin.lipsync.offsets import measure_offset
from openmarlin.lipsync.store_tracks import EARLY_COLUMN
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.result import TrainingResult
from openmarlin.video.audio import Sound

SMALL = {
    "width": 24, "batch": 6, "steps": 40, "workers": 0, "val_every": 20, "save_every": 20,
    "val_share": 0.25, "accelerator": "cpu", "precision": "fp32", "dropout": 0.0, "base_lr": 0.2,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return talking_store(tmp_path_factory.mktemp("talking") / "store", people=4, talks=2, seconds=4)


@pytest.fixture(scope="module")
def trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train_expert(store.path, out=tmp_path_factory.mktemp("expert") / "run", **SMALL)


def test_it_learns_to_find_offsets(trained: TrainingResult, store: Store, tmp_path: Path) -> None:
    assert trained.step == 40
    assert trained.metrics["val_auc"] > 0.8
    expert, talks = load_own(trained.model or ""), Talks(store, tmp_path)
    found = []
    for index in range(len(talks)):
        samples = store.sound(index)
        assert samples is not None
        faces = expert.embed_faces(talks.views(index))
        # The sound of the file begins 0.2 s late: it is early by 5 ticks where it is taken from 0.
        sounds = expert.embed_sound(Sound(samples[3200:], 0.0), 0.0, len(faces))
        found.append(measure_offset(faces, sounds).ticks)
    assert np.median(found) == 5


def test_use_hears_what_training_heard(
    trained: TrainingResult, store: Store, tmp_path: Path
) -> None:
    expert, talks = load_own(trained.model or ""), Talks(store, tmp_path)
    samples = store.sound(0)
    assert samples is not None
    used = expert.embed_sound(Sound(samples, 7.0), 7.0, 40)
    mel = torch.from_numpy(talks.mel(0)[None, :, SOUND_SKIP:][..., : sound_columns(40)].copy())
    with torch.no_grad():
        learnt = expert.network.embed_sound(mel)[0].numpy()
    np.testing.assert_allclose(used[2:], learnt[2:], atol=1e-4)  # the border of the track apart


def test_a_run_goes_on_from_its_checkpoint(
    store: Store, trained: TrainingResult, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_expert(store.path, out=run, **SMALL)
    newest = Checkpoints(run).newest()
    assert newest is not None
    shutil.rmtree(newest.path)
    shutil.rmtree(run / "model")
    result = train_expert(out=run, resume=True)
    assert (result.step, result.stopped) == (40, False)
    whole = load_file((trained.model or Path()) / "model.safetensors")
    again = load_file(run / "model" / "model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_pictures_of_mouths_can_be_looked_at_too(store: Store, tmp_path: Path) -> None:
    settings = {**SMALL, "kind": "mouth", "steps": 2, "val_every": 2, "width": 8}
    result = train_expert(store.path, out=tmp_path / "run", **settings)
    expert = load_own(result.model or "")
    view = expert.view(np.zeros((64, 64, 3), np.uint8), np.zeros((478, 2), np.float32))
    assert expert.embed_faces(np.stack([view] * WINDOW)).shape == (1, 128)


def test_the_store_needs_sound_and_points(tmp_path: Path) -> None:
    silent = toy_store(tmp_path / "store", n_frames=40)
    with pytest.raises(InputError, match="--sound --points"):
        train_expert(silent.path, out=tmp_path / "run", **SMALL)


def test_splits_of_the_store_count(tmp_path: Path) -> None:
    talks = Talks(talking_store(tmp_path / "store", people=4, talks=2, splits=True), tmp_path)
    train, val = split_talks(talks, 0.5)
    assert [talks.track(i).group for i in val] == ["person-2", "person-2"]
    assert {talks.track(i).group for i in train} == {"person-0", "person-1"}


@pytest.mark.parametrize("fps", [25.0, 29.97, 12.5])
def test_talks_have_25_ticks_a_second_whatever_the_video_has(tmp_path: Path, fps: float) -> None:
    talks = Talks(talking_store(tmp_path / "store", people=2, seconds=2.4, fps=fps), tmp_path)
    assert talks.n_ticks[0] == int(round(2.4 * fps) / fps * 25 + 1e-6)
    assert talks.mel(0).shape == (80, 4 * talks.n_ticks[0] + 1)
    assert talks.views(0).shape == (talks.n_ticks[0],)


def test_lips_and_sound_stay_together_when_played_faster(store: Store, tmp_path: Path) -> None:
    talks = Talks(store, tmp_path)
    points, mouths, mel = play_at(1.25, talks.views(0), talks.mel(0))
    assert len(points) == len(mouths) == 80
    assert mel.shape == (80, 321)
    np.testing.assert_allclose(points[20], talks.views(0)["points"][25], atol=1e-5)
    np.testing.assert_allclose(mel[:, 80], talks.mel(0)[:, 100], atol=1e-4)


def test_a_sample_depends_on_its_key_alone(store: Store, tmp_path: Path) -> None:
    data = TalkDataset(Talks(store, tmp_path), [0, 1, 2], 60, mouths=True, seed=3)
    first, again, other = data[1, 2], data[1, 2], data[2, 2]
    assert torch.equal(first["mel"], again["mel"])
    assert not torch.equal(first["mel"], other["mel"])
    assert first["mel"].shape == (80, sound_columns(60 - WINDOW + 1))
    assert first["points"].shape == (60, 49, 2)


def test_what_is_no_expert_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "points"}')
    with pytest.raises(ModelError, match="not an expert"):
        load_own(tmp_path)


def test_sound_that_is_said_to_be_early_is_moved_back(store: Store, tmp_path: Path) -> None:
    talks = Talks(store, tmp_path)
    before = talks.mel(0)
    store.columns[EARLY_COLUMN] = ["0.2", float("nan"), *[""] * (len(store) - 2)]
    try:
        np.testing.assert_allclose(talks.mel(0)[:, 30:390], before[:, 10:370], atol=1e-3)
        assert np.isfinite(talks.mel(1)).all()
        store.columns[EARLY_COLUMN][0] = "soon"
        with pytest.raises(InputError, match="soon"):
            talks.mel(0)
    finally:
        del store.columns[EARLY_COLUMN]
