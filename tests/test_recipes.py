"""Every recipe is one that its verb takes, and says what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.systems import ROWS
from openmarlin.lipsync.generation.table import request_of, rows_of
from openmarlin.lipsync.generation.table_settings import TableSettings
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.settings import read_settings
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.training.optim import Plateau, make_schedule, schedule_of

RECIPES = Path(__file__).parent.parent / "recipes"
PRETRAINING = sorted(RECIPES.glob("pretrain_*.yaml"))
FINETUNING = sorted({*RECIPES.glob("finetune_*.yaml"), RECIPES / "paper_finetune.yaml"})
HERE = {"data": "store", "out": "run"}


def _read(name: str) -> PretrainSettings:
    return read_settings(PretrainSettings, RECIPES / f"pretrain_{name}.yaml", HERE)


def _read_finetuning(name: str) -> FinetuneSettings:
    return read_settings(FinetuneSettings, RECIPES / f"{name}.yaml", HERE)


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.stem)
def test_recipe_is_complete(path: Path) -> None:
    settings = read_settings(PretrainSettings, path, HERE)
    assert settings.architecture().decoder_width
    head = path.read_text(encoding="utf-8")[:400]
    assert "data=STORE" in head
    assert "out=RUN" in head


@pytest.mark.parametrize("path", FINETUNING, ids=lambda path: path.stem)
def test_finetuning_recipe_is_complete(path: Path) -> None:
    settings = read_settings(FinetuneSettings, path, HERE)
    assert settings.label == ()
    head = path.read_text(encoding="utf-8")[:500]
    assert all(word in head for word in ("data=STORE", "label=NAME", "out=RUN"))


@pytest.mark.parametrize("stage", ["shape", "renderer"])
def test_mouth_recipe_is_complete(stage: str) -> None:
    path = RECIPES / f"lipsync_{stage}_cpu.yaml"
    shape = {"shape": "run"} if stage == "renderer" else {}
    settings = read_settings(MouthSettings, path, {**HERE, **shape})
    assert settings.stage == stage
    head = path.read_text(encoding="utf-8")[:300]
    assert all(f"{name}=" in head for name in ("data", "out", *shape))


def test_all_recipes_are_there() -> None:
    names = {path.stem.removeprefix("pretrain_") for path in PRETRAINING}
    assert names == {"tiny_cpu", "small", "base", "large", "videomae_baseline"}
    parts = {read_settings(FinetuneSettings, path, HERE).train for path in FINETUNING}
    assert parts == {"full", "head", "layernorm", "lora"}


def test_finetuning_of_the_paper() -> None:
    """spec section 1: Adam 1e-4 (.5, .9), halved on a plateau of 7 epochs, ended at 1e-6."""
    recipe = _read_finetuning("paper_finetune")
    assert (recipe.rate, recipe.train, recipe.betas) == (2, "full", (0.5, 0.9))
    assert recipe.weight_decay == recipe.smoothing == recipe.mixup == recipe.crop == 0
    assert not recipe.flip
    schedule = schedule_of(recipe, 800, recipe.batch)
    assert isinstance(schedule, Plateau)
    assert schedule.lr(0) == pytest.approx(1e-4)
    assert schedule.floor == pytest.approx(1e-6)
    assert (schedule.factor, schedule.patience, schedule.epoch_steps) == (0.5, 7, 100)


def test_finetuning_of_expression_sets() -> None:
    """spec section 5: 1e-3, layer decay .75, 100 epochs, drop path .1, mixup .8, cutmix 1, .1."""
    recipe = _read_finetuning("finetune_full")
    assert (recipe.base_lr, recipe.layer_decay, recipe.epochs) == (1e-3, 0.75, 100)
    assert (recipe.drop_path, recipe.mixup, recipe.cutmix, recipe.smoothing) == (0.1, 0.8, 1, 0.1)
    assert (recipe.betas, recipe.weight_decay, recipe.warmup) == ((0.9, 0.999), 0.05, 0.05)


def test_layer_norms_as_gend_tunes_them() -> None:
    recipe = _read_finetuning("finetune_layernorm")
    assert (recipe.w_uniformity, recipe.w_alignment) == (0.5, 0.1)
    assert recipe.normalises_features


@pytest.mark.parametrize("name", ["small", "base", "large"])
def test_hyper_parameters_of_the_paper(name: str) -> None:
    """spec section 3: four devices with 16 clips each, 40 of 2000 epochs of warm-up."""
    recipe = _read(name)
    assert recipe.model == name
    assert (recipe.masking, recipe.mask_ratio, recipe.decode_ratio) == ("fasking", 0.9, 1.0)
    assert (recipe.w_adv, recipe.critic_steps, recipe.gradient_penalty) == (0.01, 1, 0)
    assert (recipe.betas, recipe.weight_decay) == ((0.9, 0.95), 0)
    assert recipe.clip_grad is recipe.ema is recipe.weight_clip is None
    assert not (recipe.flip)
    assert not (recipe.crop)
    assert not (recipe.colour)
    assert not recipe.normalize_targets
    schedule = make_schedule(2000, recipe.warmup, recipe.base_lr, recipe.min_lr, 4 * recipe.batch)
    assert schedule.warmup == 40
    assert schedule.peak == pytest.approx(1.5e-4 * 64 / 256)
    assert schedule.floor == pytest.approx(1e-5 * 64 / 256)


def test_the_baseline_differs_in_masking_and_critic_alone() -> None:
    ours, baseline = _read("small").model_dump(), _read("videomae_baseline").model_dump()
    changed = {key: baseline[key] for key in ours if ours[key] != baseline[key]}
    assert changed == {"masking": "tube", "w_adv": 0}


LIPSYNC = sorted((RECIPES / "lipsync").glob("*.yaml"))


@pytest.mark.parametrize("path", LIPSYNC, ids=lambda path: path.stem)
def test_recipe_of_a_generator_is_complete(path: Path) -> None:
    needed = {"encoder": "model"} if path.stem == "wav2lip_vit_videomae" else {}
    settings = read_settings(GeneratorSettings, path, {**HERE, **needed})
    head = path.read_text(encoding="utf-8")[:400]
    assert "data=STORE" in head
    assert "out=RUN" in head
    assert ("expert=EXPERT" in head) == (settings.system not in ("speech2vid", "lipgan"))
    # Adam at 1e-4, all the way (Wav2Lip and LipGAN), whatever a step has.
    assert settings.base_lr == settings.min_lr
    assert settings.base_lr * settings.batch / 256 == pytest.approx(1e-4, rel=1e-3)


def test_every_row_of_the_table_has_a_recipe() -> None:
    recipes = [read_settings(GeneratorSettings, p, {**HERE, "encoder": "model"}) for p in LIPSYNC]
    kinds = {(recipe.system, recipe.init) for recipe in recipes}
    assert kinds == {(row.settings["system"], row.settings.get("init", "none")) for row in ROWS}


def test_recipes_of_lip_sync_for_two_cores() -> None:
    expert = read_settings(ExpertSettings, RECIPES / "lipsync_expert_cpu.yaml", HERE)
    assert expert.kind == "points"
    table = {**HERE, "expert": "run/model"}
    settings = read_settings(TableSettings, RECIPES / "lipsync_table_cpu.yaml", table)
    for row in rows_of(settings):
        assert request_of(row, 0, settings).generator().width == 0.25
