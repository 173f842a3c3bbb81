"""The settings of pre-training: what is wrong is one line that names the setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.settings import group, read_settings

WHERE = {"data": "faces", "out": "run"}


def settings(**values: Any) -> PretrainSettings:
    return read_settings(PretrainSettings, None, {**WHERE, "steps": 5, **values})


def error(**values: Any) -> str:
    with pytest.raises(OpenMarlinError) as caught:
        settings(**values).architecture()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("bach", "batch"),
        ("mask_ration", "mask_ratio"),
        ("wadv", "w_adv"),
        ("shape.image_sise", "image_size"),
        ("shape.decoder_widht", "decoder_width"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, nearest: str) -> None:
    line = error(**{key: "1"})
    assert f"'{key}'" in line
    assert f"'{nearest}'" in line


@pytest.mark.parametrize(
    ("old", "new"), [("decode_share", "decode_ratio"), ("d_steps", "critic_steps")]
)
def test_an_old_key_is_answered_with_its_new_name(tmp_path: Path, old: str, new: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"{old}: 1\nsteps: 3\n")
    for call in (
        lambda: settings(**{old: "1"}),
        lambda: read_settings(PretrainSettings, recipe, WHERE),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert old in str(caught.value)
        assert new in str(caught.value)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"batch": "0"}, "batch=0"),
        ({"batch": "many"}, "batch='many'"),
        ({"mask_ratio": "1.0"}, "mask_ratio=1.0"),
        ({"decode_ratio": "0"}, "decode_ratio=0"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"devices": "0"}, "devices=0"),
        ({"devices": "all"}, "devices='all'"),
        ({"shape.depth": "deep"}, "shape.depth='deep'"),
        ({"shape.positions": "rows"}, "shape.positions='rows'"),
        ({"betas": "[0.9]"}, "betas="),
        ({"shape": "12"}, "shape=12"),
        ({"epochs": "3"}, "epochs="),
        ({"steps": "null"}, "steps="),
        ({"min_lr": "1"}, "min_lr=1.0 is above base_lr=0.00015"),
        ({"muon_lr": "0"}, "muon_lr=0"),
        ({"muon_lr": "0.02", "strategy": "fsdp"}, "muon_lr="),
        ({"data": None}, "data="),
        ({"model": "tinny"}, "'tiny'"),
        ({"shape.image_size": "100"}, "image_size 100 is not a multiple of patch 16"),
        ({"shape.heads": "5"}, "width 384 is not a multiple of heads 5"),
        ({"steps": "[1"}, "steps="),
    ],
)
def test_a_wrong_value_is_one_line(values: dict[str, Any], name: str) -> None:
    assert name in error(**values)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(InputError, match="data="):
        read_settings(PretrainSettings, None, {"out": "run", "steps": 3})


def test_changes_come_over_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "model: tiny\nshape: {image_size: 64, frames: 8}\nbase_lr: 1e-3\n"
        "regions: [nose]\nsteps: 9\n"
    )
    changes = {**WHERE, "shape.frames": "4", "flip": "yes", "regions": "mouth,hair"}
    changes |= {"steps": "null", "epochs": "2.5", "ema": "0.999"}
    result = read_settings(PretrainSettings, recipe, changes)
    assert result.shape == {"image_size": 64, "frames": 4}
    assert (result.base_lr, result.flip, result.ema) == (1e-3, True, 0.999)
    assert (result.steps, result.epochs, result.regions) == (None, 2.5, ("mouth", "hair"))
    assert result.architecture().grid == (2, 4, 4)


def test_paths_and_names_are_not_read_as_yaml() -> None:
    for name in ("faces #2", "2024", "yes", "~x"):
        assert settings(data=name, init=name).init == name
    assert settings(init="null").init is None
    assert settings(out="~/run").out == Path.home() / "run"


def test_the_saved_recipe_repeats_the_run_elsewhere() -> None:
    one = settings(base_lr="1e-5", regions="nose", overwrite=True)
    recipe = one.recipe()
    assert not {"out", "resume", "overwrite"} & set(recipe)
    again = PretrainSettings.of({**recipe, "out": "other"})
    assert again.recipe() == recipe


def test_every_setting_has_a_group_and_a_description() -> None:
    for name, field in PretrainSettings.model_fields.items():
        assert field.description, name
        assert group(field), name


def test_what_help_is_made_of_loads_without_torch() -> None:
    script = (
        "import sys, openmarlin.pretraining.settings; sys.exit('torch' in sys.modules and 'torch')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
