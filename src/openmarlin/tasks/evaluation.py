"""How well answers do: every metric with its interval, beside the answer that knows nothing.

evaluation = evaluate_predictions(predictions.part("test"))
evaluation.scores["auc"].value, evaluation.scores["auc"].low
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.errors import InputError
from openmarlin.output import part_name
from openmarlin.settings import nearest
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.metrics import (
    MAIN_METRIC,
    Measure,
    measure_prior,
    prepare,
    split_name,
)
from openmarlin.tasks.model import prior_of
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.resampling import Resamples, Score
from openmarlin.tasks.splits import group_of

PARTLY = "partly read"
_FEW_NEGATIVES = {"tpr_at_fpr_1": 100, "tpr_at_fpr_5": 20}
_NO_VALUE = "(none)"


@dataclass(frozen=True)
class Level:
    """The same answers, judged by other units than videos.

    Attributes:
        name: window or subject.
        n: of them.
        scores: metric -> number.
    """

    name: str
    n: int
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Subgroup:
    """The rows that have one value in a column.

    Attributes:
        column: of the table.
        value: in it.
        n: rows.
        n_groups: people, or what the groups are.
        scores: some metrics of these rows.
        differences: from all other rows.
    """

    column: str
    value: str
    n: int
    n_groups: int
    scores: Mapping[str, Score]
    differences: Mapping[str, Score]


@dataclass(frozen=True)
class Evaluation:
    """What is known of how well answers do.

    Attributes:
        predictions: the rows with a label, and the answers they were judged by.
        scores: metric -> number; metrics of one output are named `recall[happy]`.
        prior: of the answer that is the same for all rows, metric -> value.
        prior_source: where that answer is from.
        counts: rows, labelled, without_face, unreadable, without_answer, groups, and the rows of
            each class.
        notes: what a reader must know, a sentence each.
        resamples: of groups, for the intervals.
        seed: of the resamples.
        other: what another's answers to the same rows score.
        differences: from those, on the same resamples.
        subgroups: by every column that was asked for.
        levels: the answers to windows and subjects.
    """

    predictions: Predictions
    scores: Mapping[str, Score]
    prior: Mapping[str, float]
    prior_source: str
    counts: Mapping[str, int]
    notes: Sequence[str]
    resamples: int
    seed: int
    other: Mapping[str, Score] = field(default_factory=dict)
    differences: Mapping[str, Score] = field(default_factory=dict)
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
    prior: Sequence[float] | None = None,
    windows: Predictions | None = None,
) -> Evaluation:
    """Judge answers by the labels of their rows.

    Rows without a label are counted and left out. Rows without an answer (NaN) are judged by the
    prior: leaving them out would reward a model that is silent where it is hard.

    Args:
        predictions: of the rows to judge.
        resamples: of groups, for the intervals.
        seed: of the resamples.
        against: another's answers to the same rows; rows are matched by video and part.
        subgroups: columns of the rows.
        prior: the mean answer to the training labels (`prior_of`); without it that of the labels
            judged.
        windows: the same model's answers to windows, each with the row that it is of.

    Raises:
        InputError: no row has a label, a column is missing, or the other predicts something else.
    """
    every, target = predictions, predictions.target
    judged = every.take(np.flatnonzero(np.isfinite(every.labels).any(axis=1)))
    if not len(judged):
        raise InputError(f"none of the {len(every)} rows has a label in {target.name}")
    source = "the training labels" if prior is not None else "the labels judged"
    constant = tuple(prior) if prior is not None else prior_of(judged.labels, target)
    unanswered = is_unanswered(judged)
    judged = filled(judged, constant)
    draws = Resamples(judged.rows, resamples, seed)
    scores, drawn = _scores(judged, draws)
    counts = _counts(every, judged, unanswered, draws.n_groups)
    evaluation = Evaluation(
        judged,
        _explained(scores, judged),
        measure_prior(judged.labels, target, constant),
        source,
        counts,
        _notes(judged, counts),
        resamples,
        seed,
        subgroups=[s for name in subgroups for s in _subgroups(judged, name, draws)],
        levels=_levels(judged, windows, draws),
    )
    if against is None:
        return evaluation
    other, others = _scores(filled(_matched(against, judged), constant), draws)
    differences = {
        name: draws.score(score.value - other[name].value, drawn[name] - others[name])
        for name, score in scores.items()
    }
    return replace(evaluation, other=_explained(other, judged), differences=differences)


def is_unanswered(predictions: Predictions) -> NDArray[np.bool_]:
    """(N,) whether an answer, or a part of it, is missing."""
    return np.asarray(~np.isfinite(predictions.scores).all(axis=1))


def filled(predictions: Predictions, prior: Sequence[float]) -> Predictions:
    """With the prior where there is no answer."""
    missing = is_unanswered(predictions)
    scores, constant = predictions.scores, np.asarray(prior, float)
    gaps = missing[:, None] if predictions.target.is_one_of else ~np.isfinite(scores)
    scores = np.where(gaps, constant, scores)
    return replace(predictions, scores=scores, seen=predictions.seen & ~missing)


def _prepared(predictions: Predictions, *, brief: bool = False) -> Measure:
    p = predictions
    return prepare(p.labels, p.scores, p.target, p.thresholds, brief=brief)


def _scores(
    predictions: Predictions, draws: Resamples, *, brief: bool = False
) -> tuple[dict[str, Score], dict[str, Values]]:
    """Metrics with intervals, and their values in each resample."""
    of = _prepared(predictions, brief=brief)
    once = of(np.ones((1, len(predictions))))
    drawn = draws.run(predictions.rows, of)
    return {name: draws.score(float(v[0]), drawn[name]) for name, v in once.items()}, drawn


def _matched(other: Predictions, judged: Predictions) -> Predictions:
    """Another's answers to the rows judged, in their order; NaN where there is none."""
    if (other.target.kind, other.target.outputs) != (judged.target.kind, judged.target.outputs):
        raise InputError(
            f"the other predicts {other.target.name} ({', '.join(other.target.outputs)}), not "
            f"{judged.target.name} ({', '.join(judged.target.outputs)})"
        )
    places = {row.key: i for i, row in enumerate(other.rows)}
    found = np.array([places.get(row.key, -1) for row in judged.rows])
    if (found < 0).all():
        raise InputError(f"the other predicts none of the {len(judged)} rows")
    scores = np.where((found < 0)[:, None], np.nan, other.scores[found])
    seen = (found >= 0) & other.seen[found]
    return replace(judged, scores=scores, seen=seen, thresholds=other.thresholds)


def _subgroups(judged: Predictions, column: str, draws: Resamples) -> list[Subgroup]:
    names = dict.fromkeys(name for row in judged.rows for name in row.labels)
    if column not in names:
        raise InputError(f"there is no column '{column}' in the table{nearest(column, names)}")
    values = np.array([row.labels.get(column, "") or _NO_VALUE for row in judged.rows])
    groups = []
    for value in sorted(set(values.tolist())):
        here, rest = (
            judged.take(np.flatnonzero(mask)) for mask in (values == value, values != value)
        )
        scores, drawn = _scores(here, draws, brief=True)
        differences: dict[str, Score] = {}
        if len(rest):
            others, drawn_others = _scores(rest, draws, brief=True)
            differences = {
                name: draws.score(
                    score.value - others[name].value, drawn[name] - drawn_others[name]
                )
                for name, score in scores.items()
            }
        n_groups = len({group_of(row) for row in here.rows})
        groups.append(Subgroup(column, value, len(here), n_groups, scores, differences))
    return groups


def _levels(judged: Predictions, windows: Predictions | None, draws: Resamples) -> list[Level]:
    levels = []
    if windows is not None:
        keys = {row.key for row in judged.rows}
        answered = np.isfinite(windows.scores).all(axis=1)
        known = np.array([row.key in keys for row in windows.rows], bool)
        units = windows.take(np.flatnonzero(answered & known))
        if len(units):
            levels.append(Level("window", len(units), _scores(units, draws)[0]))
    units = subjects(judged)
    if judged.target.kind == "binary" and len(units) < len(judged):
        levels.append(Level("subject", len(units), _scores(units, draws)[0]))
    return levels


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


def _counts(
    every: Predictions, judged: Predictions, unanswered: NDArray[np.bool_], n_groups: int
) -> dict[str, int]:
    failed = [is_unreadable(row, every) for row in judged.rows]
    counts = {
        "rows": len(every),
        "labelled": len(judged),
        "groups": n_groups,
        "without_face": int((~judged.seen & ~unanswered & ~np.array(failed, bool)).sum()),
        "unreadable": sum(failed),
        "without_answer": int((unanswered & ~np.array(failed, bool)).sum()),
    }
    for name, n in rows_by_class(judged).items():
        counts[f"of[{name}]"] = n
    return counts


def rows_by_class(predictions: Predictions) -> dict[str, int]:
    """How many rows there are of each class (of a multilabel target: to which a label applies)."""
    labels, target = predictions.labels, predictions.target
    if target.kind == "regression":
        return {
            name: int(np.isfinite(y).sum())
            for name, y in zip(target.classes, labels.T, strict=True)
        }
    if target.kind == "multilabel":
        return {name: int((y == 1).sum()) for name, y in zip(target.classes, labels.T, strict=True)}
    return {name: int((labels[:, 0] == i).sum()) for i, name in enumerate(target.classes)}


def is_unreadable(row: Row, predictions: Predictions) -> bool:
    """Whether a video could not be read at all."""
    problem = predictions.problems.get(part_name(str(row.video), row.part), "")
    return bool(problem) and not problem.startswith(PARTLY)


def _explained(scores: Mapping[str, Score], judged: Predictions) -> dict[str, Score]:
    """With words where a number is not defined."""
    explained = {}
    n_negative = int((judged.labels == 0).sum())
    for name, score in scores.items():
        note = score.note
        if not np.isfinite(score.value):
            output = split_name(name)[1]
            note = f"not defined: {_missing(judged, output)}"
        elif n_negative < _FEW_NEGATIVES.get(name, 0):
            note = f"of {n_negative} negatives none may be let through"
        explained[name] = replace(score, note=note)
    return explained


def _missing(judged: Predictions, output: str) -> str:
    target, labels = judged.target, judged.labels
    if target.kind == "regression":
        return "the labels or the answers are all the same"
    if target.kind == "multilabel":
        columns = [labels[:, target.classes.index(output)]] if output else list(labels.T)
        lacks = {"no row has it" for y in columns if not (y == 1).any()}
        lacks |= {"every row has it" for y in columns if not (y == 0).any()}
        return " and ".join(sorted(lacks)) or "too few labels"
    absent = [name for name, n in rows_by_class(judged).items() if not n]
    return f"no row is {' or '.join(absent)}" if absent else "too few labels"


def _notes(judged: Predictions, counts: Mapping[str, int]) -> list[str]:
    notes = []
    if judged.target.kind != "regression":
        absent = [name for name, n in rows_by_class(judged).items() if not n]
        if absent:
            notes.append(
                f"No row judged is {', '.join(absent)}: what needs such rows is not defined, and "
                "means are over what is."
            )
    for key, what in (
        ("without_face", "without a face"),
        ("unreadable", "that could not be read"),
        ("without_answer", "without an answer"),
    ):
        if counts[key]:
            notes.append(f"{counts[key]} of the rows judged are {what}; they count.")
    return notes
