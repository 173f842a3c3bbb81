"""`evaluate`: a trained model, or anybody's predictions, judged by labelled videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.manifest import Row, existing, read_manifest
from openmarlin.data.parts import PARTS
from openmarlin.errors import InputError, option
from openmarlin.output import Failures, OutputFolder
from openmarlin.report import words
from openmarlin.report.evaluation import (
    MAX_MISTAKES,
    REPORT_FILE,
    EvaluationAbout,
    write_evaluation,
)
from openmarlin.report.metric_words import headline
from openmarlin.report.robustness import ROBUSTNESS_FILE, robustness_section, write_robustness
from openmarlin.settings import documented, nearest, read_settings
from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions, labelled
from openmarlin.tasks.labels import Target
from openmarlin.tasks.mistakes import worst_mistakes
from openmarlin.tasks.predictions import PREDICTIONS_FILE, Predictions
from openmarlin.tasks.robustness import Condition, Robustness, conditions_of, measure_robustness
from openmarlin.tasks.scorecard import METRICS_CSV, METRICS_JSON
from openmarlin.tasks.settings import EvaluateSettings
from openmarlin.tasks.sources import ModelSource, Source, open_source
from openmarlin.tasks.splits import fingerprint, part_of
from openmarlin.tasks.subgroups import check_subgroups

AGAINST = "against"
"""Subfolder with what the other model made of the videos."""

_ALL = "all"
_CORRUPTED = "corrupted"  # subfolder with the same of the corrupted videos
_FILES = (
    REPORT_FILE,
    METRICS_JSON,
    METRICS_CSV,
    PREDICTIONS_FILE,
    ROBUSTNESS_FILE,
    PARTS,
    AGAINST,
    _CORRUPTED,
)


@dataclass(frozen=True)
class Judgement:
    """What came out.

    Attributes:
        evaluation: the numbers.
        failures: {video: reason} of what could not be read, or only in part.
        out: the folder.
    """

    evaluation: Evaluation
    failures: dict[str, str]
    out: Path


@documented(EvaluateSettings)
def evaluate(
    model: str | Path,
    labels: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Judgement:
    """Judge a trained model, or anybody's predictions, by labelled videos.

    Args:
        model: the folder of a model that `probe` or `finetune` made, or a CSV of predictions.
        labels: a CSV of videos with their labels.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Returns:
        The numbers; the folder `out` has them as metrics.json, metrics.csv and report.html.

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they are
            listed in `.failures`, and count with the answer that stands for no face.
    """
    s = read_settings(EvaluateSettings, config, settings)
    table = [replace(row, split=part_of(row)) for row in read_manifest(existing(labels)).rows]
    conditions = conditions_of(s.robustness)
    source = open_source(model, s.label, table, s)
    if conditions and not isinstance(source, ModelSource):
        raise InputError(
            f"{model}: {option('robustness')} needs a model, not a table of predictions"
        )
    rows, caveat = _rows_of_part(table, s.split, labels)
    check_labels(source.target, rows, labels, model)
    check_subgroups(s.subgroups, rows)
    other = open_source(s.against, s.label, table, s, source) if s.against is not None else None
    with _output(s, source, other, rows) as folder:
        folder.begin()
        answered = source.answer(rows, folder.path, folder.failures, progress)
        against = None
        if other is not None:
            path = folder.path / AGAINST
            failures = Failures(path / "failures.csv")
            against = other.answer(rows, path, failures, progress).predictions
        evaluation = evaluate_predictions(
            answered.predictions,
            resamples=s.resamples,
            seed=s.seed,
            against=against,
            subgroups=s.subgroups,
            prior=source.prior,
            windows=answered.windows,
            uncalibrated=answered.uncalibrated,
        )
        evaluation = replace(evaluation, notes=[*caveat, *evaluation.notes])
        judged = evaluation.predictions
        judged.write(folder.path / PREDICTIONS_FILE)
        pictures = {
            mistake.place: source.pictures(judged.rows[mistake.place], folder.path)
            for mistake in worst_mistakes(judged, MAX_MISTAKES)
        }
        about = _about(s, source, other, labels)
        if conditions:
            results = _robustness(source, judged, conditions, folder.path, s, progress)
            write_robustness(folder.path / ROBUSTNESS_FILE, evaluation.main, results)
            about = replace(about, sections=[robustness_section(evaluation, results)])
        write_evaluation(folder.path, evaluation, about, pictures)
        return Judgement(evaluation, folder.failures.as_dict(), folder.path)


def _robustness(
    source: Source,
    judged: Predictions,
    conditions: Sequence[Condition],
    path: Path,
    s: EvaluateSettings,
    progress: bool,
) -> list[Robustness]:
    assert isinstance(source, ModelSource)
    corrupted = path / _CORRUPTED
    return measure_robustness(source.model, judged, conditions, corrupted, s, progress=progress)


def _rows_of_part(
    table: Sequence[Row], part: str, labels: str | Path
) -> tuple[list[Row], list[str]]:
    """The rows to judge, and what must be said of the choice."""
    parts = sorted({row.split for row in table if row.split})
    if part == _ALL:
        return list(table), []
    if not parts:
        note = (
            "The labels have no column split: all rows are judged, also those that the model has "
            "learnt from, if there are any."
        )
        return list(table), [note]
    rows = [row for row in table if row.split == part]
    if not rows:
        raise InputError(
            f"{labels}: no row has the split '{part}', there are {', '.join(parts)}; choose with "
            f"{option('split')}, or {option('split', _ALL)}"
        )
    return rows, []


def check_labels(
    target: Target, rows: Sequence[Row], labels: str | Path, model: str | Path
) -> None:
    """The table has what is predicted, with values that the target has, in some row.

    Raises:
        InputError: it has not.
    """
    names = dict.fromkeys(name for row in rows for name in row.labels)
    for column in target.columns:
        if column not in names:
            raise InputError(
                f"{labels}: there is no column '{column}', which {model} predicts"
                f"{nearest(column, names)}"
            )
    labelled(target.encode(rows), target)


def _output(
    s: EvaluateSettings, source: Source, other: Source | None, rows: Sequence[Row]
) -> OutputFolder:
    identity = {
        "model_sha256": source.sha256,
        "labels_sha256": fingerprint(rows, source.target.encode(rows)),
        "against_sha256": other.sha256 if other is not None else None,
    }
    return OutputFolder(
        s.out,
        verb="evaluate",
        settings=s,
        files=_FILES,
        identity=identity,
        resume=s.resume,
        overwrite=s.overwrite,
    )


def _about(
    s: EvaluateSettings, source: Source, other: Source | None, labels: str | Path
) -> EvaluationAbout:
    facts = [("Judged", str(source.path)), ("Labels", str(labels))]
    if other is not None:
        facts.append(("Against", str(other.path)))
    details = words.settings({**source.details, "settings": s.recipe()})
    return EvaluationAbout(source.target.name, facts, details=details)


def announce(result: Judgement) -> None:
    """Say in a few lines what was done and where to look."""
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    for note in result.evaluation.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    console.print(escape(headline(result.evaluation)), soft_wrap=True)
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
