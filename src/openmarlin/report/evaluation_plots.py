"""The pictures of an evaluation: confusion, ROC, precision, calibration and threshold curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from openmarlin.report.figure import Curve
from openmarlin.report.metric_words import number, title
from openmarlin.report.plots import confusion_svg, scatter_svg, square_svg
from openmarlin.tasks.evaluation import UNCALIBRATED, Evaluation
from openmarlin.tasks.labels import Values
from openmarlin.tasks.metrics import name_of
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.ranking import Counts, Ranking, bins_of

MAX_CURVES = 8
MAX_COLUMNS = 6
MAX_CLASSES = 40


@dataclass(frozen=True)
class Figure:
    """A plot with its heading and a sentence."""

    title: str
    svg: Markup
    note: str


def draw(evaluation: Evaluation) -> list[Figure]:
    """All plots that suit the kind of label."""
    kind = evaluation.target.kind
    if kind == "regression":
        return list(_scatters(evaluation.predictions))
    figures = []
    if kind != "multilabel":
        figures += list(_confusion(evaluation.predictions))
    rankings = _rankings(evaluation)
    figures += [*_roc(rankings, evaluation), *_precision(rankings)]
    decided = _decided(evaluation.predictions)
    figures += _calibration(decided, evaluation)
    figures.append(
        _coverage(decided) if evaluation.target.is_one_of else _thresholds(decided, evaluation)
    )
    return figures


def _count(scores: Values, positive: Values) -> Counts:
    return Ranking(scores, positive).count(np.ones((1, len(scores))))


def _rankings(evaluation: Evaluation) -> dict[str, Counts]:
    """Counts by name: of the one output, or of all labels and some."""
    p = evaluation.predictions
    target, labels, scores = p.target, p.labels, p.scores
    if target.kind == "binary":
        return {target.outputs[0]: _count(scores[:, 0], labels[:, 0])}
    if target.is_one_of:
        columns = (labels == np.arange(len(target.classes))).astype(float)
    else:
        columns = labels
    curves = {}
    if target.kind == "multilabel":
        keep = np.isfinite(labels)
        curves["all pairs"] = _count(scores[keep], labels[keep])
    for i in _chosen(evaluation):
        keep = np.isfinite(columns[:, i])
        curves[target.classes[i]] = _count(scores[keep, i], columns[keep, i])
    return curves


def _chosen(evaluation: Evaluation) -> list[int]:
    """Classes whose curves are drawn: all, or the best and the worst where they are many."""
    names = evaluation.target.classes
    auc = np.array([_value(evaluation, name_of("auc", name)) for name in names])
    if not np.isfinite(auc).any():  # an ordinal target has none
        p = evaluation.predictions
        auc = np.array([(p.labels[:, 0] == i).sum() or np.nan for i in range(len(names))], float)
    order = [int(i) for i in np.argsort(auc) if np.isfinite(auc[i])]
    most = MAX_CURVES - (evaluation.target.kind == "multilabel")
    if len(order) <= most:
        return sorted(order)
    return sorted(order[: most // 2] + order[-(most - most // 2) :])


def _value(evaluation: Evaluation, name: str) -> float:
    score = evaluation.scores.get(name)
    return np.nan if score is None else score.value


def _confusion(p: Predictions) -> Iterator[Figure]:
    n = len(p.target.classes)
    if n > MAX_CLASSES:
        return
    cells = p.labels[:, 0].astype(int) * n + p.decisions[:, 0].astype(int)
    counts = np.bincount(cells, minlength=n * n).reshape(n, n).astype(np.float64)
    svg = confusion_svg(counts, p.target.classes, "confusion")
    yield Figure(
        "Confusion", Markup(svg), "Rows by truth and answer; the tint is the share of a row."
    )


def _roc(rankings: dict[str, Counts], evaluation: Evaluation) -> Iterator[Figure]:
    curves: dict[str, Curve] = {}
    for name, counts in rankings.items():
        true, false = counts.rates
        if np.isfinite(true).all() and np.isfinite(false).all():
            curves[name] = (false[0], true[0])
    if curves:
        mark = _operating_point(evaluation)
        words = "The circle is the threshold in use. " if mark else ""
        svg = square_svg(
            curves,
            "roc",
            x="false positive rate",
            y="true positive rate",
            diagonal=True,
            marks=mark,
        )
        yield Figure(
            "ROC", Markup(svg), f"{words}The dashed line is guessing.{_left_out(evaluation)}"
        )


def _operating_point(evaluation: Evaluation) -> list[tuple[float, float]]:
    if evaluation.target.kind != "binary":
        return []
    p = evaluation.predictions
    yes, true = p.decisions[:, 0] == 1, p.labels[:, 0] == 1
    return [(float(yes[~true].mean()), float(yes[true].mean()))]


def _left_out(evaluation: Evaluation) -> str:
    """What to say of classes without a curve."""
    drawn = len(_chosen(evaluation))
    if evaluation.target.kind == "binary" or drawn < MAX_CURVES - 1:
        return ""
    n = len(evaluation.target.classes)
    return (
        f" Drawn: {drawn} of {n}, those with the lowest and the highest AUC." if drawn < n else ""
    )


def _precision(rankings: dict[str, Counts]) -> Iterator[Figure]:
    curves: dict[str, Curve] = {}
    for name, counts in rankings.items():
        if counts.n_true[0]:
            curves[name] = (
                counts.true[0] / counts.n_true[0],
                counts.true[0] / np.maximum(counts.above[0], 1e-12),
            )
    if curves:
        svg = square_svg(curves, "precision", x="recall", y="precision")
        note = "How many of the rows found are right, as more are found."
        yield Figure("Precision and recall", Markup(svg), note)


def _decided(p: Predictions) -> Counts:
    """Probabilities and whether what they say came true: of the answer, or of each yes."""
    if p.target.is_one_of:
        right = (p.scores.argmax(axis=1) == p.labels[:, 0]).astype(float)
        return _count(p.scores.max(axis=1), right)
    keep = np.isfinite(p.labels)
    return _count(p.scores[keep], p.labels[keep])


def _calibration(counts: Counts, evaluation: Evaluation) -> list[Figure]:
    n_bins = bins_of(int(counts.mass.sum()))
    _, said, came_true = counts.bins(n_bins)
    one_of = evaluation.target.is_one_of
    svg = square_svg(
        {"bins": (said[0], came_true[0])},
        "calibration",
        x="probability of the answer" if one_of else "probability",
        y="share that is right" if one_of else "share that is so",
        diagonal=True,
        dots=True,
    )
    note = f"{n_bins} bins of equal mass; on the dashed line, probabilities mean what they say."
    before = next((v for v in evaluation.levels if v.name == UNCALIBRATED), None)
    if before is not None:
        note += " Before the temperature, " + " and ".join(
            f"{title(name)} is {number(before.scores[name].value)} in place of "
            f"{number(evaluation.scores[name].value)}"
            for name in before.scores
        )
        note += "."
    return [Figure("Calibration", Markup(svg), note)]


def _thresholds(counts: Counts, evaluation: Evaluation) -> Figure:
    true, false = (rate[0, 1:] for rate in counts.rates)
    f1 = 2 * counts.true[0] / np.maximum(counts.above[0] + counts.n_true[0], 1e-12)
    right = counts.true[0] + counts.n_false[0] - (counts.above[0] - counts.true[0])
    curves = {
        "accuracy": right / counts.mass.sum(),
        "balanced accuracy": (true + 1 - false) / 2,
        "F1": f1,
    }
    places = counts.values
    svg = square_svg(
        {name: (places, values) for name, values in curves.items()},
        "thresholds",
        x="threshold",
        y="",
    )
    limits = evaluation.predictions.thresholds
    used = f"In use: {limits[0]:.3g}." if len(limits) == 1 else ""
    if len(limits) > 1:
        used = f"In use: one a label, {min(limits):.2f} to {max(limits):.2f}."
    note = f"From which probability on a yes is a yes. {used or 'In use: 0.5.'}"
    return Figure("Thresholds", Markup(svg), note)


def _coverage(counts: Counts) -> Figure:
    share = counts.above[0] / counts.mass.sum()
    accuracy = counts.true[0] / np.maximum(counts.above[0], 1e-12)
    svg = square_svg(
        {"accuracy": (share, accuracy), "probability": (share, counts.values)},
        "coverage",
        x="share of the rows that are answered",
        y="",
    )
    note = (
        "Accuracy where only the most certain answers are given, and the probability from which on."
    )
    return Figure("Thresholds", Markup(svg), note)


def _scatters(p: Predictions) -> Iterator[Figure]:
    for i, name in enumerate(p.target.classes[:MAX_COLUMNS]):
        keep = np.isfinite(p.labels[:, i])
        if keep.any():
            svg = scatter_svg(
                p.labels[keep, i],
                p.scores[keep, i],
                f"scatter-{i}",
                x_label="true",
                y_label="answered",
            )
            yield Figure(name, Markup(svg), "A point a row; on the dashed line, answers are right.")
