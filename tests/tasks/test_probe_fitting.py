"""Fitting heads on synthetic features: they learn, choose on validation alone, and say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from openmarlin.errors import InputError
from openmarlin.tasks.heads import LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.losses import TargetLoss
from openmarlin.tasks.probe_linear import STRENGTHS, fit_linear
from openmarlin.tasks.probe_neighbours import fit_neighbours
from openmarlin.tasks.probe_paper import fit_paper
from openmarlin.tasks.selection import (
    Examples,
    Trial,
    best_of,
    check_choice,
    class_weights,
    one_hot,
)

WIDTH = 10
BINARY = Target("binary", ("forged",), ("real", "fake"))
MOOD = Target("class", ("mood",), ("angry", "calm", "happy"))
LEVEL = Target("ordinal", ("level",), ("low", "mid", "high"))
TRAITS = Target("multilabel", ("a", "b"), ("a", "b"))
QUANTITIES = Target("regression", ("x", "y"), ("x", "y"))
TARGETS = [BINARY, MOOD, LEVEL, TRAITS, QUANTITIES]


def make_examples(target: Target, n: int, seed: int) -> Examples:
    """Features that say much of the labels, with a scale and an origin of their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, WIDTH))
    mix = np.random.default_rng(99).normal(size=(WIDTH, 3))
    z = x @ mix + 0.3 * rng.normal(size=(n, 3))
    labels: Any = {
        "binary": (z[:, :1] > 0).astype(float),
        "class": z.argmax(axis=1)[:, None].astype(float),
        "ordinal": np.digitize(z[:, :1], (-2, 2)).astype(float),
        "multilabel": (z[:, :2] > 1).astype(float),
        "regression": 50 + 10 * z[:, :2],
    }[target.kind]
    vectors = (x * np.linspace(0.1, 3, WIDTH) + 5).astype(np.float32)
    return Examples(np.arange(n), vectors, labels)


def answers(head: Any, examples: Examples) -> np.ndarray:
    with torch.inference_mode():
        return head.answer(torch.from_numpy(examples.vectors)).numpy()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
@pytest.mark.parametrize("kind", ["linear", "knn", "paper"])
def test_every_head_learns_every_kind(
    kind: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmarlin.tasks.probe_paper._MAX_EPOCHS", 60)
    monkeypatch.setattr("openmarlin.tasks.probe_paper._LR", 1e-2)
    train, val = make_examples(target, 240, 0), make_examples(target, 100, 1)
    fitted = {
        "linear": lambda: fit_linear(train, val, target),
        "knn": lambda: fit_neighbours(train, val, target),
        "paper": lambda: fit_paper(train, val, target, seed=0),
    }[kind]()
    test = make_examples(target, 300, 2)
    said = Trial.of({}, answers(fitted.head, test).astype(float), test.labels, target)
    least = {"binary": 0.85, "class": 0.5, "multilabel": 0.8, "regression": 0.5}
    if target.kind == "ordinal":
        assert said.score < 0.5
    else:
        assert said.score > least[target.kind]
    again = Trial.of({}, answers(fitted.head, val).astype(float), val.labels, target)
    assert again.score == pytest.approx(fitted.score, abs=0.02)  # the head is what was chosen
    assert fitted.score == fitted.trials[fitted.best].score


def test_linear_tries_the_whole_grid_and_keeps_the_best() -> None:
    train, val = make_examples(BINARY, 200, 0), make_examples(BINARY, 80, 1)
    fitted = fit_linear(train, val, BINARY)
    assert len(fitted.trials) == 3 * len(STRENGTHS) == 135
    assert {t.settings["normalisation"] for t in fitted.trials} == {"none", "standard", "l2"}
    assert fitted.score == max(trial.score for trial in fitted.trials)
    scores = answers(fitted.head, val)[:, 0]
    assert fitted.score == pytest.approx(roc_auc_score(val.labels[:, 0], scores), abs=1e-3)


def test_a_ridge_regression_is_that_of_scikit_learn() -> None:
    train, val = make_examples(QUANTITIES, 150, 0), make_examples(QUANTITIES, 60, 1)
    train.labels[::7, 1] = np.nan  # a column with rows of its own
    fitted = fit_linear(train, val, QUANTITIES)
    head = fitted.head
    assert isinstance(head, LinearHead)
    x = train.vectors.astype(float)
    if head.normalisation == "standard":
        x = (x - x.mean(0)) / x.std(0)
    elif head.normalisation == "l2":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    for i in range(2):
        rows = np.isfinite(train.labels[:, i])
        peer = Ridge(alpha=fitted.settings["alpha"]).fit(x[rows], train.labels[rows, i])
        said = answers(head, train)[rows, i]
        np.testing.assert_allclose(said, peer.predict(x[rows]), rtol=1e-3)


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.array([0, 0, 0, 1, np.nan])[:, None]
    weights = class_weights(labels, balanced=True, is_one_of=False)
    np.testing.assert_allclose(weights[:, 0], [4 / 6, 4 / 6, 4 / 6, 2, 0])
    mood = one_hot(np.array([0, 0, 2, np.nan])[:, None], 3)  # the second class has no row
    np.testing.assert_allclose(
        class_weights(mood, balanced=True, is_one_of=True)[:, 0], [0.75, 0.75, 1.5, 0]
    )
    plain = class_weights(labels, balanced=False, is_one_of=False)
    np.testing.assert_array_equal(plain[:, 0], [1, 1, 1, 1, 0])


def test_balanced_classes_find_more_of_a_rare_one() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(400, 1)) < 0.08).astype(float)
    vectors = (rng.normal(size=(400, WIDTH)) + 0.8 * labels).astype(np.float32)
    train = Examples(np.arange(200), vectors[:200], labels[:200])
    val = Examples(np.arange(200), vectors[200:], labels[200:])
    plain, balanced = (fit_linear(train, val, BINARY, balanced=b) for b in (False, True))
    rare = val.labels[:, 0] == 1
    assert (answers(balanced.head, val)[rare] > 0).sum() > (
        answers(plain.head, val)[rare] > 0
    ).sum()


@pytest.mark.parametrize("kind", ["linear", "knn", "paper"])
def test_one_class_is_refused_and_named(kind: str) -> None:
    train, val = make_examples(BINARY, 20, 0), make_examples(BINARY, 20, 1)
    train.labels[:] = 1
    with pytest.raises(InputError, match=r"20 training rows .*'fake'"):
        {
            "linear": lambda: fit_linear(train, val, BINARY),
            "knn": lambda: fit_neighbours(train, val, BINARY),
            "paper": lambda: fit_paper(train, val, BINARY, seed=0),
        }[kind]()


def test_validation_of_one_class_is_refused() -> None:
    train, val = make_examples(BINARY, 20, 0), make_examples(BINARY, 20, 1)
    val.labels[:] = 0
    with pytest.raises(InputError, match="validation"):
        fit_linear(train, val, BINARY)
    with pytest.raises(InputError, match="validation"):
        check_choice(val.labels, BINARY)
    check_choice(train.labels, BINARY)


def test_a_class_that_train_lacks_is_never_answered() -> None:
    train, val = make_examples(MOOD, 120, 0), make_examples(MOOD, 60, 1)
    keep = np.flatnonzero(train.labels[:, 0] != 1)
    fitted = fit_linear(train.take(keep), val, MOOD)
    assert 1 not in answers(fitted.head, val).argmax(axis=1)


def test_a_label_of_one_value_gets_its_frequency() -> None:
    train, val = make_examples(TRAITS, 99, 0), make_examples(TRAITS, 60, 1)
    train.labels[:, 1] = 0
    said = answers(fit_linear(train, val, TRAITS).head, val)
    np.testing.assert_allclose(1 / (1 + np.exp(-said[:, 1])), 0.5 / 100, rtol=1e-4)


def test_rows_that_lack_one_of_several_labels_count_for_the_others() -> None:
    train, val = make_examples(TRAITS, 150, 0), make_examples(TRAITS, 60, 1)
    whole = answers(fit_linear(train, val, TRAITS).head, val)
    train.labels[100:, 1] = np.nan
    fitted = fit_linear(train, val, TRAITS)
    assert np.isfinite(answers(fitted.head, val)).all()
    assert np.corrcoef(whole[:, 0], answers(fitted.head, val)[:, 0])[0, 1] > 0.98
    assert fit_neighbours(train, val, TRAITS).score > 0.7


def test_of_equal_scores_the_least_loss_counts_and_then_the_first() -> None:
    trials = [Trial({}, 0.9, 0.7), Trial({}, 1.0, 0.69), Trial({}, 1.0, 0.2), Trial({}, 1.0, 0.2)]
    assert best_of(trials, BINARY) == 2
    errors = [Trial({}, 0.4, 0.1), Trial({}, 0.2, 0.9), Trial({}, np.nan, 0.0)]
    assert best_of(errors, LEVEL) == 1  # the metric of ordinal targets is an error


def test_neighbours_try_no_more_than_there_are() -> None:
    val = make_examples(BINARY, 40, 1)
    for n, counts in ((5, [5]), (30, [20, 10]), (250, [200, 100, 20, 10])):
        fitted = fit_neighbours(make_examples(BINARY, n, 0), val, BINARY)
        assert [trial.settings["k"] for trial in fitted.trials] == counts


def test_fits_are_repeatable_and_leave_the_generator_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openmarlin.tasks.probe_paper._MAX_EPOCHS", 3)
    train, val = make_examples(BINARY, 30, 0), make_examples(BINARY, 30, 1)
    state = torch.random.get_rng_state()
    one, two = (fit_paper(train, val, BINARY, seed=4) for _ in range(2))
    fit_linear(train, val, BINARY)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(answers(one.head, val), answers(two.head, val))


def test_losses_leave_out_what_has_no_label() -> None:
    labels = np.array([[1.0, np.nan], [0.0, 1.0]])
    loss = TargetLoss.of(labels, TRAITS)
    logits = torch.tensor([[0.0, 50.0], [0.0, 0.0]])
    assert float(loss(logits, torch.arange(2))) == pytest.approx(np.log(2))
    value = TargetLoss.of(np.array([[1.0, 10.0], [3.0, np.nan]]), QUANTITIES)
    layer = torch.nn.Linear(1, 2)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    value.in_units(layer)
    np.testing.assert_allclose(layer.bias.detach().numpy(), [2, 10])
