"""Metrics against scikit-learn, against numbers counted by hand, and where they are not defined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr
from sklearn import metrics as sk

from openmarlin.tasks.labels import Kind, Target, Values
from openmarlin.tasks.metrics import (
    MAIN_METRIC,
    higher_is_better,
    measure,
    measure_prior,
    name_of,
    prepare,
    split_name,
)
from openmarlin.tasks.model import prior_of

BINARY = Target("binary", ("forged",), ("real", "fake"))
EMOTION = Target("class", ("emotion",), ("happy", "sad", "angry"))
LEVEL = Target("ordinal", ("level",), ("0", "1", "2", "3"))
TAGS = Target("multilabel", ("a", "b", "c"), ("a", "b", "c"))
MOOD = Target("regression", ("valence", "arousal"), ("valence", "arousal"))


def column(*values: float) -> Values:
    return np.array(values, float)[:, None]


def draw(kind: Kind, n: int, seed: int = 0) -> tuple[Target, Values, Values]:
    """A target, labels and answers that are better than chance."""
    rng = np.random.default_rng(seed)
    target = {t.kind: t for t in (BINARY, EMOTION, LEVEL, TAGS, MOOD)}[kind]
    if kind == "regression":
        labels = rng.normal(size=(n, 2))
        return target, labels, 0.7 * labels + 0.5 * rng.normal(size=(n, 2)) + 0.1
    if kind in ("binary", "multilabel"):
        labels = (rng.random((n, len(target.outputs))) < 0.4).astype(float)
        return target, labels, 1 / (1 + np.exp(1 - 2 * labels + rng.normal(size=labels.shape)))
    labels = rng.integers(0, len(target.classes), (n, 1)).astype(float)
    logits = rng.normal(size=(n, len(target.classes)))
    logits[np.arange(n), labels[:, 0].astype(int)] += 1
    scores = np.exp(logits)
    return target, labels, scores / scores.sum(axis=1, keepdims=True)


KINDS: list[Kind] = ["binary", "class", "multilabel", "regression", "ordinal"]


def test_binary_as_scikit_learn() -> None:
    target, labels, scores = draw("binary", 150)
    y, p = labels[:, 0], scores[:, 0]
    yes = p >= 0.4
    got = measure(labels, scores, target, (0.4,))
    assert got == pytest.approx(
        {
            "auc": sk.roc_auc_score(y, p),
            "ap": sk.average_precision_score(y, p),
            "accuracy": sk.accuracy_score(y, yes),
            "balanced_accuracy": sk.balanced_accuracy_score(y, yes),
            "f1": sk.f1_score(y, yes),
            "brier": sk.brier_score_loss(y, p),
            "recall[real]": sk.recall_score(y, yes, pos_label=0),
            "recall[fake]": sk.recall_score(y, yes),
            "eer": got["eer"],
            "tpr_at_fpr_1": _best_rate(y, p, 0.01),
            "tpr_at_fpr_5": _best_rate(y, p, 0.05),
            "ece": got["ece"],
        }
    )
    false, true, _ = sk.roc_curve(y, p, drop_intermediate=False)
    assert np.interp(got["eer"], false, true) == pytest.approx(1 - got["eer"], abs=1e-9)


def _best_rate(y: Values, p: Values, limit: float) -> float:
    false, true, _ = sk.roc_curve(y, p, drop_intermediate=False)
    return float(true[false <= limit].max())


def test_class_as_scikit_learn() -> None:
    target, labels, scores = draw("class", 160)
    y, chosen = labels[:, 0], scores.argmax(axis=1)
    got = measure(labels, scores, target)
    one_hot = y[:, None] == np.arange(3)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(y, chosen))
    assert got["uar"] == pytest.approx(sk.balanced_accuracy_score(y, chosen))
    assert got["f1_macro"] == pytest.approx(sk.f1_score(y, chosen, average="macro"))
    assert got["auc_macro"] == pytest.approx(sk.roc_auc_score(y, scores, multi_class="ovr"))
    assert got["map"] == pytest.approx(sk.average_precision_score(one_hot, scores))
    assert got["brier"] == pytest.approx(((scores - one_hot) ** 2).sum(axis=1).mean())
    for i, name in enumerate(target.classes):
        assert got[f"auc[{name}]"] == pytest.approx(sk.roc_auc_score(one_hot[:, i], scores[:, i]))
        assert got[f"recall[{name}]"] == pytest.approx((chosen[y == i] == i).mean())
        assert got[f"f1[{name}]"] == pytest.approx(
            sk.f1_score(y, chosen, labels=[i], average=None)[0]
        )


def test_ordinal_as_scikit_learn() -> None:
    target, labels, scores = draw("ordinal", 160)
    y = labels[:, 0]
    chosen = (scores.cumsum(axis=1) >= 0.5).argmax(axis=1)
    got = measure(labels, scores, target)
    assert got["mae"] == pytest.approx(np.abs(chosen - y).mean())
    assert got["kappa"] == pytest.approx(sk.cohen_kappa_score(y, chosen, weights="quadratic"))
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(y, chosen))
    assert got["uar"] == pytest.approx(sk.balanced_accuracy_score(y, chosen))


def test_multilabel_as_scikit_learn() -> None:
    target, labels, scores = draw("multilabel", 140)
    limits = (0.3, 0.5, 0.7)
    yes = scores >= np.array(limits)
    got = measure(labels, scores, target, limits)
    for average in ("micro", "macro"):
        auc = sk.roc_auc_score(labels, scores, average=average)
        assert got[f"auc_{average}"] == pytest.approx(auc)
        assert got[f"f1_{average}"] == pytest.approx(sk.f1_score(labels, yes, average=average))
        assert got[f"accuracy_{average}"] == pytest.approx((yes == labels).mean())
    assert got["map"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert got["brier"] == pytest.approx(((labels - scores) ** 2).mean())
    balanced = [sk.balanced_accuracy_score(labels[:, i], yes[:, i]) for i in range(3)]
    assert got["balanced_accuracy_macro"] == pytest.approx(np.mean(balanced))
    assert got["balanced_accuracy[b]"] == pytest.approx(balanced[1])
    assert got["auc[c]"] == pytest.approx(sk.roc_auc_score(labels[:, 2], scores[:, 2]))


def test_multilabel_with_gaps_is_of_what_is_labelled() -> None:
    target, labels, scores = draw("multilabel", 90)
    labels[::3, 0] = np.nan
    got = measure(labels, scores, target)
    kept = np.isfinite(labels[:, 0])
    assert got["auc[a]"] == pytest.approx(sk.roc_auc_score(labels[kept, 0], scores[kept, 0]))
    pairs = np.isfinite(labels)
    assert got["auc_micro"] == pytest.approx(sk.roc_auc_score(labels[pairs], scores[pairs]))
    right = ((scores >= 0.5) == labels)[pairs]
    assert got["accuracy_micro"] == pytest.approx(right.mean())
    assert got["accuracy_micro"] != pytest.approx(got["accuracy_macro"], abs=1e-12)


def test_regression_by_formula() -> None:
    target, labels, scores = draw("regression", 80)
    got = measure(labels, scores, target)
    for i, name in enumerate(target.classes):
        x, y = labels[:, i], scores[:, i]
        ccc = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
        assert got[f"ccc[{name}]"] == pytest.approx(ccc)
        assert got[f"pearson[{name}]"] == pytest.approx(pearsonr(x, y).statistic)
        assert got[f"mae[{name}]"] == pytest.approx(sk.mean_absolute_error(x, y))
        assert got[f"rmse[{name}]"] == pytest.approx(sk.mean_squared_error(x, y) ** 0.5)
    each = [got[f"ccc[{name}]"] for name in target.classes]
    assert got["ccc"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_ccc_of_large_numbers_keeps_its_places(offset: float) -> None:
    target = Target("regression", ("x",), ("x",))
    labels = column(1, 2, 3, 4)
    assert measure(labels + offset, labels + offset, target)["ccc"] == pytest.approx(1)
    assert measure(labels + offset, offset - labels, target)["pearson"] == pytest.approx(-1)


def test_single_column_of_a_regression_is_not_listed_twice() -> None:
    target = Target("regression", ("x",), ("x",))
    assert set(measure(column(1, 2), column(1, 3), target)) == {"ccc", "mae", "rmse", "pearson"}


def test_numbers_counted_by_hand() -> None:
    labels, scores = column(0, 0, 1, 1), column(0.1, 0.6, 0.4, 0.9)
    got = measure(labels, scores, BINARY)
    assert got["auc"] == pytest.approx(3 / 4)  # of 4 pairs, .6 over .4 is the wrong one
    assert got["accuracy"] == pytest.approx(2 / 4)
    assert got["eer"] == pytest.approx(0.5)
    assert got["tpr_at_fpr_1"] == pytest.approx(0.5)
    assert got["ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert got["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 50), st.data())
def test_a_weight_of_n_is_a_row_n_times(kind: Kind, seed: int, data: st.DataObject) -> None:
    target, labels, scores = draw(kind, 24, seed)
    weights = data.draw(hnp.arrays(int, 24, elements=st.integers(0, 3)))
    once = prepare(labels, scores, target)(weights[None].astype(float))
    repeated = np.repeat(np.arange(24), weights)
    twice = measure(labels[repeated], scores[repeated], target)
    for name, value in twice.items():
        if split_name(name)[0] != "ece":  # the number of bins is that of the rows
            assert once[name][0] == pytest.approx(value, nan_ok=True, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 1000))
def test_order_of_rows_does_not_matter(kind: Kind, seed: int) -> None:
    target, labels, scores = draw(kind, 30, seed)
    order = np.random.default_rng(seed).permutation(30)
    a, b = measure(labels, scores, target), measure(labels[order], scores[order], target)
    assert a == pytest.approx(b, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_right_answers_have_the_best_of_everything(kind: Kind) -> None:
    target, labels, _ = draw(kind, 60)
    scores = np.eye(len(target.classes))[labels[:, 0].astype(int)] if target.is_one_of else labels
    for name, value in measure(labels, scores, target).items():
        assert value == pytest.approx(1.0 if higher_is_better(name) else 0.0, abs=1e-9), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_prior_knows_nothing(kind: Kind) -> None:
    target, labels, scores = draw(kind, 200)
    prior = measure_prior(labels, target, prior_of(labels, target))
    ours = measure(labels, scores, target)
    assert set(prior) == set(ours)
    main = MAIN_METRIC[kind]
    assert (ours[main] > prior[main]) == higher_is_better(main)
    if kind == "binary":
        assert prior["auc"] == 0.5
        assert prior["eer"] == pytest.approx(0.5)
        assert prior["ece"] == pytest.approx(0, abs=1e-12)
        assert prior["accuracy"] == pytest.approx(max(labels.mean(), 1 - labels.mean()))
    if kind == "regression":
        assert prior["ccc"] == pytest.approx(0, abs=1e-9)
        assert np.isnan(prior["pearson"])  # it is flat: there is nothing to correlate


def test_one_class_alone_is_not_defined_and_never_zero() -> None:
    got = measure(column(1, 1, 1), column(0.2, 0.7, 0.9), BINARY)
    undefined = {"auc", "eer", "tpr_at_fpr_1", "tpr_at_fpr_5", "balanced_accuracy", "recall[real]"}
    assert {name for name, value in got.items() if np.isnan(value)} == undefined
    assert got["accuracy"] == pytest.approx(2 / 3)
    none = measure(column(0, 0), column(0.2, 0.7), BINARY)
    assert np.isnan([none["ap"], none["f1"], none["recall[fake]"]]).all()


def test_a_class_that_is_missing_leaves_the_means_of_the_others() -> None:
    labels = column(0, 0, 1, 1)
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    got = measure(labels, scores, EMOTION)
    for metric in ("recall", "f1", "auc", "ap"):
        assert np.isnan(got[f"{metric}[angry]"])
    assert got["uar"] == pytest.approx((0.5 + 1) / 2)
    assert got["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_label_that_nobody_has() -> None:
    labels = np.array([[0, 1, 0], [0, 0, 1], [0, 1, 1]], float)
    got = measure(labels, labels * 0.8 + 0.1, TAGS)
    assert np.isnan([got["auc[a]"], got["ap[a]"], got["f1[a]"], got["balanced_accuracy[a]"]]).all()
    assert got["accuracy[a]"] == 1
    assert got["auc_macro"] == got["f1_macro"] == 1


def test_a_constant_truth_has_no_correlation() -> None:
    target = Target("regression", ("x",), ("x",))
    got = measure(column(2, 2, 2), column(1, 2, 3), target)
    assert np.isnan([got["ccc"], got["pearson"]]).all()
    assert got["mae"] == pytest.approx(2 / 3)


def test_kappa_of_one_class_alone() -> None:
    scores = np.eye(4)[[1, 1, 1]]
    assert np.isnan(measure(column(1, 1, 1), scores, LEVEL)["kappa"])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_label_or_answer_are_left_out(kind: Kind) -> None:
    target, labels, scores = draw(kind, 50)
    full = measure(labels, scores, target)
    more_labels = np.concatenate([labels, np.full((2, labels.shape[1]), np.nan), labels[:1]])
    more_scores = np.concatenate([scores, scores[:2], np.full((1, scores.shape[1]), np.nan)])
    assert measure(more_labels, more_scores, target) == pytest.approx(full)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_judge_is_nan_without_a_warning(kind: Kind) -> None:
    target, labels, scores = draw(kind, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = measure(labels * np.nan, scores, target)
    assert all(np.isnan(value) for value in got.values())


@pytest.mark.parametrize("kind", KINDS)
def test_brief_has_the_same_numbers(kind: Kind) -> None:
    target, labels, scores = draw(kind, 60)
    full = measure(labels, scores, target)
    brief = prepare(labels, scores, target, brief=True)(np.ones((1, 60)))
    assert MAIN_METRIC[kind] in brief
    assert not any(split_name(name)[1] for name in brief)
    for name, value in brief.items():
        assert value[0] == pytest.approx(full[name])


def test_thresholds_decide() -> None:
    labels, scores = column(0, 1), column(0.3, 0.4)
    assert measure(labels, scores, BINARY)["accuracy"] == 0.5
    assert measure(labels, scores, BINARY, (0.35,))["accuracy"] == 1


@given(st.text(st.characters(blacklist_characters="[]"), min_size=1), st.text(min_size=1))
def test_names_of_outputs_come_apart_again(metric: str, output: str) -> None:
    assert split_name(name_of(metric, output)) == (metric, output)
    assert split_name(metric) == (metric, "")


def test_main_metrics_exist() -> None:
    for kind in KINDS:
        target, labels, scores = draw(kind, 40)
        assert MAIN_METRIC[kind] in measure(labels, scores, target)
    assert not higher_is_better("mae")
    assert not higher_is_better("eer")
    assert higher_is_better("auc[happy]")
