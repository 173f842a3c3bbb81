"""`finetune`: labelled faces -> a model of a task, trained, calibrated and tested."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.layouts import list_sources
from openmarlin.data.layouts.source import Source
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.pool import check_main_guard
from openmarlin.data.preparation import make_store
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.data.store.index import check_columns
from openmarlin.data.store.writer import STORE_FILES
from openmarlin.data.tracks import TrackRules
from openmarlin.errors import InputError, option
from openmarlin.output import CONFIG_FILE, OutputFolder, file_sha256
from openmarlin.report.evaluation import REPORT_FILE, EvaluationAbout, write_evaluation
from openmarlin.report.finetune import TRAINING_FILE, training_section, write_training_report
from openmarlin.settings import Settings, documented, read_settings
from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions
from openmarlin.tasks.finetune import Finetuning, make_network
from openmarlin.tasks.finetune_answers import answer_windows, calibrate, predict_rows
from openmarlin.tasks.finetune_data import finetuning_data, rows_of_windows, window_data
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import (
    LabelledStore,
    missing_classes,
    rows_of_store,
    split_store,
)
from openmarlin.tasks.labels import Target, infer_target
from openmarlin.tasks.model import TaskConfig, TaskModel
from openmarlin.tasks.predictions import PREDICTIONS_FILE
from openmarlin.tasks.scorecard import METRICS_CSV, METRICS_JSON
from openmarlin.tasks.splits import (
    SPLITS_FILE,
    TEST,
    VAL,
    Split,
    find_leaks,
    fingerprint,
    make_split,
    write_splits,
)
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, MODEL, Run, fit

STORE = "store"
"""Folder of the store that is made of videos."""

_FILES = (
    *FILES,
    TRAINING_FILE,
    REPORT_FILE,
    METRICS_JSON,
    METRICS_CSV,
    PREDICTIONS_FILE,
    SPLITS_FILE,
    STORE,
)


@dataclass(frozen=True)
class Finetuned:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the model folder: `out`/model once the run has ended, before that the best so far.
        step: finished steps.
        steps: of the whole run.
        best: step and value of the best validation; None without any.
        monitor: the metric that this is.
        evaluation: of the test; None where the run was stopped.
        failures: {video: reason} of videos that gave no face, or could be read only in part.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    best: tuple[int, float] | None
    monitor: str
    evaluation: Evaluation | None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps


@dataclass(frozen=True)
class _Data:
    """What is learnt from, as it was named.

    Attributes:
        videos: of which a store is to be made; none where there is one.
        store: the store's folder.
        rows: of the manifest.
        target: what is predicted.
        split: of the rows with a label.
    """

    videos: Sequence[Source]
    store: Path
    rows: Sequence[Row]
    target: Target
    split: Split


@documented(FinetuneSettings)
def finetune(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Finetuned:
    """Train a model to answer what the labels of videos say.

    Args:
        data: a store that `prepare` made, or videos with labels: a CSV with a column `video`; with
            `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on. Videos that
            fail do not raise: they are listed in `.failures` and failures.csv.
    """
    request = _read(data, config, settings)
    named = _read_data(request)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            folder = stack.enter_context(_open_folder(request, named, engine))
            if named.videos:
                folder.begin()
                _make_store(named, request, folder, progress=progress)
        elif named.videos:  # the main process is here when the store is
            stack.enter_context(engine)
        labelled = split_store(
            Store(named.store),
            named.rows,
            named.split,
            named.target,
            exclude=request.exclude,
            one_class=request.self_blend > 0,
        )
        start = Checkpoints(request.out).newest() if request.resume else None
        network = make_network(labelled, request, start.model if start else None)
        model = network.encoder.config
        held_out = window_data(labelled, VAL, model, request, request.val_windows)
        clips = finetuning_data(labelled, held_out, model, request)
        if folder is not None:
            if not named.videos:
                folder.begin()
            write_splits(folder.path / SPLITS_FILE, labelled.rows)
        if folder is not None or not named.videos:
            stack.enter_context(engine)
        task = Finetuning(network, labelled, rows_of_windows(labelled, held_out), request)
        fitted = fit(task, clips, Run(request, engine, folder, start, None, progress))
        evaluation = None
        if folder is not None:
            write_training_report(folder.path, task.monitor)
            if fitted.progress.step == fitted.progress.steps:
                evaluation = _test(labelled, request, folder)
    return Finetuned(
        request.out,
        fitted.model,
        *fitted.progress,
        fitted.best,
        task.monitor.metric,
        evaluation,
        folder.failures.as_dict() if folder is not None else {},
    )


def _read(
    data: str | Path | None, config: str | Path | None, changes: dict[str, Any]
) -> FinetuneSettings:
    """The settings; those of a run that goes on come from its folder."""
    if data is not None:
        changes = {"data": str(data), **changes}
    saved = Path(changes.get("out") or "").expanduser() / CONFIG_FILE
    if changes.get("resume") and config is None and saved.is_file():
        config = saved
    return read_settings(FinetuneSettings, config, changes)


def _read_data(request: FinetuneSettings) -> _Data:
    """Rows, what is predicted of them, and who is trained and tested on."""
    is_store = (request.data / INDEX_FILE).is_file()
    videos = [] if is_store else list_sources(request.data)
    if request.labels is not None:
        rows = read_manifest(request.labels).rows
    elif is_store:
        rows = rows_of_store(Store(request.data))
    else:
        rows = [source.row for source in videos]
    target = infer_target(request.label, rows)
    labels = target.encode(rows)
    answered = [row for row, label in zip(rows, labels, strict=True) if np.isfinite(label).any()]
    split = make_split(answered, target, request.seed)
    leaks = find_leaks(split.rows)
    if leaks and request.leaks == "refuse":
        raise InputError(
            f"{leaks.line()}; give them one part, leave the column 'split' out, or "
            f"{option('leaks', 'allow')}"
        )
    store = request.data if is_store else request.out / STORE
    return _Data(videos, store, rows, target, split)


def _open_folder(request: FinetuneSettings, named: _Data, engine: Engine) -> OutputFolder:
    identity: dict[str, Any] = {
        "processes": engine.world,
        "labels_sha256": fingerprint(named.rows, named.target.encode(named.rows)),
    }
    if not named.videos:
        identity["store"] = file_sha256(named.store / INDEX_FILE)
    return OutputFolder(
        request.out,
        verb="finetune",
        settings=request,
        files=_FILES,
        identity=identity,
        resume=request.resume,
        overwrite=request.overwrite,
    )


def _make_store(
    named: _Data, request: FinetuneSettings, folder: OutputFolder, *, progress: bool
) -> None:
    """The videos become a store in the run folder, of crops as large as the model takes."""
    workers = (os.cpu_count() or 1) if request.workers is None else max(1, request.workers)
    check_main_guard(workers)
    check_columns(list(Manifest([source.row for source in named.videos]).columns()))
    rules = TrackRules(points=request.self_blend > 0)
    if request.image_size is not None:
        rules = replace(rules, size=request.image_size)
    info = {"size": rules.size, "margin": rules.margin, "min_frames": rules.min_frames}
    with OutputFolder(
        named.store,
        verb="prepare",
        settings=Settings(),
        files=STORE_FILES,
        identity={**info, "points": rules.points},
        resume=True,
    ) as store:
        store.begin()
        make_store(named.videos, rules, store, folder.failures, info, workers, progress=progress)


def _test(labelled: LabelledStore, request: FinetuneSettings, folder: OutputFolder) -> Evaluation:
    """Calibrate the model on validation, judge it on the test, write down both."""
    path = folder.path
    model = TaskModel.load(path / MODEL)
    val, test = (
        answer_windows(model, labelled, window_data(labelled, part, model.encoder.config, request))
        for part in (VAL, TEST)
    )
    model = calibrate(model, labelled, val)
    rows, of_windows = predict_rows(model, labelled, val, test)
    rows = replace(rows, problems=folder.failures.as_dict())
    rows.write(path / PREDICTIONS_FILE)
    evaluation = evaluate_predictions(
        rows.part(TEST), prior=model.config.prior, windows=of_windows.part(TEST)
    )
    model.save(path / MODEL, make_card(model.config, evaluation), overwrite=True)
    about = EvaluationAbout(
        title=f"{model.target.name}, fine-tuned",
        facts=_facts(labelled, request, model),
        sections=[training_section(path)],
    )
    write_evaluation(path, evaluation, about)
    return evaluation


def _facts(
    labelled: LabelledStore, request: FinetuneSettings, model: TaskModel
) -> list[tuple[str, str]]:
    chosen = model.config.chosen_on
    facts = [
        ("From", request.model),
        ("Trained", request.train),
        ("Split", labelled.how),
        ("Chosen on validation", f"{chosen['monitor']}, {chosen['rows']} videos"),
        ("Temperature", f"{model.config.temperature:.3g}"),
    ]
    missing = missing_classes(labelled)
    return [*facts, ("Not trained on", ", ".join(missing))] if missing else facts


def make_card(config: TaskConfig, evaluation: Evaluation) -> str:
    """The model card."""
    score = evaluation.scores[evaluation.main]
    target = Target.of(config.target)
    return (
        f"# {target.name}\n\nFine-tuned with openmarlin ({target.kind}: "
        f"{', '.join(target.classes)}). Test: {evaluation.main} {score.value:.4f}, 95 % interval "
        f"{score.low:.4f} to {score.high:.4f}.\n"
    )


def announce(result: Finetuned) -> None:
    """Say in a few lines what came of it and where to look."""
    if not is_main_process():
        return
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    best = ""
    if result.best is not None:
        best = f", best {result.monitor} {result.best[1]:.4f} after step {result.best[0]}"
    console.print(
        f"{result.step} of {result.steps} steps{best} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    if result.evaluation is not None:
        score = result.evaluation.scores[result.evaluation.main]
        console.print(
            f"test: {result.evaluation.main} {score.value:.4f}, 95 % interval {score.low:.4f} to "
            f"{score.high:.4f}, {len(result.evaluation.predictions)} videos",
            soft_wrap=True,
        )
        console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")
