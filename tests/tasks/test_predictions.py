"""Predictions as a table: written and read back, and those of anybody."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmarlin.data.manifest import Row
from openmarlin.errors import InputError
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.predictions import Predictions, read_predictions, read_target

BINARY = Target("binary", ("forged",), ("real", "fake"))
EMOTION = Target("class", ("emotion",), ("happy", "sad", "angry"))
TAGS = Target("multilabel", ("a", "b"), ("a", "b"))
WORDS = Target("multilabel", ("tags",), ("smile", "blink"))
MOOD = Target("regression", ("valence", "arousal"), ("valence", "arousal"))
LEVEL = Target("ordinal", ("level",), ("0", "1", "2"))


def rows_of(folder: Path, target: Target, labels: Values) -> list[Row]:
    rows = []
    for i, label in enumerate(labels):
        words = target.words(label)
        if len(target.columns) == len(words):
            cells = dict(zip(target.columns, words, strict=True))
        else:
            names = [name for name, y in zip(target.classes, label, strict=True) if y]
            cells = {target.columns[0]: ";".join(names) or "none"}
        part = (float(i), i + 1.5) if i % 2 else (None, None)
        rows.append(Row(folder / f"v{i // 2}.mp4", *part, "test", f"g{i}", cells))
    return rows


def some(target: Target, folder: Path, n: int = 6, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    if target.kind == "regression":
        labels, scores = rng.normal(size=(n, 2)).round(3), rng.normal(size=(n, 2))
    elif target.is_one_of:
        labels = rng.integers(0, 3, (n, 1)).astype(float)
        scores = rng.dirichlet(np.ones(3), n)
    else:
        labels = rng.integers(0, 2, (n, len(target.outputs))).astype(float)
        scores = rng.random((n, len(target.outputs)))
    rows = rows_of(folder, target, labels)
    return Predictions(target, rows, labels, scores, rng.random(n) < 0.7)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "target", [BINARY, EMOTION, TAGS, WORDS, MOOD, LEVEL], ids=lambda t: t.name
)
def test_a_table_survives(target: Target, tmp_path: Path) -> None:
    p = some(target, tmp_path)
    path = p.write(tmp_path / "predictions.csv")
    back = read_predictions(path, target, p.rows)
    assert back.scores == pytest.approx(p.scores, rel=1e-5)
    np.testing.assert_array_equal(back.labels, p.labels)
    np.testing.assert_array_equal(back.seen, p.seen)
    assert back.decisions == pytest.approx(p.decisions, rel=1e-5)


@pytest.mark.parametrize("target", [BINARY, EMOTION, TAGS, WORDS, MOOD], ids=lambda t: t.name)
def test_a_table_says_what_it_predicts(target: Target, tmp_path: Path) -> None:
    p = some(target, tmp_path, n=12)
    path = p.write(tmp_path / "predictions.csv")
    read = read_target(path, [], p.rows)
    assert (read.kind, read.columns) == (target.kind, target.columns)
    assert set(read.classes) == set(target.classes)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    scores=hnp.arrays(float, (8, 2), elements=st.integers(0, 1000).map(lambda i: i / 1000)),
    limits=st.tuples(*[st.floats(0.01, 0.99)] * 2),
)
def test_decisions_survive_whatever_the_thresholds(
    scores: Values, limits: tuple[float, float], tmp_path: Path
) -> None:
    p = replace(some(TAGS, tmp_path, 8), scores=scores, thresholds=limits)
    back = read_predictions(p.write(tmp_path / "predictions.csv"), TAGS, p.rows)
    np.testing.assert_array_equal(back.decisions, p.decisions)


def test_binary_words_of_a_table_set_the_threshold(tmp_path: Path) -> None:
    rows = [Row(tmp_path / f"{i}.mp4", labels={"forged": "real"}) for i in range(3)]
    text = "video,p_fake,predicted_forged\n0.mp4,.1,real\n1.mp4,.3,fake\n2.mp4,.9,fake\n"
    back = read_predictions(write(tmp_path / "p.csv", text), BINARY, rows)
    assert back.decisions[:, 0].tolist() == [0, 1, 1]
    odd = text.replace("2.mp4,.9,fake", "2.mp4,.9,real")  # follows from no threshold
    back = read_predictions(write(tmp_path / "p.csv", odd), BINARY, rows)
    assert back.thresholds == ()
    assert back.decisions[:, 0].tolist() == [0, 0, 1]


def test_columns_and_rows_of_the_file(tmp_path: Path) -> None:
    p = some(EMOTION, tmp_path, 2)
    with p.write(tmp_path / "predictions.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    assert head == [
        "video", "start_s", "end_s", "split", "group", "emotion", "predicted_emotion",
        "p_happy", "p_sad", "p_angry", "face_seen",
    ]  # fmt: skip
    assert first[:5] == [str(tmp_path / "v0.mp4"), "", "", "test", "g0"]
    assert second[1:3] == ["1.0", "2.5"]


def test_unknown_labels_and_answers_are_empty_cells(tmp_path: Path) -> None:
    p = some(BINARY, tmp_path, 2)
    scores = np.array([[np.nan], [0.7]])
    p = replace(p, scores=scores, rows=[replace(p.rows[0], labels={}), p.rows[1]])
    with p.write(tmp_path / "predictions.csv").open(newline="") as file:
        first = next(iter(csv.DictReader(file)))
    assert first["forged"] == first["predicted_forged"] == first["p_fake"] == ""
    back = read_predictions(tmp_path / "predictions.csv", BINARY, [p.rows[1]])
    assert back.scores[0, 0] == pytest.approx(0.7)


def test_anybodys_table_in_any_order_with_gaps(tmp_path: Path) -> None:
    rows = [Row(tmp_path / f"{i}.mp4", labels={"forged": "fake"}) for i in range(3)]
    path = write(tmp_path / "p.csv", "video;score\n2.mp4;.9\n0.mp4;.1\nelsewhere.mp4;1\n")
    p = read_predictions(path, BINARY, rows)
    assert p.scores[[0, 2], 0].tolist() == [0.1, 0.9]
    assert np.isnan(p.scores[1, 0])
    assert p.seen.tolist() == [True, False, True]


@pytest.mark.parametrize("word", ["0", "false", "False"])
def test_a_face_that_was_not_seen(word: str, tmp_path: Path) -> None:
    rows = [Row(tmp_path / "a.mp4", labels={"forged": "1"})]
    path = write(tmp_path / "p.csv", f"video,p_fake,face_seen\na.mp4,.5,{word}\n")
    assert read_predictions(path, BINARY, rows).seen.tolist() == [False]


@pytest.mark.parametrize(
    ("target", "text", "words"),
    [
        (BINARY, "video,p_fakes\na.mp4,.5\n", ["p_fake", "p_fakes"]),
        (EMOTION, "video,p_happy,p_sad\na.mp4,.5,.5\n", ["p_angry"]),
        (MOOD, "video,predicted_valence\na.mp4,1\n", ["predicted_arousal"]),
        (BINARY, "video,p_fake\na.mp4,1.5\n", ["a.mp4", "1.5", "0 to 1"]),
        (BINARY, "video,p_fake\na.mp4,-0.1\n", ["-0.1"]),
        (BINARY, "video,p_fake\na.mp4,high\n", ["a.mp4", "'high'"]),
        (MOOD, "video,predicted_valence,predicted_arousal\na.mp4,inf,0\n", ["inf", "no number"]),
        (EMOTION, "video,p_happy,p_sad,p_angry\na.mp4,.5,.1,.1\n", ["a.mp4", "0.7", "sum to 1"]),
        (BINARY, "video,p_fake\nb.mp4,.5\n", ["none of the 1"]),
        (BINARY, "video,p_fake\na.mp4,\n", ["none of the 1"]),
        (BINARY, "video,p_fake\na.mp4,.5\na.mp4,.6\n", ["a.mp4", "twice", "0.5", "0.6"]),
        (BINARY, "clip,p_fake\na.mp4,.5\n", ["video", "clip"]),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    target: Target, text: str, words: list[str], tmp_path: Path
) -> None:
    labels = {"forged": "fake", "emotion": "sad", "valence": "1", "arousal": "0"}
    path = write(tmp_path / "p.csv", text.replace(".5\na.mp4,.6", "0.5\na.mp4,0.6"))
    with pytest.raises(InputError) as error:
        read_predictions(path, target, [Row(tmp_path / "a.mp4", labels=labels)])
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_something_that_is_no_table(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pt", "")
    with pytest.raises(InputError, match=r"model\.pt"):
        read_target(path, [], [])


def test_names_that_do_not_say_what_is_predicted(tmp_path: Path) -> None:
    rows = [Row(tmp_path / f"{v}.mp4", labels={"forged": v, "sex": v}) for v in ("0", "1")]
    path = write(tmp_path / "p.csv", "video,score\n0.mp4,.5\n")
    with pytest.raises(InputError, match=r"label.*score.*forged, sex"):
        read_target(path, [], rows)
    assert read_target(path, ["forged"], rows).columns == ("forged",)
    assert read_target(path, ["forged:class"], rows).kind == "class"


def test_a_class_that_no_row_has_is_known_by_its_probability(tmp_path: Path) -> None:
    rows = [Row(tmp_path / f"{v}.mp4", labels={"emotion": v}) for v in ("happy", "sad")]
    text = "video,emotion_model,p_happy,p_sad,p_angry\nhappy.mp4,x,.5,.3,.2\n"
    target = read_target(write(tmp_path / "p.csv", text), [], rows)
    assert (target.kind, target.classes) == ("class", ("happy", "sad", "angry"))


def test_parts_and_takes(tmp_path: Path) -> None:
    p = some(BINARY, tmp_path, 6)
    p = replace(p, rows=[replace(r, split=("val", "test")[i % 2]) for i, r in enumerate(p.rows)])
    assert len(p.part("val")) == 3
    assert p.part("test").scores[:, 0].tolist() == p.scores[1::2, 0].tolist()
    assert len(p.part("train")) == 0
    assert p.take(np.array([4, 0])).rows == [p.rows[4], p.rows[0]]
