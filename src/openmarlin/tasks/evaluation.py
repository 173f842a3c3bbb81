"""How well answers do: every metric with its interval, beside the answer that knows nothing.

evaluation = evaluate_predictions(predictions.part("test"))
evaluation.scores["auc"].value, evaluation.scores["auc"].low
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.tasks.caveats import (
    RowCounts,
    count_rows,
    explained,
    is_unanswered,
    notes_on,
    state_of_rows,
)
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.metrics import MAIN_METRIC, measure_prior, prepare
from openmarlin.tasks.model import prior_of
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.resampling import Resamples, Score
from openmarlin.tasks.splits import group_of
from openmarlin.tasks.subgroups import divide

WINDOW, SUBJECT, UNCALIBRATED = "window", "subject", "uncalibrated"
_OF_PROBABILITIES = ("brier", "ece")

Scores = Mapping[str, Score]


@dataclass(frozen=True)
class Level:
    """The same answers judged otherwise than video by video.

    Attributes:
        name: window, subject, or uncalibrated (videos again, before the temperature).
        n: windows, subjects or videos.
        scores: metric -> number.
    """

    name: str
    n: int
    scores: Scores


@dataclass(frozen=True)
class Subgroup:
    """The rows that have one value in a column.

    Attributes:
        column: of the table.
        value: in it.
        n: rows.
        n_groups: people or source videos.
        scores: metrics of these rows, none of single outputs.
        differences: from all other rows, on the same resamples.
    """

    column: str
    value: str
    n: int
    n_groups: int
    scores: Scores
    differences: Scores


@dataclass(frozen=True)
class Evaluation:
    """What is known of how well answers do.

    Attributes:
        predictions: the rows with a label, and the answers they are judged by.
        states: what each of these answers is based on, see `caveats.SEEN`.
        scores: metric -> number; metrics of one output are named `recall[happy]`.
        prior: what the answer scores that is the same for all rows, metric -> value.
        prior_source: what that answer is the mean of.
        counts: of rows.
        notes: what a reader must know, a sentence each.
        resamples: of groups, for the intervals.
        seed: of the resamples.
        other: what another's answers to the same rows score.
        differences: from those, on the same resamples.
        subgroups: by the columns that were named.
        levels: the answers to windows and subjects.
    """

    predictions: Predictions
    states: Sequence[str]
    scores: Scores
    prior: Mapping[str, float]
    prior_source: str
    counts: RowCounts
    notes: Sequence[str]
    resamples: int
    seed: int
    other: Scores = field(default_factory=dict)
    differences: Scores = field(default_factory=dict)
    subgroups: Sequence[Subgroup] = ()
    levels: Sequence[Level] = ()

    @property
    def target(self) -> Target:
        return self.predictions.target

    @property
    def main(self) -> str:
        """The metric of the headline."""
        return MAIN_METRIC[self.target.kind]


def evaluate_predictions(
    predictions: Predictions,
    *,
    resamples: int = 1000,
    seed: int = 0,
    against: Predictions | None = None,
    subgroups: Sequence[str] = (),
    prior: Sequence[float] = (),
    windows: Predictions | None = None,
    uncalibrated: Predictions | None = None,
) -> Evaluation:
    """Judge answers by the labels of their rows.

    Rows without a label are counted and left out. Rows without an answer (NaN) are judged by the
    prior: leaving them out would reward a model that is silent where it is hard.

    Args:
        predictions: of the rows to judge.
        resamples: of groups, for the intervals.
        seed: of the resamples.
        against: another's answers to the same rows, matched by video and part.
        subgroups: columns of the rows.
        prior: the mean answer to the training labels (`prior_of`); without it that to the labels
            judged.
        windows: the same model's answers to windows, each with the row that it is of.
        uncalibrated: the same model's answers to the rows, before the temperature.

    Raises:
        InputError: no row has a label, a column is missing, or the other predicts something else.
    """
    target = predictions.target
    judged = predictions.take(labelled(predictions.labels, target))
    source = "the training labels" if prior else "the labels judged"
    constant = tuple(prior) or prior_of(judged.labels, target)
    states = state_of_rows(judged)
    judged = filled(judged, constant)
    draws = Resamples(judged.rows, resamples, seed)
    scores, drawn = _scores(judged, draws)
    counts = count_rows(len(predictions), judged, states, draws.n_groups)
    evaluation = Evaluation(
        judged,
        states,
        explained(scores, judged),
        measure_prior(judged.labels, target, constant),
        source,
        counts,
        notes_on(counts, judged, source),
        resamples,
        seed,
        subgroups=[s for name in subgroups for s in _subgroups(judged, name, draws)],
        levels=list(_levels(judged, windows, uncalibrated, draws)),
    )
    if against is None:
        return evaluation
    other, others = _scores(filled(_matched(against, judged), constant), draws)
    differences = _differences((scores, drawn), (other, others), draws)
    return replace(evaluation, other=explained(other, judged), differences=differences)


def filled(predictions: Predictions, prior: Sequence[float]) -> Predictions:
    """With the prior where there is no answer."""
    missing = is_unanswered(predictions)
    scores = predictions.scores
    gaps = missing[:, None] if predictions.target.is_one_of else ~np.isfinite(scores)
    scores = np.where(gaps, np.asarray(prior, float), scores)
    return replace(predictions, scores=scores, seen=predictions.seen & ~missing)


def subjects(predictions: Predictions) -> Predictions:
    """One answer a group and label: the mean of those to its rows.

    The real and the forged videos of one person are two subjects.
    """
    places: dict[tuple[str, bytes], list[int]] = {}
    for i, row in enumerate(predictions.rows):
        places.setdefault((group_of(row), predictions.labels[i].tobytes()), []).append(i)
    units = predictions.take(np.array([members[0] for members in places.values()]))
    scores = np.stack([predictions.scores[members].mean(axis=0) for members in places.values()])
    seen = np.array([predictions.seen[members].any() for members in places.values()])
    return replace(units, scores=scores, seen=seen)


def labelled(labels: Values, target: Target) -> NDArray[np.intp]:
    """Positions of the rows that can be judged: those with a label (N, K).

    Raises:
        InputError: there are none.
    """
    places = np.flatnonzero(np.isfinite(labels).any(axis=1))
    if not len(places):
        raise InputError(
            f"none of the {len(labels)} rows has a label in {target.name}; there is nothing to "
            "judge by"
        )
    return places


Drawn = tuple[dict[str, Score], dict[str, Values]]
"""Metrics with intervals, and their values in each resample."""


def _scores(predictions: Predictions, draws: Resamples, *, brief: bool = False) -> Drawn:
    p = predictions
    of = prepare(p.labels, p.scores, p.target, p.thresholds, brief=brief)
    once = of(np.ones((1, len(p))))
    drawn = draws.run(p.rows, of)
    return {name: draws.score(float(v[0]), drawn[name]) for name, v in once.items()}, drawn


def _differences(here: Drawn, there: Drawn, draws: Resamples) -> dict[str, Score]:
    return {
        name: draws.score(score.value - there[0][name].value, here[1][name] - there[1][name])
        for name, score in here[0].items()
    }


def _matched(other: Predictions, judged: Predictions) -> Predictions:
    """Another's answers to the rows judged, in their order; NaN where there is none."""
    if (other.target.kind, other.target.outputs) != (judged.target.kind, judged.target.outputs):
        raise InputError(
            f"the other predicts {other.target.name} ({', '.join(other.target.outputs)}), not "
            f"{judged.target.name} ({', '.join(judged.target.outputs)}); they cannot be compared"
        )
    places = {row.key: i for i, row in enumerate(other.rows)}
    found = np.array([places.get(row.key, -1) for row in judged.rows])
    if (found < 0).all():
        raise InputError(f"the other predicts none of the {len(judged)} rows")
    scores = np.where((found < 0)[:, None], np.nan, other.scores[found])
    seen = (found >= 0) & other.seen[found]
    return replace(judged, scores=scores, seen=seen, thresholds=other.thresholds)


def _subgroups(judged: Predictions, column: str, draws: Resamples) -> Iterator[Subgroup]:
    for value, is_here in divide(judged.rows, column).items():
        here, rest = judged.take(np.flatnonzero(is_here)), judged.take(np.flatnonzero(~is_here))
        drawn = _scores(here, draws, brief=True)
        others = _scores(rest, draws, brief=True) if len(rest) else None
        n_groups = len({group_of(row) for row in here.rows})
        yield Subgroup(
            column,
            value,
            len(here),
            n_groups,
            explained(drawn[0], here),
            _differences(drawn, others, draws) if others else {},
        )


def _levels(
    judged: Predictions,
    windows: Predictions | None,
    uncalibrated: Predictions | None,
    draws: Resamples,
) -> Iterator[Level]:
    if windows is not None:
        keys = {row.key for row in judged.rows}
        answered = ~is_unanswered(windows)
        is_judged = np.array([row.key in keys for row in windows.rows], bool)
        units = windows.take(np.flatnonzero(answered & is_judged))
        if len(units):
            yield Level(WINDOW, len(units), explained(_scores(units, draws)[0], units))
    if judged.target.kind == "binary":
        units = subjects(judged)
        if len(units) < len(judged):
            yield Level(SUBJECT, len(units), explained(_scores(units, draws)[0], units))
    if uncalibrated is not None and judged.target.kind != "regression":
        units = _matched(uncalibrated, judged)
        units = replace(units, scores=np.where(judged.seen[:, None], units.scores, judged.scores))
        scores = _scores(units, draws)[0]
        yield Level(UNCALIBRATED, len(units), {name: scores[name] for name in _OF_PROBABILITIES})
