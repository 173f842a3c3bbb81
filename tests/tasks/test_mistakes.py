"""The worst answers first, in words of every kind of label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judged import BINARY, EMOTION, TARGETS, rows_of
from judged import toy_predictions as toy

from openmarlin.tasks.labels import Target
from openmarlin.tasks.mistakes import worst_mistakes
from openmarlin.tasks.predictions import Predictions


def test_worst_mistakes_come_first() -> None:
    labels = np.array([0, 1, 1, 0], float)[:, None]
    scores = np.array([0.9, 0.4, 0.95, 0.55])[:, None]
    p = Predictions(BINARY, rows_of(4), labels, scores, np.ones(4, bool))
    first, second, third = worst_mistakes(p, 24)
    assert [m.place for m in (first, second, third)] == [0, 1, 3]
    assert (first.truth, first.answer) == ("real", "fake (0.90)")
    assert second.answer == "real (0.60)"
    assert len(worst_mistakes(p, 2)) == 2


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.kind)
def test_mistakes_of_every_kind_can_be_said(target: Target) -> None:
    mistakes = worst_mistakes(toy(target, 60), 24)
    assert 0 < len(mistakes) <= 24
    assert all(mistake.truth and mistake.answer for mistake in mistakes)


def test_right_answers_are_no_mistakes() -> None:
    p = toy(EMOTION, 20)
    assert worst_mistakes(replace(p, scores=np.eye(3)[p.labels[:, 0].astype(int)]), 9) == []
