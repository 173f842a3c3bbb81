"""Labels: what kind a column is, what its cells mean, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.data.manifest import Row
from openmarlin.errors import InputError
from openmarlin.tasks.labels import Target, check_columns, infer_target, split_names


def table(**columns: Sequence[str]) -> list[Row]:
    """Rows with these columns."""
    n = len(next(iter(columns.values())))
    return [
        Row(Path(f"{i}.mp4"), labels={name: cells[i] for name, cells in columns.items()})
        for i in range(n)
    ]


def numbers(target: Target, rows: Sequence[Row]) -> list[float]:
    return [float(value) for value in target.encode(rows)[:, 0]]


@pytest.mark.parametrize(
    ("cells", "kind", "classes"),
    [
        (["0", "1", "1"], "binary", ("0", "1")),
        (["1", "-1"], "binary", ("-1", "1")),
        (["True", "False"], "binary", ("False", "True")),
        (["fake", "real"], "binary", ("real", "fake")),
        (["FAKE", "REAL"], "binary", ("REAL", "FAKE")),
        (["1.0", "0.0", ""], "binary", ("0", "1")),
        (["1", "1.0", "0"], "binary", ("0", "1")),
        (["yes", "no", "nan"], "binary", ("no", "yes")),
        (["f", "m"], "class", ("f", "m")),
        (["happy", "sad", "angry"], "class", ("angry", "happy", "sad")),
        (["2", "10", "1"], "class", ("1", "2", "10")),
        (["2.0", "10.0", "1"], "class", ("1", "2", "10")),
        (["a;b", "a", "none"], "multilabel", ("a", "b")),
        (["0.5", "1", "2"], "regression", ("x",)),
        ([str(i) for i in range(31)], "regression", ("x",)),
        (["1e3", "-.5"], "regression", ("x",)),
        (["7", "x"], "class", ("7", "x")),
    ],
)
def test_kind_and_classes_are_read_from_the_cells(
    cells: list[str], kind: str, classes: tuple[str, ...]
) -> None:
    target = infer_target(["x"], table(x=cells))
    assert (target.kind, target.classes, target.columns) == (kind, classes, ("x",))


@pytest.mark.parametrize(
    ("label", "cells", "kind", "classes"),
    [
        ("x:class", ["0", "1"], "class", ("0", "1")),
        ("x:ordinal", ["10", "9", "-1"], "ordinal", ("-1", "9", "10")),
        ("x:regression", ["0", "1"], "regression", ("x",)),
        ("x:multilabel", ["a", "b"], "multilabel", ("a", "b")),
        ("x:binary", ["cat", "dog"], "binary", ("cat", "dog")),
        ("x:binary", ["real", "swap"], "binary", ("real", "swap")),
        ("x:binary", ["fake", "genuine"], "binary", ("genuine", "fake")),
        ("x:binary", ["1", "2"], "binary", ("1", "2")),
        ("x:binary", ["0", "-1"], "binary", ("-1", "0")),
    ],
)
def test_kind_can_be_said(
    label: str, cells: list[str], kind: str, classes: tuple[str, ...]
) -> None:
    target = infer_target([label], table(x=cells))
    assert (target.kind, target.classes) == (kind, classes)


def test_several_columns_make_one_target() -> None:
    rows = table(smile=["1", "0"], blink=["yes", ""], v=["0.5", "1"], a=["-1", "nan"])
    tags = infer_target(["smile", "blink"], rows)
    assert (tags.kind, tags.classes, tags.values) == (
        "multilabel",
        ("smile", "blink"),
    ) * 1 + (("smile", "blink"),)
    assert tags.encode(rows)[0].tolist() == [1, 1]
    assert math.isnan(tags.encode(rows)[1, 1])
    mood = infer_target(["v", "a"], rows)
    assert (mood.kind, mood.outputs) == ("regression", ("v", "a"))
    flags = infer_target(["smile:regression", "v"], rows)
    assert flags.kind == "regression"


def test_patterns_name_columns_once_each() -> None:
    rows = table(au_1=["1", "0"], au_2=["0", "1"], b=["0", "1"])
    assert infer_target(["au_*"], rows).columns == ("au_1", "au_2")
    assert infer_target(["au_2", "au_*:multilabel"], rows).columns == ("au_2", "au_1")


def test_a_column_may_have_a_colon_in_its_name() -> None:
    rows = table(**{"a:b": ["0", "1"]})
    assert infer_target(["a:b"], rows).columns == ("a:b",)


@pytest.mark.parametrize(
    ("labels", "columns", "words"),
    [
        ([], {"x": ["0", "1"]}, ["label", "x"]),
        (["smle"], {"smile": ["0", "1"]}, ["'smle'", "smile"]),
        (["x:clas"], {"x": ["0", "1"]}, ["'clas'", "class"]),
        (["x"], {"x": ["", "nan", " "]}, ["'x'", "empty"]),
        (["x"], {"x": ["3", "3.0", ""]}, ["'x'", "one value", "'3'"]),
        (["x:multilabel"], {"x": ["none", "none"]}, ["'x'", "none"]),
        (["x:binary"], {"x": ["a", "b", "c"]}, ["a, b, c", "class"]),
        (["x:binary"], {"x": ["yes", "true"]}, ["true, yes"]),
        (["x", "y"], {"x": ["a", "b"], "y": ["0", "1"]}, ["x, y", "yes or no"]),
        (["x:class", "y"], {"x": ["0", "1"], "y": ["0", "1"]}, ["2 columns", "class"]),
        (
            ["x:class", "y:regression"],
            {"x": ["0", "1"], "y": ["0", "1"]},
            ["class and regression"],
        ),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    labels: list[str], columns: dict[str, list[str]], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        infer_target(labels, table(**columns))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_labels_become_numbers() -> None:
    rows = table(
        e=["sad", "", "angry", "nan"], t=["a;b", "none", "", " b ; "], v=["1", "", "x", "2"]
    )
    emotion = infer_target(["e"], rows)
    assert emotion.encode(rows).shape == (4, 1)
    assert numbers(emotion, rows[:1]) == [1]
    assert np.isnan(emotion.encode(rows)[[1, 3], 0]).all()
    tags = infer_target(["t"], rows)
    assert tags.encode(rows)[[0, 1, 3]].tolist() == [[1, 1], [0, 0], [0, 1]]
    assert np.isnan(tags.encode(rows)[2]).all()


@pytest.mark.parametrize(
    ("target", "cell", "words"),
    [
        (Target("class", ("x",), ("a", "b")), "c", ["'c'", "a, b"]),
        (Target("ordinal", ("x",), ("0", "1")), "2", ["'2'"]),
        (Target("multilabel", ("x",), ("a", "b")), "a;z", ["'z'"]),
        (Target("binary", ("x",), ("cat", "dog")), "1", ["'1'", "cat"]),
        (Target("binary", ("x",), ("real", "fake")), "unclear", ["'unclear'"]),
        (Target("regression", ("x",), ("x",)), "much", ["'much'", "no number"]),
        (Target("regression", ("x",), ("x",)), "inf", ["'inf'"]),
        (Target("class", ("x",), tuple(map(str, range(40)))), "a", ["..."]),
    ],
)
def test_a_cell_that_the_target_does_not_know(target: Target, cell: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        target.encode(table(x=["", cell]))
    assert "1.mp4" in str(error.value)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_flag_that_is_none() -> None:
    target = Target("multilabel", ("x", "y"), ("x", "y"))
    with pytest.raises(InputError, match=r"0\.mp4.*y.*'maybe'"):
        target.encode(table(x=["1"], y=["maybe"]))


def test_other_words_for_yes_and_no_are_understood() -> None:
    target = Target("binary", ("x",), ("real", "fake"))
    assert numbers(target, table(x=["fake", "1", "FAKE", "true", "real", "0", "no"])) == [
        1, 1, 1, 1, 0, 0, 0,
    ]  # fmt: skip
    swapped = Target("binary", ("x",), ("real", "swap"))
    assert numbers(swapped, table(x=["swap", "1", "0", "real"])) == [1, 1, 0, 0]


def test_whole_numbers_may_be_written_with_a_point() -> None:
    """A column with gaps comes out of pandas as 1.0, 2.0; one without as 1, 2."""
    rows = table(x=["1.0", "2.0", "3.00", ""])
    target = infer_target(["x"], rows)
    assert target.classes == ("1", "2", "3")
    assert numbers(target, table(x=["3", "1.0"])) == [2, 0]


def test_a_column_that_is_not_there() -> None:
    rows = table(smile=["0", "1"])
    with pytest.raises(InputError, match=r"'smiles'.*smile"):
        check_columns(["smiles"], rows)
    with pytest.raises(InputError, match="'x'"):
        Target("class", ("x",), ("a", "b")).encode(rows)
    assert Target("class", ("x",), ("a", "b")).encode([*table(x=["a"]), *rows])[0, 0] == 0


def test_outputs_and_values_of_each_kind() -> None:
    binary = Target("binary", ("x",), ("no", "yes"))
    assert (binary.outputs, binary.values, binary.name) == (("yes",), ("x",), "x")
    classes = Target("class", ("x",), ("a", "b", "c"))
    assert (classes.outputs, classes.values) == (("a", "b", "c"), ("x",))
    assert classes.is_one_of
    assert Target("ordinal", ("x",), ("a", "b")).is_one_of
    assert not binary.is_one_of
    tags = Target("multilabel", ("x",), ("a", "b"))
    assert (tags.outputs, tags.values) == (("a", "b"), ("a", "b"))
    mood = Target("regression", ("v", "a"), ("v", "a"))
    assert (mood.outputs, mood.name) == (("v", "a"), "v, a")


def test_names_in_a_cell() -> None:
    assert split_names("a; b;;c ") == ["a", "b", "c"]
    assert split_names("none") == split_names("None") == split_names("") == []


words = st.text(st.characters(categories=["L"]), min_size=1, max_size=6)


@given(st.lists(words, min_size=2, max_size=8, unique_by=str.lower), st.data())
def test_labels_survive_words_and_back(names: list[str], data: st.DataObject) -> None:
    cells = data.draw(st.lists(st.sampled_from([*names, ""]), min_size=1))
    rows = table(x=[*names, *cells])
    target = infer_target(["x:class"], rows)
    encoded = target.encode(rows)
    again = table(x=[target.words(label)[0] for label in encoded])
    np.testing.assert_array_equal(target.encode(again), encoded)
    assert Target.of(target.as_dict()) == target


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=9))
def test_quantities_survive(values: list[float]) -> None:
    target = Target("regression", ("x",), ("x",))
    rows = table(x=["nan" if math.isnan(v) else repr(v) for v in values])
    np.testing.assert_array_equal(target.encode(rows)[:, 0], values)


@given(st.lists(st.lists(st.sampled_from("abc"), unique=True), min_size=1, max_size=6))
def test_names_survive(cells: list[list[str]]) -> None:
    target = Target("multilabel", ("x",), ("a", "b", "c"))
    encoded = target.encode(table(x=[";".join(cell) or "none" for cell in cells]))
    for label, cell in zip(encoded, cells, strict=True):
        assert {name for name, y in zip("abc", label, strict=True) if y} == set(cell)
        assert target.words(label) == [str(int(y)) for y in label]
