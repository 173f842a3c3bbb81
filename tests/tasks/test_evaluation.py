"""Evaluations: intervals by group, what is counted, comparisons, subgroups, levels."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import BINARY, EMOTION, TARGETS, rows_of
from judged import toy_predictions as toy

from openmarlin.errors import InputError
from openmarlin.tasks.evaluation import evaluate_predictions, subjects
from openmarlin.tasks.labels import Target
from openmarlin.tasks.metrics import measure
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.resampling import Resamples


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
def test_numbers_are_those_of_measure_within_their_intervals(target: Target) -> None:
    p = toy(target, 90)
    e = evaluate_predictions(p, resamples=200)
    points = measure(p.labels, p.scores, target)
    assert {name: s.value for name, s in e.scores.items()} == pytest.approx(points)
    for name, score in e.scores.items():
        assert score.low <= score.high
        if not name.startswith("ece"):  # resamples repeat rows, which makes the ECE larger
            assert score.low <= score.value <= score.high, name
    assert e.main in e.scores
    assert set(e.prior) == set(e.scores)


def test_equal_seeds_equal_intervals() -> None:
    p = toy(BINARY)
    one, two, other = (evaluate_predictions(p, resamples=100, seed=s) for s in (1, 1, 2))
    assert one.scores == two.scores
    assert one.scores["auc"].low != other.scores["auc"].low


def test_groups_are_drawn_whole() -> None:
    rows = rows_of(12, 3)
    draws = Resamples(rows, 50, 0)
    assert draws.n_groups == 4
    seen = draws.run(rows, lambda w: {f"{i}": w[:, i] for i in range(12)} | {"sum": w.sum(axis=1)})
    for group in range(4):
        first = seen[f"{3 * group}"]
        assert all((seen[f"{3 * group + k}"] == first).all() for k in range(3))
    assert (seen["sum"] == 12).all()  # equal groups: as many rows as there are


def test_interval_of_a_mean_is_that_of_its_groups() -> None:
    """Rows of a group are copies: the interval is as wide as if there were only groups."""
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.5).astype(float)
    scores = np.where(rng.random(60) < 0.7, labels, 1 - labels)

    def width(times: int, a_group: int) -> float:
        y, p = (np.repeat(v, times)[:, None] for v in (labels, scores))
        rows = rows_of(60 * times, a_group)
        e = evaluate_predictions(Predictions(BINARY, rows, y, p, np.ones(len(y), bool)), seed=3)
        return e.scores["accuracy"].high - e.scores["accuracy"].low

    alone, copies = width(1, 1), width(9, 9)
    assert copies == pytest.approx(alone, rel=0.15)
    expected = 2 * 1.96 * math.sqrt(0.7 * 0.3 / 60)
    assert alone == pytest.approx(expected, rel=0.25)
    assert width(9, 1) < 0.5 * alone  # what pretending that rows are independent would give


def test_one_group_has_no_interval_and_says_so() -> None:
    p = toy(BINARY, 20, a_group=20)
    e = evaluate_predictions(p, resamples=100)
    assert math.isnan(e.scores["auc"].low)
    assert e.scores["auc"].note
    assert any("1 groups are few" in note for note in e.notes)


def test_a_metric_that_some_resamples_lack_says_so() -> None:
    p = toy(BINARY, 8, a_group=1)
    labels = np.zeros((8, 1))
    labels[0] = 1
    e = evaluate_predictions(replace(p, labels=labels), resamples=300)
    assert "resamples" in e.scores["auc"].note
    assert math.isfinite(e.scores["auc"].low)


def test_rows_without_label_are_counted_and_left_out() -> None:
    p = toy(BINARY, 40)
    labels = p.labels.copy()
    labels[:10] = np.nan
    e = evaluate_predictions(replace(p, labels=labels), resamples=100)
    assert (e.counts.rows, e.counts.labelled) == (40, 30)
    assert len(e.predictions) == 30
    kept = measure(p.labels[10:], p.scores[10:], BINARY)
    assert e.scores["auc"].value == pytest.approx(kept["auc"])
    assert any("10 of 40" in note for note in e.notes)


def test_no_labels_at_all_is_refused() -> None:
    p = toy(BINARY, 4)
    with pytest.raises(InputError, match="forged"):
        evaluate_predictions(replace(p, labels=p.labels * np.nan))


def test_rows_without_an_answer_count_with_the_prior() -> None:
    p = toy(BINARY, 40)
    scores = p.scores.copy()
    scores[:5] = np.nan
    silent = replace(p, scores=scores)
    e = evaluate_predictions(silent, resamples=100, prior=(0.25,))
    filled = scores.copy()
    filled[:5] = 0.25
    assert e.scores["auc"].value == pytest.approx(measure(p.labels, filled, BINARY)["auc"])
    assert e.counts.no_answer == 5
    assert e.states[:6] == ["no answer"] * 5 + ["seen"]
    assert not e.predictions.seen[:5].any()
    assert any("no prediction" in note and "training" in note for note in e.notes)


def test_prior_is_of_training_or_of_the_labels_judged() -> None:
    p = toy(BINARY, 60)
    share = p.labels.mean()
    judged = evaluate_predictions(p, resamples=100)
    assert judged.prior_source == "the labels judged"
    assert judged.prior["brier"] == pytest.approx(share * (1 - share))
    trained = evaluate_predictions(p, resamples=100, prior=(0.9,))
    assert trained.prior_source == "the training labels"
    assert trained.prior["accuracy"] == pytest.approx(share)  # it says yes to everything


def test_faceless_and_unreadable_rows_are_told_apart() -> None:
    p = toy(BINARY, 30)
    seen = np.ones(30, bool)
    seen[:4] = False
    problems = {"v0.mp4": "no such file", "v9.mp4": "partly read: a hole"}
    e = evaluate_predictions(replace(p, seen=seen, problems=problems), resamples=100)
    assert e.states[:4] == ["unreadable", "no face", "no face", "no face"]
    assert e.states[9] == "seen"  # read in part, and judged by what was read
    assert (e.counts.unreadable, e.counts.no_face, e.counts.no_answer) == (1, 3, 0)


def test_classes_are_counted_and_a_missing_one_is_named() -> None:
    p = toy(EMOTION, 60)
    labels = np.where(p.labels == 2, 0.0, p.labels)
    e = evaluate_predictions(replace(p, labels=labels), resamples=100)
    assert e.counts.of_class == {
        "happy": int((labels == 0).sum()), "sad": int((labels == 1).sum()), "angry": 0,
    }  # fmt: skip
    assert any("angry" in note for note in e.notes)
    score = e.scores["recall[angry]"]
    assert math.isnan(score.value)
    assert "angry" in score.note
    assert math.isfinite(e.scores["uar"].value)


def test_against_itself_nothing_differs() -> None:
    p = toy(BINARY)
    e = evaluate_predictions(p, resamples=100, against=p)
    assert {name: s.value for name, s in e.differences.items()} == pytest.approx(
        dict.fromkeys(e.scores, 0.0)
    )
    assert all(abs(s.low) < 1e-12 and abs(s.high) < 1e-12 for s in e.differences.values())


def test_differences_are_paired() -> None:
    """Two that are nearly the same differ surely, though their intervals overlap."""
    p = toy(BINARY, 150)
    rng = np.random.default_rng(1)
    worse = replace(p, scores=np.clip(p.scores + rng.normal(scale=0.15, size=p.scores.shape), 0, 1))
    e = evaluate_predictions(p, against=worse, resamples=400)
    difference = e.differences["auc"]
    assert difference.value == pytest.approx(e.scores["auc"].value - e.other["auc"].value)
    width = difference.high - difference.low
    assert width < 0.7 * (e.scores["auc"].high - e.scores["auc"].low)
    assert difference.low <= difference.value <= difference.high


def test_against_matches_rows_by_video() -> None:
    p = toy(BINARY, 30)
    backwards = p.take(np.arange(30)[::-1])
    e = evaluate_predictions(p, resamples=100, against=backwards)
    assert e.differences["auc"].value == pytest.approx(0)
    half = evaluate_predictions(p, resamples=100, against=p.take(np.arange(15)))
    assert half.other["auc"].value != pytest.approx(half.scores["auc"].value)  # priors for the rest


def test_against_something_else_is_refused() -> None:
    p = toy(BINARY, 12)
    with pytest.raises(InputError, match="emotion"):
        evaluate_predictions(p, resamples=100, against=toy(EMOTION, 12))
    elsewhere = replace(p, rows=[replace(row, video=Path("x") / row.video) for row in p.rows])
    with pytest.raises(InputError, match="none of the 12"):
        evaluate_predictions(p, resamples=100, against=elsewhere)


def test_subgroups_are_judged_apart_and_against_the_rest() -> None:
    p = toy(BINARY, 90, sex=lambda i: "fm"[i % 2])
    e = evaluate_predictions(p, resamples=100, subgroups=["sex"])
    f, m = e.subgroups
    assert (f.column, f.value, f.n, m.value, m.n) == ("sex", "f", 45, "m", 45)
    assert f.n_groups == 30
    own = measure(p.labels[::2], p.scores[::2], BINARY)
    assert f.scores["auc"].value == pytest.approx(own["auc"])
    assert f.differences["auc"].value == pytest.approx(-m.differences["auc"].value)
    assert f.scores["auc"].low < f.scores["auc"].value < f.scores["auc"].high


def test_a_column_of_one_value_has_no_rest() -> None:
    e = evaluate_predictions(
        toy(BINARY, 12, source=lambda i: "x"), resamples=100, subgroups=["source"]
    )
    assert e.subgroups[0].differences == {}


def test_levels_of_windows_and_subjects() -> None:
    p = toy(BINARY, 30)
    times = np.repeat(np.arange(30), 2)
    windows = p.take(times)
    scores = windows.scores.copy()
    scores[0] = np.nan  # a window without a face
    e = evaluate_predictions(p, resamples=100, windows=replace(windows, scores=scores))
    levels = {level.name: level for level in e.levels}
    assert levels["window"].n == 59
    assert levels["subject"].n == len(subjects(p)) < 30
    assert set(levels["window"].scores) == set(e.scores)


def test_subjects_are_means_of_groups_by_label() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1], float)[:, None]
    scores = np.array([0.2, 0.4, 0.6, 0.8, 0.9, 1.0])[:, None]
    p = Predictions(BINARY, rows_of(6, 3), labels, scores, np.ones(6, bool))
    means = subjects(p)
    assert means.labels[:, 0].tolist() == [0, 1, 1]
    assert means.scores[:, 0] == pytest.approx([0.3, 0.6, 0.9])


def test_uncalibrated_answers_stand_beside() -> None:
    p = toy(BINARY, 60)
    hot = replace(p, scores=np.where(p.scores > 0.5, 0.999, 0.001))
    e = evaluate_predictions(p, resamples=100, uncalibrated=hot)
    level = next(level for level in e.levels if level.name == "uncalibrated")
    assert set(level.scores) == {"brier", "ece"}
    assert level.scores["brier"].value > e.scores["brier"].value


def test_forty_labels_of_many_rows_do_not_take_long() -> None:
    names = tuple(f"l{i}" for i in range(40))
    p = toy(Target("multilabel", names, names), 1000)
    began = time.process_time()
    evaluate_predictions(p, resamples=100)
    assert time.process_time() - began < 4  # 5,000 rows and 1,000 resamples: 50 times as much


def test_resamples_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p = toy(BINARY, 40)
    whole = evaluate_predictions(p, resamples=100)
    monkeypatch.setattr("openmarlin.tasks.resampling._CELLS", 120)
    monkeypatch.setattr("openmarlin.tasks.ranking._CELLS", 80)
    parts = evaluate_predictions(p, resamples=100)
    for name, score in whole.scores.items():
        same = parts.scores[name]
        assert (same.value, same.low, same.high) == pytest.approx(
            (score.value, score.low, score.high)
        )
