"""What a reader must know beside the numbers: how many rows, of what, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.output import part_name
from openmarlin.tasks.metrics import split_name
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.resampling import Score

PARTLY_READ = "partly read"
"""How the reason begins why a video could be read only in part (`Extractor.run`)."""

SEEN, NO_FACE, UNREADABLE, NO_ANSWER = "seen", "no face", "unreadable", "no answer"
"""States of a row; all but the first are judged by an answer that does not come from its faces."""

_FEWEST_NEGATIVES = {"tpr_at_fpr_1": 100, "tpr_at_fpr_5": 20}
_FEW_GROUPS = 20  # fewer make intervals that are too narrow


@dataclass(frozen=True)
class RowCounts:
    """How many rows stand behind an evaluation.

    Attributes:
        rows: of the part that was to be judged.
        labelled: of those; only they are judged.
        groups: people or source videos among them.
        no_face: of the labelled: no face was seen.
        unreadable: of the labelled: the video could not be read.
        no_answer: of the labelled: the predictions lack them.
        of_class: labelled rows of each class; of a multilabel target those to which a label
            applies, of a regression those with a value in a column.
    """

    rows: int
    labelled: int
    groups: int
    no_face: int
    unreadable: int
    no_answer: int
    of_class: Mapping[str, int]


def state_of_rows(predictions: Predictions) -> list[str]:
    """What each answer is based on: see `SEEN`."""
    answered = ~is_unanswered(predictions)
    states = []
    for row, seen, has_answer in zip(predictions.rows, predictions.seen, answered, strict=True):
        if _is_unreadable(row, predictions.problems):
            states.append(UNREADABLE)
        elif not has_answer:
            states.append(NO_ANSWER)
        else:
            states.append(SEEN if seen else NO_FACE)
    return states


def is_unanswered(predictions: Predictions) -> NDArray[np.bool_]:
    """(N,) whether an answer, or a part of it, is missing."""
    return np.asarray(~np.isfinite(predictions.scores).all(axis=1))


def count_rows(n_rows: int, judged: Predictions, states: Sequence[str], n_groups: int) -> RowCounts:
    """Counts of the rows judged, of the `n_rows` there were."""
    n = Counter(states)
    return RowCounts(
        n_rows,
        len(judged),
        n_groups,
        n[NO_FACE],
        n[UNREADABLE],
        n[NO_ANSWER],
        rows_of_class(judged),
    )


def rows_of_class(predictions: Predictions) -> dict[str, int]:
    """See `RowCounts.of_class`."""
    return predictions.target.count(predictions.labels)


def notes_on(counts: RowCounts, predictions: Predictions, prior_source: str) -> list[str]:
    """What must be said, a sentence each."""
    notes = []
    absent = [name for name, n in counts.of_class.items() if not n]
    if absent:
        notes.append(
            f"No row judged is {', '.join(absent)}: what needs such rows is not defined, and means "
            "are over what is."
        )
    if counts.labelled < counts.rows:
        notes.append(
            f"{counts.rows - counts.labelled} of {counts.rows} rows have no label and are left out."
        )
    for n, what, answer in (
        (counts.no_face, "show no face", "the answer that stands for no face"),
        (counts.unreadable, "could not be read", "the answer that stands for no face"),
        (counts.no_answer, "have no prediction", f"the prior of {prior_source}"),
    ):
        if n:
            notes.append(f"{n} of {counts.labelled} rows {what}; they count, with {answer}.")
    if counts.groups < _FEW_GROUPS:
        what = "groups" if any(row.group for row in predictions.rows) else "videos"
        notes.append(f"{counts.groups} {what} are few: the intervals are rough.")
    return notes


def explained(scores: Mapping[str, Score], judged: Predictions) -> dict[str, Score]:
    """The scores with a word where one is not defined, or says less than it seems to."""
    n_negative = int((judged.labels == 0).sum())
    result = {}
    for name, score in scores.items():
        note = score.note
        if not np.isfinite(score.value):
            note = f"not defined: {_why(judged, split_name(name)[1])}"
        elif n_negative < _FEWEST_NEGATIVES.get(name, 0):
            note = f"with {n_negative} negatives, none may be let through"
        result[name] = replace(score, note=note)
    return result


def _why(judged: Predictions, output: str) -> str:
    target, labels = judged.target, judged.labels
    if target.kind == "regression":
        return "the labels, or the answers, are all the same"
    if target.kind == "multilabel":
        columns = [labels[:, target.classes.index(output)]] if output else list(labels.T)
        lacks = {"no row has it" for y in columns if not (y == 1).any()}
        lacks |= {"every row has it" for y in columns if not (y == 0).any()}
        return " or ".join(sorted(lacks)) or "too few labels"
    absent = [name for name, n in rows_of_class(judged).items() if not n]
    return f"no row is {' or '.join(absent)}" if absent else "too few labels"


def _is_unreadable(row: Row, problems: Mapping[str, str]) -> bool:
    problem = problems.get(part_name(str(row.video), row.part), "")
    return bool(problem) and not problem.startswith(PARTLY_READ)
