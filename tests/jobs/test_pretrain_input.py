"""pretrain and what can be wrong: one clear line each, and nothing lost."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from toys import TOY, toy_store, toy_track

from openmarlin.data.dataset import SampleStream, StepBatches
from openmarlin.data.store import Store, StoreWriter
from openmarlin.errors import OpenMarlinError
from openmarlin.jobs.prepare import prepare
from openmarlin.jobs.pretrain import Pretrained, pretrain
from openmarlin.model.io import load
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.log import read_metrics


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tracks, each in a shard of its own."""
    path = tmp_path_factory.mktemp("input") / "store"
    rng = np.random.default_rng(0)
    with StoreWriter(path, size=32, settings={"margin": 0}, shard_bytes=1) as writer:
        for i in range(6):
            writer.add(f"track-{i}", *toy_track(32, 12, rng), fps=25.0, group=f"person-{i // 2}")
    return path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    out = tmp_path_factory.mktemp("run") / "run"
    return pretrain(data=store, out=out, **{**TOY, "save_every": 2})


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "copy"))


RECIPE = Path(__file__).parents[2] / "recipes" / "pretrain_tiny_cpu.yaml"


def error(call: Callable[[], Any]) -> str:
    with pytest.raises(OpenMarlinError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def train(data: Path, out: Path, **values: Any) -> Pretrained:
    return pretrain(data=data, out=out, **{**TOY, **values})


def shards(path: Path) -> list[Path]:
    return sorted(path.glob("shard-*.bin"))


# Stores


def test_no_store_and_an_empty_one(tmp_path: Path) -> None:
    assert "no such folder" in error(lambda: train(tmp_path / "none", tmp_path / "run"))
    with StoreWriter(tmp_path / "empty", size=32):
        pass
    assert "the store is empty" in error(lambda: train(tmp_path / "empty", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_damaged_shard_is_fatal_and_named(copy: Path, tmp_path: Path) -> None:
    """Its length is right: the frame that is read tells."""
    file = shards(copy)[1]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 :] = bytes(len(raw) - len(raw) // 2)
    file.write_bytes(raw)
    line = error(lambda: train(copy, tmp_path / "run", steps=30, val_share=0))
    assert line.startswith(f"{file}: damaged (frame ")
    assert line.endswith("copy it again, or leave it out with damaged=skip")

    train(copy, tmp_path / "other", steps=2, damaged="skip", val_share=0)
    log = (tmp_path / "other" / "log.txt").read_text()
    assert f"left out: {file}: damaged, its sha256 is not the one in index.json" in log
    assert "5 tracks to train on" in log


def test_loaders_report_damage_in_the_same_words(copy: Path, tmp_path: Path) -> None:
    for file in shards(copy)[1:]:
        raw = bytearray(file.read_bytes())
        raw[-200:] = bytes(200)
        file.write_bytes(raw)
    line = error(lambda: train(copy, tmp_path / "run", steps=30, val_share=0, workers=1))
    assert line.startswith(f"{copy}/shard-0000")
    assert "damaged (frame " in line
    assert line.endswith("copy it again, or leave it out with damaged=skip")


def test_index_and_shards_that_disagree(copy: Path, tmp_path: Path) -> None:
    file = shards(copy)[2]
    file.write_bytes(file.read_bytes()[:-5])
    assert f"{file}: has " in error(lambda: train(copy, tmp_path / "run"))
    file.unlink()
    assert f"{file}: no such file" in error(lambda: train(copy, tmp_path / "run"))
    toy_store(tmp_path / "other", tracks=2)
    shutil.copy(tmp_path / "other" / "tracks.parquet", copy)
    assert "does not agree with index.json" in error(lambda: train(copy, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# Requests


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"shape": {**TOY["shape"], "patch": 5}}, "image_size 32 is not a multiple of patch 5"),
        ({"shape": {**TOY["shape"], "patch": 4}}, "patch 4 does not fit"),
        ({"shape": {**TOY["shape"], "frames": 3}}, "frames 3 is not a multiple of tubelet 2"),
        ({"mask_ratio": 0.99}, "leaves none of 32 tokens visible"),
        ({"mask_ratio": 0.0}, "masks none of 32 tokens"),
        ({"masking": "Fasking"}, "unknown masking 'Fasking'"),
        ({"maskin": "tube"}, "'maskin': did you mean 'masking'?"),
        ({"accelerator": "gpuu"}, "1 device(s) of kind 'gpuu' cannot be used"),
        ({"init": "nowhere"}, "init='nowhere', init_part='full': there is no model"),
        ({"init": "small"}, "init='small' has another shape than the model"),
    ],
)
def test_what_cannot_be_leaves_no_folder(
    store: Path, tmp_path: Path, values: dict[str, Any], line: str
) -> None:
    assert line in error(lambda: train(store, tmp_path / "run", **values))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_short_training_starts_from_another_ones_model(
    store: Path, run: Pretrained, tmp_path: Path
) -> None:
    again = train(store, tmp_path / "run", init=str(run.model), steps=1, base_lr=1e-9, min_lr=0)
    assert again.val_rec == pytest.approx(run.val_rec, rel=1e-4)


def test_a_folder_in_use(store: Path, run: Pretrained) -> None:
    script = (
        "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire();"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(run.out / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        line = error(lambda: pretrain(out=run.out, resume=True))
        other.stdin.close()
    assert line.startswith(f"{run.out}: in use")


def test_resume_asks_for_the_same_run(run: Pretrained, tmp_path: Path) -> None:
    config = (run.out / "config.yaml").read_bytes()
    toy_store(tmp_path / "other", tracks=4)
    line = error(lambda: pretrain(out=run.out, resume=True, data=tmp_path / "other"))
    assert str(run.out) in line
    assert "tracks was 6, is 4" in line
    assert "batch was 4, is 2" in error(lambda: pretrain(out=run.out, resume=True, batch=2))
    assert "data=" in error(lambda: pretrain(out=tmp_path / "x", resume=True))
    assert (run.out / "config.yaml").read_bytes() == config


def test_what_a_run_starts_from_is_not_overwritten_by_it(store: Path, run: Pretrained) -> None:
    line = error(lambda: train(store, run.out, init=str(run.model), overwrite=True))
    assert line.startswith(f"init='{run.model}' lies in {run.out}")
    assert (run.model / "config.json").is_file()


def test_a_call_leaves_the_process_as_it_was(store: Path, tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        level = logging.getLogger("lightning_fabric").level
        precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
        filters = list(warnings.filters)
        return handlers, level, precision, threads, filters, cv2.getNumThreads()

    train(store, tmp_path / "first", steps=1)  # whatever is loaded now sets itself up
    before = state()
    train(store, tmp_path / "second", steps=1)
    assert state() == before


def test_a_damaged_checkpoint_can_be_taken_away(run: Pretrained, tmp_path: Path) -> None:
    out = Path(shutil.copytree(run.out, tmp_path / "run"))
    newest = Checkpoints(out).newest()
    file = newest.path / "training.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    line = error(lambda: pretrain(out=out, resume=True))
    assert "remove this folder to go on from the checkpoint before it" in line
    shutil.rmtree(newest.path)
    assert pretrain(out=out, resume=True).step == 6
    rows, before = read_metrics(out / "metrics.jsonl"), read_metrics(run.out / "metrics.jsonl")
    assert [row.get("rec") for row in rows] == [row.get("rec") for row in before]


# While it runs


def test_a_loss_that_is_no_number_names_its_clips(store: Path, tmp_path: Path) -> None:
    line = error(lambda: train(store, tmp_path, base_lr=1e30, warmup=0, w_adv=0, val_share=0))
    assert "the loss is not finite" in line
    assert f"{tmp_path}/nonfinite.json" in line
    assert "base_lr=" in line
    saved = json.loads((tmp_path / "nonfinite.json").read_text())
    groups = [track.group for track in Store(store).tracks]
    step = saved["step"]
    (keys,) = StepBatches(SampleStream(groups, 0), range(step, step + 1), batch=4)
    names = [f"track-{index}" for _, index in keys]
    assert [one.split(":")[0] for one in saved["ids"][0][0]] == names
    assert "TrainingError" in (tmp_path / "log.txt").read_text()


def test_a_full_disk_leaves_the_last_checkpoint(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openmarlin.training import checkpoint

    write, count = checkpoint.save_file, iter(range(9))

    def full(*what: Any) -> None:
        if next(count) == 1:
            raise OSError(28, "No space left on device")
        write(*what)

    monkeypatch.setattr(checkpoint, "save_file", full)
    line = error(lambda: train(store, tmp_path, save_every=2))
    assert line.startswith(f"cannot write {tmp_path}/checkpoints/step-00000004: No space left")
    assert Checkpoints(tmp_path).newest().step == 2
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    assert pretrain(out=tmp_path, resume=True).step == 6


# The whole way


def test_from_videos_to_a_model_that_has_learnt(clips: Path, tmp_path: Path) -> None:
    """The recipe for CPUs, from clips that ship with the project: learnt by heart."""
    videos = [clips / "signer_thanks.mkv", clips / "two_people.mp4"]
    prepare(
        videos, out=tmp_path / "faces", workers=1, min_frames=8, limit_seconds=0.6, min_face_px=32
    )
    changes = {"epochs": None, "steps": 40, "batch": 4, "base_lr": 0.1, "shape.image_size": 112}
    changes |= {
        "val_share": 0,
        "val_clips": 4,
        "workers": 0,
        "log_every": 1,
        "colour": 0,
        "crop": 0,
    }
    result = pretrain(tmp_path / "faces", out=tmp_path / "run", config=RECIPE, **changes)
    rec = [row["rec"] for row in read_metrics(result.out / "metrics.jsonl") if "rec" in row]
    assert sum(rec[-5:]) < 0.3 * sum(rec[:5])
    assert result.val_rec < 0.15 * rec[0]
    assert load(result.model).config.trained
