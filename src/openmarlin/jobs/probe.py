"""`probe`: labelled videos -> a head on frozen features, chosen on validation, judged on test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.clips import Sampling
from openmarlin.data.manifest import Row, read_manifest
from openmarlin.data.parts import FinishedVideos
from openmarlin.errors import InputError, option
from openmarlin.files import write_json
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import choose
from openmarlin.model.zoo import caution
from openmarlin.native import claim_process
from openmarlin.output import OutputFolder
from openmarlin.report import words
from openmarlin.report.evaluation import (
    MAX_MISTAKES,
    REPORT_FILE,
    EvaluationAbout,
    write_evaluation,
)
from openmarlin.report.metric_words import headline
from openmarlin.report.probe import SHARES_FILE, as_json, sections, write_shares
from openmarlin.settings import documented, read_settings
from openmarlin.tasks.card import write_card
from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions
from openmarlin.tasks.labels import Target, Values, infer_target
from openmarlin.tasks.mistakes import worst_mistakes
from openmarlin.tasks.model import TaskConfig
from openmarlin.tasks.predictions import PREDICTIONS_FILE, Predictions
from openmarlin.tasks.probe import Draw, Outcome, Problem, check_parts, history_of
from openmarlin.tasks.probe_features import (
    FeatureFolder,
    RowFeatures,
    extract_features,
    list_unseen,
)
from openmarlin.tasks.scorecard import METRICS_CSV, METRICS_JSON
from openmarlin.tasks.settings import ProbeSettings
from openmarlin.tasks.sources import with_levels
from openmarlin.tasks.splits import (
    SPLITS_FILE,
    TEST,
    TRAIN,
    find_leaks,
    fingerprint,
    make_split,
    write_split,
)

MODEL, FEATURES = "model", "features"
_FILES = (MODEL, FEATURES, SPLITS_FILE, PREDICTIONS_FILE, SHARES_FILE, METRICS_JSON, METRICS_CSV)


@dataclass(frozen=True)
class Probed:
    """What came out.

    Attributes:
        evaluation: the numbers on test.
        config: of the model: what was learnt from and chosen.
        draws: of shares of the training labels.
        failures: {video: reason} of what could not be read, only in part, or shows no face.
        model: the folder of the model.
        out: the folder of the run.
        caution: what to know of the encoder; or empty.
    """

    evaluation: Evaluation
    config: TaskConfig
    draws: list[Draw]
    failures: dict[str, str]
    model: Path
    out: Path
    caution: str = ""


@documented(ProbeSettings)
def probe(
    labels: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Probed:
    """Train a head on frozen features of labelled videos.

    Args:
        labels: a CSV of videos with their labels.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar, and say what is going on.
        {settings}

    Returns:
        The numbers; the folder `out` holds the model and a report.

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they are
            listed in `.failures`, and count in the numbers.
    """
    claim_process()
    s = read_settings(ProbeSettings, config, settings)
    labelled = _read_labels(labels, s)
    if progress:
        console.print(escape(labelled.words()), soft_wrap=True)
    encoder = load(s.model, part="encoder")
    choose(s.precision, "auto", next(encoder.parameters()).device)
    features_folder = _open_features(s, encoder)
    if features_folder is not None:
        windows = features_folder.settings.items()
        s = s.model_copy(update={k: v for k, v in windows if k in ProbeSettings.model_fields})
    sampling = features_folder.sampling if features_folder else _sampling(s)
    sampling.windows(encoder.config.frames)  # what does not fit is refused here
    with _output(s, encoder, labelled) as folder:
        given = None
        if features_folder is not None:
            given = features_folder.read(labelled.rows, tokens=s.head == "attentive")
        folder.begin()
        write_split(folder.path / SPLITS_FILE, labelled.rows, labelled.target)
        features = given or extract_features(
            encoder,
            labelled.rows,
            sampling,
            folder.path / FEATURES,
            folder.failures,
            tokens=s.head == "attentive",
            precision=s.precision,
            batch=s.batch,
            workers=s.workers,
            progress=progress,
        )
        problems = list_unseen(features, folder.failures)
        problem = _problem(labelled, features, encoder, sampling, s, progress)
        first = problem.learn(problem.share(problem.examples(TRAIN), s.shares[0], 0))
        draws = list(problem.draws(first))
        evaluation = _evaluate(problem, first, problems, labelled.notes, folder.path)
        about = _about(labels, labelled, problem, first, draws)
        _write(folder.path, problem, first, draws, evaluation, about)
        return Probed(
            evaluation,
            first.model.config,
            draws,
            folder.failures.as_dict(),
            folder.path / MODEL,
            folder.path,
            caution(encoder.config),
        )


@dataclass(frozen=True)
class Labelled:
    """The rows to work with.

    Attributes:
        target: what is predicted.
        rows: with a label, each in a part of the split.
        labels: (N, K).
        how: the split came about.
        left_out: reasons and how many rows of the table.
        notes: what a reader must know.
    """

    target: Target
    rows: list[Row]
    labels: Values
    how: str
    left_out: dict[str, int]
    notes: list[str]

    def words(self) -> str:
        """What was inferred, in a line."""
        target = self.target
        values = ", ".join(target.classes[:8]) + (", ..." if len(target.classes) > 8 else "")
        other = "class"
        if target.kind == "class":
            other = "binary" if len(target.classes) == 2 else "ordinal"
        change = option("label", f"{target.columns[0]}:{other}")
        return f"{target.name}: {target.kind} ({values}); for another kind {change}"


def _read_labels(table: str | Path, s: ProbeSettings) -> Labelled:
    """Rows, target and split, with everything that can be wrong with them found."""
    rows = read_manifest(table).rows
    target = infer_target(s.label, rows)
    has_label = np.isfinite(target.encode(rows)).any(axis=1)
    labelled = [rows[int(i)] for i in np.flatnonzero(has_label)]
    split = make_split(labelled, target, s.seed)
    used = [row for row in split.rows if row.split]
    labels = target.encode(used)
    notes = check_parts(used, labels, target)
    left_out = {
        "without a label": len(rows) - len(labelled),
        "without a part of the split": len(labelled) - len(used),
    }
    notes += [f"{n} of {len(rows)} rows are {why}: left out." for why, n in left_out.items() if n]
    if split.is_partly_made:
        notes.append(f"The split is {split.how}.")
    if not any(row.group for row in used):
        notes.append(
            "There is no column group: every video counts as another person, in the split and in "
            "the intervals."
        )
    leaks = find_leaks(used)
    if leaks and s.leaks == "refuse":
        raise InputError(
            f"{leaks.line()}: test would not be new; correct the columns split and group, or "
            f"{option('leaks', 'allow')}"
        )
    notes += [f"Allowed: {leaks.line()}. The numbers flatter."] if leaks else []
    return Labelled(target, used, labels, split.how, left_out, notes)


def _sampling(s: ProbeSettings) -> Sampling:
    return Sampling(
        s.rate, s.stride, s.tail, s.faces, s.precropped, align=False, limit_s=s.limit_seconds
    )


def _open_features(s: ProbeSettings, encoder: Encoder) -> FeatureFolder | None:
    """The folder that was named, after checks that it is of this model and these windows."""
    if s.features is None:
        return None
    folder = FeatureFolder.open(s.features)
    folder.check_model(weights_sha256(encoder), encoder.config.name)
    for name, value in folder.settings.items():
        if name in s.model_fields_set and getattr(s, name) != value:
            raise InputError(
                f"{option('features', s.features)}: extracted with {option(name, value)}, not "
                f"{option(name, getattr(s, name))}; leave that out, or extract again"
            )
    return folder


def _output(s: ProbeSettings, encoder: Encoder, labelled: Labelled) -> OutputFolder:
    for name in ("features", "model"):
        source = Path(getattr(s, name) or "")
        inside = s.out.resolve() in (source.resolve(), *source.resolve().parents)
        if s.overwrite and getattr(s, name) and source.exists() and inside:
            raise InputError(
                f"{option(name, source)} lies in {s.out}, which {option('overwrite', True)} "
                "empties: name another folder"
            )
    identity = {
        "model_sha256": weights_sha256(encoder),
        "labels_sha256": fingerprint(labelled.rows, labelled.labels),
    }
    return OutputFolder(
        s.out,
        verb="probe",
        settings=s,
        files=[*_FILES, REPORT_FILE],
        identity=identity,
        resume=s.resume,
        overwrite=s.overwrite,
    )


def _problem(
    labelled: Labelled,
    features: RowFeatures,
    encoder: Encoder,
    sampling: Sampling,
    s: ProbeSettings,
    progress: bool,
) -> Problem:
    rows, labels, target = labelled.rows, labelled.labels, labelled.target
    history = {
        **history_of(rows, labels, target, encoder, s.head),
        "split": labelled.how,
        "labels": fingerprint(rows, labels),
        "left_out": {why: n for why, n in labelled.left_out.items() if n},
    }
    return Problem(target, rows, labels, features, encoder, sampling, s, history, progress)


def _evaluate(
    problem: Problem, outcome: Outcome, problems: dict[str, str], notes: Sequence[str], out: Path
) -> Evaluation:
    """The numbers on test; predictions.csv has all rows."""
    s = problem.settings
    every = problem.predictions(outcome, problems)
    every.write(out / PREDICTIONS_FILE)
    levels = with_levels(outcome.model, every, every, outcome.answers)
    evaluation = evaluate_predictions(
        every.part(TEST),
        resamples=s.resamples,
        seed=s.seed,
        prior=outcome.model.config.prior,
        windows=_part(levels.windows),
        uncalibrated=_part(levels.uncalibrated),
    )
    return replace(evaluation, notes=[*notes, *outcome.fitted.notes, *evaluation.notes])


def _part(predictions: Predictions | None) -> Predictions | None:
    return None if predictions is None else predictions.part(TEST)


def _about(
    table: str | Path,
    labelled: Labelled,
    problem: Problem,
    outcome: Outcome,
    draws: Sequence[Draw],
) -> EvaluationAbout:
    s, encoder = problem.settings, problem.encoder.config
    parts = problem.history["parts"]
    facts = [
        ("Head", s.head),
        ("Encoder", encoder.name),
        ("Train, val, test", ", ".join(f"{part['rows']:,}" for part in parts.values())),
        ("Labels", str(table)),
    ]
    config = outcome.model.config
    details = words.settings(
        {
            "settings": s.recipe(),
            "split": {"how": labelled.how, **{name: _words(part) for name, part in parts.items()}},
            "model": {
                "temperature": config.temperature,
                "thresholds": config.thresholds,
                **problem.history["encoder"],
            },
        }
    )
    more = sections(outcome.fitted, draws, problem.target)
    return EvaluationAbout(problem.target.name, facts, more, details, verb="probe")


def _words(part: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {n}" for name, n in part["of_class"].items())
    return f"{part['rows']} videos, {part['groups']} groups: {classes}"


def _write(
    out: Path,
    problem: Problem,
    outcome: Outcome,
    draws: Sequence[Draw],
    evaluation: Evaluation,
    about: EvaluationAbout,
) -> None:
    """The model last: once it is there, all of it is."""
    judged = evaluation.predictions
    kept = FinishedVideos(problem.features.folder, problem.encoder.config.width)
    pictures = {
        mistake.place: [
            image for thumb in kept.thumbs(judged.rows[mistake.place]) for image in thumb.images
        ]
        for mistake in worst_mistakes(judged, MAX_MISTAKES)
    }
    write_evaluation(out, evaluation, about, pictures)
    content = json.loads((out / METRICS_JSON).read_text(encoding="utf-8"))
    more = {"probe": as_json(outcome.fitted, draws, problem.target)}
    write_json(out / METRICS_JSON, {**content, **more})
    if len(draws) > 1:
        write_shares(out / SHARES_FILE, draws)
    outcome.model.save(out / MODEL, write_card(outcome.model.config, evaluation), overwrite=True)


def announce(result: Probed) -> None:
    """Say in a few lines what was done and where to look."""
    if result.caution:
        console.print(f"[yellow]{escape(result.caution)}[/]", soft_wrap=True)
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    for note in result.evaluation.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    chosen = result.config.chosen_on
    settings = ", ".join(f"{name} {value}" for name, value in chosen["settings"].items())
    console.print(
        f"Chosen on {chosen['rows']} validation videos: {escape(settings)}", soft_wrap=True
    )
    console.print(f"Test: {escape(headline(result.evaluation))}", soft_wrap=True)
    console.print(f"Model: {escape(str(result.model))}", soft_wrap=True)
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
