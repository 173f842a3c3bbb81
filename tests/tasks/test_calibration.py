"""Temperature and thresholds, from much and from little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, softmax
from sklearn.metrics import balanced_accuracy_score, log_loss

from openmarlin.tasks.calibration import fit_temperature, fit_thresholds, not_calibrated
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.model import as_scores, decide

BINARY = Target("binary", ("forged",), ("real", "fake"))
EMOTION = Target("class", ("emotion",), ("happy", "sad", "angry"))
TAGS = Target("multilabel", ("a", "b"), ("a", "b"))
MOOD = Target("regression", ("valence",), ("valence",))


def column(*values: float) -> Values:
    return np.array(values, float)[:, None]


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_temperature_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(6000, 1))
    labels = (rng.random((6000, 1)) < expit(logits)).astype(float)
    assert fit_temperature(logits * true_temperature, labels, BINARY) == pytest.approx(
        true_temperature, rel=0.1
    )
    classes = rng.normal(scale=2, size=(6000, 3))
    drawn = [rng.choice(3, p=p) for p in softmax(classes, axis=1)]
    assert fit_temperature(
        classes * true_temperature, np.array(drawn, float)[:, None], EMOTION
    ) == pytest.approx(true_temperature, rel=0.1)
    both = np.concatenate([logits[:3000], logits[3000:]], axis=1)
    of_both = np.concatenate([labels[:3000], labels[3000:]], axis=1)
    assert fit_temperature(both * true_temperature, of_both, TAGS) == pytest.approx(
        true_temperature, rel=0.1
    )


def test_temperature_lowers_the_loss_of_validation() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=6, size=(300, 3))
    labels = (logits + rng.normal(scale=6, size=logits.shape)).argmax(axis=1).astype(float)[:, None]
    t = fit_temperature(logits, labels, EMOTION)
    before, after = (log_loss(labels[:, 0], as_scores(logits, EMOTION, x)) for x in (1.0, t))
    assert t > 1
    assert after < before


def test_few_rows_told_apart_do_not_ask_for_certainty() -> None:
    logits, labels = column(-1, -2, 1, 2), column(0, 0, 1, 1)
    t = fit_temperature(logits, labels, BINARY)
    assert 0.2 < t < 3
    assert 0.5 < as_scores(logits, BINARY, t)[3, 0] < 0.99


def test_nothing_to_fit_keeps_the_logits() -> None:
    logits = column(1, 2, -1)
    assert fit_temperature(logits, column(1, 1, 1), BINARY) == 1
    assert fit_temperature(logits, column(np.nan, np.nan, np.nan), BINARY) == 1
    assert fit_temperature(np.ones((2, 3)), column(2, 2), EMOTION) == 1
    assert fit_temperature(logits, logits, MOOD) == 1


def test_rows_without_label_do_not_count() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(40, 1))
    labels = (rng.random((40, 1)) < expit(logits)).astype(float)
    gaps = np.concatenate([labels, column(np.nan, np.nan)])
    more = np.concatenate([logits, column(90, -90)])
    assert fit_temperature(more, gaps, BINARY) == fit_temperature(logits, labels, BINARY)
    scores = expit(more)
    assert fit_thresholds(scores, gaps, BINARY) == fit_thresholds(scores[:40], labels, BINARY)


cases = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(float, n, elements=st.integers(0, 20).map(lambda i: i / 20)),
        hnp.arrays(float, n, elements=st.sampled_from([0.0, 1.0])),
    )
)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_no_threshold_is_better(case: tuple[Values, Values]) -> None:
    scores, labels = case
    (limit,) = fit_thresholds(scores[:, None], labels[:, None], BINARY)
    assert 0 <= limit <= 1
    if len(set(labels.tolist())) < 2:
        assert limit == 0.5
        return
    ours = balanced_accuracy_score(labels, decide(scores[:, None], BINARY, (limit,))[:, 0])
    yes = scores >= np.linspace(0, 1, 41)[:, None]
    others = (yes[:, labels == 1].mean(axis=1) + 1 - yes[:, labels == 0].mean(axis=1)) / 2
    assert ours >= others.max() - 1e-9


def test_threshold_lies_in_the_gap_and_at_a_half_where_it_can() -> None:
    assert fit_thresholds(column(0.1, 0.2, 0.3, 0.35), column(0, 0, 1, 1), BINARY) == (
        pytest.approx(0.25),
    )
    assert fit_thresholds(column(0.1, 0.2, 0.8, 0.9), column(0, 0, 1, 1), BINARY) == (0.5,)


def test_thresholds_are_one_a_label_and_say_what_they_lack() -> None:
    scores = np.array([[0.1, 0.6], [0.3, 0.7], [0.4, 0.9]])
    labels = np.array([[0, 1], [1, 1], [1, 1]], float)
    assert fit_thresholds(scores, labels, TAGS) == (pytest.approx(0.2), 0.5)
    assert not_calibrated(labels, TAGS) == ["b"]
    assert not_calibrated(column(1, 1), BINARY) == ["fake"]


def test_other_kinds_have_no_thresholds() -> None:
    assert fit_thresholds(np.ones((2, 3)) / 3, column(0, 1), EMOTION) == ()
    assert fit_thresholds(column(1, 2), column(1, 2), MOOD) == ()
    assert not_calibrated(column(1, 1), EMOTION) == []
