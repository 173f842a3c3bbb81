"""The answers that are furthest from the truth, and how to say them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmarlin.data.manifest import Row, bounds, display
from openmarlin.tasks.labels import Values
from openmarlin.tasks.predictions import Predictions

_MOST_NAMES = 4  # of labels that one mistake lists


@dataclass(frozen=True)
class Mistake:
    """A row whose answer is wrong.

    Attributes:
        place: of the row among the predictions.
        title: of the row: the file, its folder, and the part.
        truth: its label, in words.
        answer: what was said instead.
    """

    place: int
    title: str
    truth: str
    answer: str


def worst_mistakes(predictions: Predictions, most: int) -> list[Mistake]:
    """At most so many rows with a wrong answer, the worst first.

    How bad one is: the probability that was not given to the truth; of an ordinal target the
    distance of the expected class; of a multilabel one the mean over its labels; of a regression
    the mean distance in deviations of the labels (there, no answer is right).
    """
    distance = distances(predictions)
    wrong = _is_wrong(predictions)
    order = [int(i) for i in np.argsort(-distance, kind="stable") if wrong[i]]
    return [_in_words(predictions, i) for i in order[:most]]


def distances(predictions: Predictions) -> Values:
    """(N,) how far each answer is from the truth; see `worst_mistakes`."""
    labels, scores, kind = predictions.labels, predictions.scores, predictions.target.kind
    if kind in ("class", "ordinal"):
        true = labels[:, 0].astype(int)
        if kind == "ordinal":
            return np.asarray(np.abs(scores @ np.arange(scores.shape[1]) - true))
        return np.asarray(1 - scores[np.arange(len(true)), true])
    gaps = np.abs(scores - labels)
    if kind == "regression":
        spread = np.nanstd(labels, axis=0)
        gaps = gaps / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.nanmean(gaps, axis=1))


def _is_wrong(predictions: Predictions) -> Values:
    labels = predictions.labels
    return np.asarray((np.isfinite(labels) & (predictions.decisions != labels)).any(axis=1))


def _in_words(predictions: Predictions, place: int) -> Mistake:
    p, target = predictions, predictions.target
    labels, scores, chosen = p.labels[place], p.scores[place], p.decisions[place]
    if target.kind == "multilabel":
        wrong = np.flatnonzero(np.isfinite(labels) & (chosen != labels))
        wrong = wrong[np.argsort(-np.abs(scores - labels)[wrong], kind="stable")]
        truth = [name for name, y in zip(target.classes, labels, strict=True) if y == 1]
        said = [
            f"{'' if chosen[i] else 'no '}{target.classes[i]} ({scores[i]:.2f})"
            for i in wrong[:_MOST_NAMES]
        ]
        more = [f"{len(wrong) - _MOST_NAMES} more"] if len(wrong) > _MOST_NAMES else []
        return Mistake(
            place, _short(p.rows[place]), ", ".join(truth) or "none", ", ".join(said + more)
        )
    if target.kind == "regression":
        names = [f"{name} " if len(target.classes) > 1 else "" for name in target.classes]
        truth, said = (
            [f"{name}{v:.3g}" for name, v in zip(names, values, strict=True) if np.isfinite(v)]
            for values in (labels, scores)
        )
        return Mistake(place, _short(p.rows[place]), ", ".join(truth), ", ".join(said))
    (word,), (true_word,) = target.words(chosen), target.words(labels)
    of_word = scores[0] if target.kind == "binary" else scores[int(chosen[0])]
    if target.kind == "binary" and not chosen[0]:
        of_word = 1 - of_word
    return Mistake(place, _short(p.rows[place]), true_word, f"{word} ({of_word:.2f})")


def _short(row: Row) -> str:
    return display("/".join(row.video.parts[-2:])) + bounds(*row.part)
