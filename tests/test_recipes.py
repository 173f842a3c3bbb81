"""Every recipe is one that `pretrain` takes, and says what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.settings import read_settings
from openmarlin.training.optim import make_schedule

RECIPES = Path(__file__).parent.parent / "recipes"
HERE = {"data": "store", "out": "run"}


def _read(name: str) -> PretrainSettings:
    return read_settings(PretrainSettings, RECIPES / f"pretrain_{name}.yaml", HERE)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipe_is_complete(path: Path) -> None:
    settings = read_settings(PretrainSettings, path, HERE)
    assert settings.architecture().decoder_width
    head = path.read_text(encoding="utf-8")[:400]
    assert "data=STORE" in head
    assert "out=RUN" in head


def test_all_recipes_are_there() -> None:
    names = {path.stem.removeprefix("pretrain_") for path in RECIPES.glob("*.yaml")}
    assert names == {"tiny_cpu", "small", "base", "large", "videomae_baseline"}


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
