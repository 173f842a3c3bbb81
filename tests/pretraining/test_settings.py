"""Recipes: what is unknown or wrong is told in one line, with the nearest name there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.training.settings import PretrainSettings, merge, read_recipe, read_settings

WHERE = {"data": "faces", "out": "run"}


def settings(**values: Any) -> PretrainSettings:
    return read_settings(None, {**WHERE, "steps": 5, **values})


def told(**values: Any) -> str:
    with pytest.raises(OpenMarlinError) as caught:
        settings(**values).architecture()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("bach", "batch"),
        ("mask_ration", "mask_ratio"),
        ("learning_rate", None),
        ("wadv", "w_adv"),
        ("shape.image_sise", "shape.image_size"),
        ("shape.decoder_widht", "shape.decoder_width"),
    ],
)
def test_an_unknown_key_and_the_nearest_there_is(key: str, nearest: str | None) -> None:
    line = told(**{key: "1"})
    assert line.startswith(f"unknown setting '{key}'")
    if nearest is not None:
        assert line.endswith(f"did you mean '{nearest.removeprefix('shape.')}'?")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"batch": "0"}, "setting 'batch': Input should be greater than or equal to 1 (got 0)"),
        ({"batch": "many"}, "setting 'batch': Input should be a valid integer"),
        ({"mask_ratio": "1.0"}, "setting 'mask_ratio': Input should be less than 1 (got 1.0)"),
        ({"decode_share": "0"}, "setting 'decode_share': Input should be greater than 0"),
        ({"precision": "fp16"}, "setting 'precision': Input should be 'auto', 'fp32' or 'bf16'"),
        ({"devices": "0"}, "setting 'devices': Input should be greater than or equal to 1"),
        ({"devices": "all"}, "setting 'devices': "),
        ({"shape.depth": "deep"}, "setting 'shape.depth': Input should be a valid integer"),
        (
            {"shape.positions": "rows"},
            "setting 'shape.positions': Input should be 'index' or 'axes'",
        ),
        ({"betas": "[0.9]"}, "setting 'betas': Field required"),
        ({"shape": "12"}, "setting 'shape': Input should be a valid dictionary"),
        ({"epochs": "3"}, "settings: give either epochs or steps"),
        ({"steps": "null"}, "settings: give either epochs or steps"),
        ({"min_lr": "1"}, "settings: min_lr 1 is above base_lr 0.00015"),
        ({"muon_lr": "0"}, "setting 'muon_lr': Input should be greater than 0"),
        ({"muon_lr": "0.02", "strategy": "fsdp"}, "settings: muon_lr needs whole matrices"),
        ({"data": None}, "setting 'data': "),
        ({"model": "tinny"}, "unknown model 'tinny': did you mean 'tiny'?"),
        ({"shape.image_size": "100"}, "image_size 100 is not a multiple of patch 16"),
        ({"shape.heads": "5"}, "width 384 is not a multiple of heads 5"),
        ({"shape.width": "0"}, "width Input should be greater than 0"),
        ({"batch.size": "3"}, "setting 'batch' has no parts, so 'batch.size' cannot be set"),
        ({"steps": "[1"}, "steps=[1: the value cannot be read; quote it"),
    ],
)
def test_a_wrong_value_is_one_line(values: dict[str, Any], line: str) -> None:
    start = {"batch": 3} if "batch.size" in values else {}
    assert line in told(**start, **values)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(InputError, match="setting 'out' is missing: add out="):
        read_settings(None, {"data": "faces", "steps": 3})


def test_changes_come_over_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "model: tiny\nshape: {image_size: 64, frames: 8}\nbase_lr: 1e-3\n"
        "regions: [nose]\nsteps: 9\n"
    )
    changes = {**WHERE, "shape.frames": "4", "flip": "yes", "regions": "[mouth, hair]"}
    found = read_settings(recipe, {**changes, "steps": "null", "epochs": "2.5", "ema": "0.999"})
    assert found.shape == {"image_size": 64, "frames": 4}
    assert (found.base_lr, found.flip, found.ema) == (1e-3, True, 0.999)
    assert (found.steps, found.epochs, found.regions) == (None, 2.5, ("mouth", "hair"))
    assert found.architecture().grid == (2, 4, 4)


def test_values_of_any_type_are_taken_as_they_are() -> None:
    recipe = {"shape": {"depth": 3}, "batch": 2}
    changes = {"shape.heads": 4, "steps": 7, "clip_grad": None, "data": Path("a")}
    assert merge(recipe, changes) == {
        "shape": {"depth": 3, "heads": 4},
        "batch": 2,
        "steps": 7,
        "clip_grad": None,
        "data": Path("a"),
    }
    assert recipe == {"shape": {"depth": 3}, "batch": 2}


@pytest.mark.parametrize("name", ["faces #2", "2024", "yes", "a: b", "[x]", "~x", "1e5"])
def test_paths_and_names_are_not_read_as_yaml(name: str) -> None:
    found = settings(data=name, init=name)
    assert (found.data, found.init) == (Path(name), name)
    assert settings(init="null").init is None


def test_home_is_where_a_shell_would_find_it() -> None:
    assert settings(out="~/run").out == Path.home() / "run"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "is not a recipe: it must be lines of `key: value`"),
        ("- batch\n", "is not a recipe"),
        ("3: 4\n", "is not a recipe"),
        ("batch: [1\n", "is not YAML: "),
        ("batch: \xff\xfe", "is not YAML: "),
    ],
)
def test_a_recipe_that_cannot_be_read(tmp_path: Path, text: str | None, line: str) -> None:
    file = tmp_path / "r.yaml"
    if text is not None:
        file.write_bytes(text.encode("latin1"))
    with pytest.raises(InputError) as caught:
        read_recipe(file)
    assert str(caught.value).startswith(f"{file}: {line}")
    assert "\n" not in str(caught.value)


def test_a_recipe_with_a_misspelt_key(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: tiny\nmaskin: tube\n")
    with pytest.raises(InputError, match="unknown setting 'maskin': did you mean 'masking'"):
        read_settings(tmp_path / "r.yaml", WHERE)
