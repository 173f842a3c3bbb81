"""Settings are written once: errors, recipes, command-line values and signatures come from them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from openmarlin import errors
from openmarlin.errors import InputError, option
from openmarlin.jobs.settings import FacesSettings
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.settings import Settings, UserPath, documented, kind, read_settings, setting
from openmarlin.training.settings import RunSettings


class Bread(Settings):
    out: UserPath = setting(..., "Where it goes.", group="Output", saved=False)
    flour: Literal["rye", "wheat"] | Annotated[int, Field(ge=1)] = setting("rye", "Kind or number.")
    loaves: int = setting(2, "How many.", ge=1, le=9)
    heat: float | None = setting(None, "Of the oven.", gt=0, free=True)
    seeds: tuple[str, ...] = setting((), "On top.")
    shape: dict[str, int | Literal["round"]] = setting({}, "Of the loaf.")
    sour: bool = setting(False, "Sourdough.")

    renamed: ClassVar[dict[str, str]] = {"rolls": "loaves"}


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_command_line", True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["out=", "path"]),
        ({"out": "x", "flour": "oat"}, ["flour='oat'", "rye, wheat", "whole number", "1"]),
        ({"out": "x", "loaves": 0}, ["loaves=0", "1", "9"]),
        ({"out": "x", "loaves": 1.5}, ["loaves=1.5"]),
        ({"out": "x", "heat": -3.0}, ["heat=-3.0", "above 0"]),
        ({"out": "x", "loafs": 3}, ["'loafs'", "'loaves'"]),
        ({"out": "x", "rolls": 3}, ["rolls=", "loaves="]),
        ({"out": "x", "shape.side": "oval"}, ["shape.side='oval'", "round"]),
        ({"out": "x", "loaves.side": 3}, ["loaves.side"]),
        ({"out": "x", "sour": "perhaps"}, ["sour='perhaps'", "true or false"]),
        ({"out": "x", "heat": object()}, ["heat=", "object", "number"]),
        ({"out": object()}, ["out=", "object", "path"]),
    ],
)
def test_an_error_is_one_line_with_the_setting_and_what_it_takes(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        read_settings(Bread, None, changes)
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.usefixtures("command_line")
def test_the_command_line_reads_its_own_spelling() -> None:
    with pytest.raises(InputError, match=r"^--loaves 0: "):
        read_settings(Bread, None, {"out": "x", "loaves": "0"})
    with pytest.raises(InputError, match=r"^shape\.side=oval: "):
        read_settings(Bread, None, {"out": "x", "shape.side": "oval"})
    assert option("limit_seconds") == "--limit-seconds"
    assert option("resume", True) == "--resume"


def test_text_is_read_as_the_command_line_writes_it() -> None:
    text = {"out": "~/loaf", "flour": "3", "loaves": "4", "heat": "null", "seeds": "oat, poppy"}
    bread = read_settings(Bread, None, {**text, "shape.side": "5", "sour": "true"})
    assert bread.out == Path.home() / "loaf"
    assert (bread.flour, bread.loaves, bread.heat, bread.sour) == (3, 4, None, True)
    assert bread.seeds == ("oat", "poppy")
    assert bread.shape == {"side": 5}


def test_names_and_paths_are_not_read_as_yaml() -> None:
    assert read_settings(Bread, None, {"out": Path("a") / "b"}).out == Path("a/b")
    assert read_settings(Bread, None, {"out": "faces #2"}).out == Path("faces #2")
    assert read_settings(Bread, None, {"out": "2024"}).out == Path("2024")


@given(
    loaves=st.integers(1, 9),
    heat=st.none() | st.floats(0.001, 1e6),
    seeds=st.lists(st.sampled_from(["oat", "poppy", "no"]), max_size=3),
    side=st.integers(-5, 5) | st.just("round"),
)
def test_a_saved_recipe_gives_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory,
    loaves: int,
    heat: float | None,
    seeds: list[str],
    side: int | str,
) -> None:
    values = {"out": "x", "loaves": loaves, "heat": heat, "seeds": seeds, "shape": {"side": side}}
    bread = Bread.of(values)
    recipe = tmp_path_factory.mktemp("recipe") / "bread.yaml"
    recipe.write_text(yaml.safe_dump(bread.recipe()))
    assert read_settings(Bread, recipe, {"out": "x"}) == bread


def test_a_recipe_holds_neither_places_nor_what_is_free() -> None:
    bread = Bread.of({"out": "x"})
    assert "out" not in bread.recipe()
    assert "heat" in bread.recipe()
    assert "heat" not in bread.recipe(free=False)


def test_changes_go_over_a_recipe_and_into_its_tables(tmp_path: Path) -> None:
    recipe = tmp_path / "bread.yaml"
    recipe.write_text("loaves: 5\nshape: {side: 3, top: 2}\n")
    bread = read_settings(Bread, recipe, {"out": "x", "loaves": "6", "shape.side": "4"})
    assert (bread.loaves, bread.shape) == (6, {"side": 4, "top": 2})


@pytest.mark.parametrize("text", ["- a\n", "a: [", "1: 2\n", "\xff", "[" * 5000])
def test_what_is_no_recipe_is_named(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "bread.yaml"
    recipe.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"bread\.yaml"):
        read_settings(Bread, recipe, {})
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_settings(Bread, tmp_path / "none.yaml", {})


@pytest.mark.parametrize("betas", ["nan,0.9", "0.9,1.5", "-0.1,0.9", "0.9"])
def test_betas_that_adamw_cannot_take_are_refused(betas: str) -> None:
    changes = {"data": "store", "out": "run", "steps": 1, "betas": betas}
    with pytest.raises(InputError, match=r"2 numbers .*, each a number of at least 0 and below 1"):
        read_settings(PretrainSettings, None, changes)


def test_the_python_twin_has_the_settings_in_its_signature_and_docs() -> None:
    @documented(Bread)
    def bake(dough: str, *, progress: bool = False, **settings: Any) -> int:
        """Bake.

        Args:
            dough: to bake.
            {settings}
        """
        return len(dough) + len(settings)

    parameters = inspect.signature(bake).parameters
    assert list(parameters) == ["dough", "progress", *Bread.model_fields]
    assert parameters["loaves"].default == 2
    assert parameters["out"].default is inspect.Parameter.empty
    assert "    loaves: How many." in (bake.__doc__ or "")
    assert bake("ab", loaves=3) == 3


def test_kinds_in_words() -> None:
    kinds = {name: kind(field) for name, field in Bread.model_fields.items()}
    assert kinds["loaves"] == "a whole number of at least 1 and of at most 9"
    assert kinds["heat"] == "a number above 0"
    assert kinds["out"] == "a path"


def test_a_url_is_refused_where_only_a_path_can_be(tmp_path: Path) -> None:
    for url in ("s3://bucket/run", Path("s3://bucket/run")):
        with pytest.raises(InputError, match=r"out=.*is a URL; this must be on this machine"):
            read_settings(RunSettings, None, {"out": url, "steps": 1})
    assert read_settings(RunSettings, None, {"out": tmp_path, "steps": 1}).out == tmp_path
    assert str(read_settings(FacesSettings, None, {"out": "s3://b/x"}).out) == "s3://b/x"
    assert read_settings(FacesSettings, None, {"out": "~"}).out == Path.home()
    with pytest.raises(InputError, match="must be a path or URL"):
        read_settings(FacesSettings, None, {"out": 7})
