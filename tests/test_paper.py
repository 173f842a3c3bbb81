"""The recipes for the paper's tables: they hold what the paper says, and their commands run.

On folders laid out like the data sets, with pictures that show nothing and a small model: that the
commands work is all that this says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disk import write
from media import write_video
from task_models import encoder
from toys import labelled_store, toy_encoder

import openmarlin
from openmarlin.model.io import save_folder
from openmarlin.settings import read_settings
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.settings import ProbeSettings
from openmarlin.training.optim import Plateau, schedule_of

RECIPES = Path(__file__).parents[1] / "recipes" / "paper"
NAMES = (
    "celebv_hq_action",
    "celebv_hq_appearance",
    "cmu_mosei_emotion",
    "cmu_mosei_sentiment2",
    "cmu_mosei_sentiment7",
    "faceforensics_c40",
)
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Several wait for each other longer than they compute, in problems as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def video(path: Path, seed: int) -> None:
    """16 frames of 32 px, another picture for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    write_video(path, [picture] * 16)


def celebv_hq(root: Path) -> dict[str, Any]:
    chance = random.Random(0)
    clips = {}
    for i in range(30):
        flags = [[chance.randint(0, 1) for _ in range(n)] for n in (3, 2)]
        emotion = {"sep_flag": False, "labels": "Neutral"}
        attributes = {"appearance": flags[0], "action": flags[1], "emotion": emotion}
        clips[f"video{i // 2}_{i}"] = {
            "ytb_id": f"video{i // 2}",
            "duration": {"start_sec": 0, "end_sec": 1},
            "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
            "attributes": attributes,
        }
        video(root / "processed" / f"video{i // 2}_{i}.mp4", i)
    mapping = {"appearance_mapping": ["male", "young", "bald"], "action_mapping": ["talk", "nod"]}
    write(root / "celebvhq_info.json", {"meta_info": mapping, "clips": clips})
    return {"split": "paper-like"}


def cmu_mosei(root: Path) -> dict[str, Any]:
    h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'openmarlin[datasets]'")
    folds: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    with h5py.File(root / "CMU_MOSEI_Labels.csd", "w") as file:
        for i in range(30):
            sentiment = (i % 7) - 3
            emotions = [float((i + k) % 3 == 0) for k in range(6)]
            file[f"All Labels/data/v{i}/intervals"] = np.array([[0.0, 0.5]])
            file[f"All Labels/data/v{i}/features"] = np.array([[sentiment, *emotions]], np.float32)
            folds["train" if i < 16 else "valid" if i < 23 else "test"].append(f"v{i}")
            video(root / "Raw/Videos/Full/Combined" / f"v{i}.mp4", i)
    lines = [f"standard_{name}_fold = {videos}" for name, videos in folds.items()]
    write(root / "cmu_mosei_std_folds.py", "\n".join(lines) + "\n")
    return {}


def faceforensics(root: Path) -> dict[str, Any]:
    pairs = [[f"{2 * i:03}", f"{2 * i + 1:03}"] for i in range(6)]
    for name, some in (("train", pairs[:2]), ("val", pairs[2:4]), ("test", pairs[4:])):
        write(root / "splits" / f"{name}.json", some)
    for number, (a, b) in enumerate(pairs):
        for k, real in enumerate((a, b)):
            seed = 100 * number + 10 * k
            video(root / f"original_sequences/youtube/c40/videos/{real}.mp4", seed)
            fake = f"{a}_{b}" if k else f"{b}_{a}"
            for m, method in enumerate(METHODS):
                path = root / f"manipulated_sequences/{method}/c40/videos/{fake}.mp4"
                video(path, seed + m + 1)
    return {"compression": "c40"}


LAYOUTS = {"celebv_hq": celebv_hq, "cmu_mosei": cmu_mosei, "faceforensics": faceforensics}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tables that `manifest` makes of the data sets."""
    made = {}
    for layout, build in LAYOUTS.items():
        root = tmp_path_factory.mktemp(layout)
        settings = build(root)
        made[layout] = root / "labels.csv"
        openmarlin.manifest(layout, root, out=made[layout], **settings)
    return made


def test_every_table_has_both_recipes() -> None:
    files = {path.stem for path in RECIPES.glob("*.yaml")}
    assert files == {f"{name}_{verb}" for name in NAMES for verb in ("probe", "finetune")}


@pytest.mark.parametrize("name", NAMES)
def test_recipes_hold_what_the_paper_says(name: str) -> None:
    """Four shares of the labels, five draws; Adam 1e-4 (.5, .9) on a plateau, down to 1e-6."""
    here = {"out": "run"}
    probe = read_settings(ProbeSettings, RECIPES / f"{name}_probe.yaml", here)
    assert (probe.head, probe.model, probe.rate) == ("paper", "marlin_vit_base_ytf", 2)
    assert (probe.shares, probe.draws) == ((1.0, 0.5, 0.1, 0.01), 5)
    here["data"] = "labels.csv"
    tuned = read_settings(FinetuneSettings, RECIPES / f"{name}_finetune.yaml", here)
    assert tuned.label == probe.label
    assert (tuned.train, tuned.betas, tuned.model) == ("full", (0.5, 0.9), probe.model)
    schedule = schedule_of(tuned, 800, tuned.batch)
    assert isinstance(schedule, Plateau)
    assert schedule.lr(0) == pytest.approx(1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_probe_of_a_table_runs(name: str, tables: dict[str, Path], tmp_path: Path) -> None:
    save_folder(encoder(), tmp_path / "encoder")
    layout = next(layout for layout in LAYOUTS if name.startswith(layout))
    result = openmarlin.probe(
        tables[layout],
        config=RECIPES / f"{name}_probe.yaml",
        out=tmp_path / "run",
        model=tmp_path / "encoder",
        precropped=True,
        shares=(1.0, 0.5),
        draws=2,
        resamples=100,
    )
    assert not result.failures
    assert [(draw.share, draw.draw) for draw in result.draws] == [(1.0, 0), (0.5, 0), (0.5, 1)]
    assert (result.model / "head.safetensors").is_file()
    assert result.evaluation.counts.labelled > 0


COLUMNS = {
    "appearance": ["male;young", "bald", "none", "young"],
    "action": ["talk", "talk;nod", "none", "nod"],
    "emotions": ["happy", "sad;fear", "none", "anger"],
    "sentiment2": ["negative", "non-negative", "negative", "non-negative"],
    "sentiment7": ["-1", "0", "1", "2"],
    "label": ["real", "fake", "fake", "real"],
}


@pytest.mark.parametrize("name", NAMES)
def test_the_fine_tuning_of_a_table_runs(name: str, tmp_path: Path) -> None:
    columns = {key: (values * 6)[:24] for key, values in COLUMNS.items()}
    labelled_store(tmp_path / "store", columns)
    result = openmarlin.finetune(
        tmp_path / "store",
        config=RECIPES / f"{name}_finetune.yaml",
        out=tmp_path / "run",
        model=str(toy_encoder(tmp_path / "encoder")),
        rate=1,
        stride=4,
        epochs=1,
        workers=0,
        accelerator="cpu",
        precision="fp32",
    )
    assert result.evaluation is not None
    assert (result.out / "model" / "head.safetensors").is_file()
