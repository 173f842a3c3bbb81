"""The report of an evaluation, for every kind of label, as a browser reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from judged import toy_predictions
from markupsafe import Markup
from pages import Page, read

from openmarlin.report.evaluation import EvaluationAbout, Section, write_evaluation
from openmarlin.report.evaluation_plots import draw
from openmarlin.report.metric_words import headline, meaning, number, title
from openmarlin.report.plots import confusion_svg, scatter_svg, square_svg
from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions
from openmarlin.tasks.labels import Target
from openmarlin.tasks.mistakes import worst_mistakes
from openmarlin.tasks.predictions import Predictions

BINARY = Target("binary", ("forged",), ("real", "fake"))
EMOTION = Target("class", ("emotion",), ("happy", "sad", "<b>angry</b>"))
TAGS = Target("multilabel", ("tags",), tuple(f"tag {i}" for i in range(12)))
MOOD = Target("regression", ("valence", "arousal"), ("valence", "arousal"))
LEVEL = Target("ordinal", ("level",), ("0", "1", "2", "3"))
TARGETS = [BINARY, EMOTION, TAGS, MOOD, LEVEL]
ABOUT = EvaluationAbout("Smiles", [("Judged", "run/model")])


def toy(target: Target) -> Predictions:
    return toy_predictions(target, sex=lambda i: "fm"[i % 2])


def page_of(evaluation: Evaluation, folder: Path, about: EvaluationAbout = ABOUT) -> Page:
    page = read(write_evaluation(folder, evaluation, about))
    assert (folder / "metrics.json").is_file()
    assert (folder / "metrics.csv").is_file()
    return page


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
def test_every_kind_has_its_page(target: Target, tmp_path: Path) -> None:
    p = toy(target)
    e = evaluate_predictions(p, resamples=100, against=p, subgroups=["sex"], windows=p)
    page = page_of(e, tmp_path)
    assert "Smiles" in page.text
    assert "run/model" in page.text
    assert number(e.scores[e.main].value) in page.text
    for name in e.scores:
        assert title(name) in page.text
    for word in ("window", "95 %", "prior", "sex", "metrics.json"):
        assert word.lower() in page.text.lower()
    assert len(page.all("svg")) == len(draw(e)) > 0
    assert "nan" not in page.text.lower().replace("nan ", "nan").split()
    assert "://" not in page.source.replace("http://www.w3.org", "")


def test_names_are_escaped(tmp_path: Path) -> None:
    page = page_of(evaluate_predictions(toy(EMOTION), resamples=100), tmp_path)
    assert "<b>angry</b>" not in page.source
    assert "<b>angry</b>" in page.text


def test_kinds_have_their_plots() -> None:
    names = {
        target.kind: [f.title for f in draw(evaluate_predictions(toy(target), resamples=100))]
        for target in TARGETS
    }
    one = ["Confusion", "ROC", "Precision and recall", "Calibration", "Thresholds"]
    assert names["binary"] == names["class"] == names["ordinal"] == one
    assert names["multilabel"] == one[1:]
    assert names["regression"] == ["valence", "arousal"]


def test_one_class_alone_has_a_page_that_says_so(tmp_path: Path) -> None:
    p = replace(toy(BINARY), labels=np.ones((60, 1)))
    e = evaluate_predictions(p, resamples=100)
    page = page_of(e, tmp_path)
    assert "No row judged is real" in page.text
    assert "not defined" in page.text
    assert "ROC" not in [f.title for f in draw(e)]


def test_mistakes_have_their_crops(tmp_path: Path) -> None:
    e = evaluate_predictions(toy(BINARY), resamples=100)
    first, second = worst_mistakes(e.predictions, 2)
    crops = {first.place: [np.full((112, 112, 3), 9, np.uint8)] * 7, second.place: []}
    page = read(write_evaluation(tmp_path, e, ABOUT, crops))
    (picture,) = page.all("img")
    assert picture["width"] == str(4 * 112)
    assert first.title in page.text


def test_right_answers_leave_the_mistakes_out(tmp_path: Path) -> None:
    p = toy(BINARY)
    page = page_of(evaluate_predictions(replace(p, scores=p.labels), resamples=100), tmp_path)
    assert "Worst mistakes" not in page.text


def test_rows_without_a_face_are_listed(tmp_path: Path) -> None:
    p = toy(BINARY)
    seen = np.ones(60, bool)
    seen[[3, 4]] = False
    p = replace(p, seen=seen, problems={"v4.mp4": "no such file"})
    page = page_of(evaluate_predictions(p, resamples=100), tmp_path)
    for word in ("Not judged by a face", "v3.mp4", "no face", "unreadable", "no such file"):
        assert word in page.text


def test_verbs_add_sections_and_details(tmp_path: Path) -> None:
    section = Section("Few labels", Markup("<p id='few'>a curve</p>"), "A sentence.")
    about = replace(
        ABOUT, sections=[section], details=[("settings", [("seed", "7")])], verb="probe"
    )
    page = page_of(evaluate_predictions(toy(BINARY), resamples=100), tmp_path, about)
    for word in ("Few labels", "a curve", "A sentence.", "seed", "openmarlin probe"):
        assert word in page.text


def test_every_metric_has_its_words() -> None:
    for target in TARGETS:
        for name in evaluate_predictions(toy(target), resamples=100).scores:
            assert meaning(name), name


def test_headline_is_a_line() -> None:
    line = headline(evaluate_predictions(toy(EMOTION), resamples=100))
    assert "\n" not in line
    for word in ("UAR", "Accuracy", "prior", "60 rows", "20 groups"):
        assert word in line


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.5, "−0.500"), (1234.5, "1,234"), (float("nan"), "–"), (0.0, "0.000")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_curves_of_many_points_stay_small() -> None:
    x = np.linspace(0, 1, 100_000)
    svg = square_svg(
        {"a": (x, x**2), "b $x$": (x, np.sqrt(x))}, "c", x="x", y="y", marks=[(0.5, 0.5)]
    )
    assert len(svg) < 60_000
    root = ElementTree.fromstring(svg)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert all(name is not None and name.startswith("c-") for name in ids)
    assert "b $x$" in "".join(root.itertext())


def test_confusion_and_scatter_are_svg() -> None:
    names = [f"class {i}" for i in range(20)]
    for svg in (
        confusion_svg(np.eye(20) * 1234, names, "m"),
        confusion_svg(np.zeros((2, 2)), ["a", "b"], "n"),
        scatter_svg(np.ones(3), np.ones(3), "s", x_label="x", y_label="y"),
    ):
        ElementTree.fromstring(svg)
    assert "1,234" in confusion_svg(np.eye(2) * 1234, ["a", "b"], "m")
