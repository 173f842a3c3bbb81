"""`finetune`: labelled faces -> a model of a task, trained, calibrated and tested."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.manifest import Manifest
from openmarlin.data.pool import open_pool
from openmarlin.data.preparation import make_store
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.data.store.index import check_columns
from openmarlin.data.store.writer import STORE_FILES
from openmarlin.data.tracks import TrackRules
from openmarlin.errors import option
from openmarlin.files import file_sha256
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.output import OutputFolder
from openmarlin.report import words
from openmarlin.report.evaluation import (
    MAX_MISTAKES,
    REPORT_FILE,
    EvaluationAbout,
    write_evaluation,
)
from openmarlin.report.finetune import (
    TRAINING_FILE,
    row_pictures,
    training_section,
    write_training_report,
)
from openmarlin.report.metric_words import headline
from openmarlin.settings import Settings, documented
from openmarlin.tasks.card import write_card
from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions
from openmarlin.tasks.finetune import Finetuning, make_network
from openmarlin.tasks.finetune_answers import (
    answer_windows,
    calibrate,
    predict_rows,
    predict_windows,
)
from openmarlin.tasks.finetune_data import finetuning_data, rows_of_windows, window_data
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import LabelledStore, split_store
from openmarlin.tasks.mistakes import worst_mistakes
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.named_videos import NamedVideos, read_named_videos
from openmarlin.tasks.predictions import PREDICTIONS_FILE
from openmarlin.tasks.probe import history_of
from openmarlin.tasks.scorecard import METRICS_CSV, METRICS_JSON
from openmarlin.tasks.splits import (
    SPLITS_FILE,
    TEST,
    VAL,
    fingerprint,
    write_split,
)
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, MODEL, Run, fit
from openmarlin.training.settings import read_run_settings
from openmarlin.training.task import Monitor

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
    request = read_run_settings(FinetuneSettings, data, config, settings)
    named = read_named_videos(request, request.out / STORE)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            folder = stack.enter_context(_open_folder(request, named, engine))
            if named.videos:
                folder.begin()
                if Checkpoints(request.out).newest() is None:  # later it must stay what it is
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
        encoder, history = _start(labelled, request, start)
        held_out = window_data(labelled, VAL, encoder.config, request, request.val_windows)
        clips = finetuning_data(labelled, held_out, encoder.config, request)
        if folder is not None:
            if not named.videos:
                folder.begin()
            write_split(folder.path / SPLITS_FILE, labelled.used_rows, named.target)
        if folder is not None or not named.videos:
            stack.enter_context(engine)
        network = make_network(encoder, labelled, request)
        rows = rows_of_windows(labelled, held_out)
        task = Finetuning(network, labelled, rows, request, history)
        fitted = fit(task, clips, Run(request, engine, folder, start, None, progress))
        evaluation = None
        if folder is not None:
            write_training_report(folder.path, task.monitor)
            if fitted.progress.step == fitted.progress.steps:
                evaluation = _test(labelled, named, request, folder)
    return Finetuned(
        request.out,
        fitted.model,
        *fitted.progress,
        fitted.best,
        task.monitor.metric,
        evaluation,
        folder.failures.as_dict() if folder is not None else {},
    )


def _open_folder(request: FinetuneSettings, named: NamedVideos, engine: Engine) -> OutputFolder:
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
    named: NamedVideos, request: FinetuneSettings, folder: OutputFolder, *, progress: bool
) -> None:
    """The videos become a store in the run folder, of crops as large as the model takes."""
    workers = None if request.workers is None else max(1, request.workers)
    check_columns(list(Manifest([source.row for source in named.videos]).columns()))
    rules = TrackRules(points=request.self_blend > 0)
    if request.image_size is not None:
        rules = replace(rules, size=request.image_size)
    info = {"size": rules.size, "margin": rules.margin, "min_frames": rules.min_frames}
    with (
        open_pool(workers, len(named.videos)) as pool,
        OutputFolder(
            named.store,
            verb="prepare",
            settings=Settings(),
            files=STORE_FILES,
            identity={**info, "points": rules.points},
            resume=True,
        ) as store,
    ):
        store.begin()
        make_store(named.videos, rules, store, folder.failures, info, pool, progress=progress)


def _start(
    labelled: LabelledStore, request: FinetuneSettings, start: Checkpoint | None
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder, and what the model's card will say of it and of the rows.

    A run that goes on has both in its checkpoint, whatever became of the first weights.
    """
    if start is not None:
        model = TaskModel.load(start.model)
        return model.encoder, model.config.trained_on
    encoder = load(request.model, "encoder", image_size=request.image_size)
    rows = labelled.used_rows
    labels = labelled.target.encode(rows)
    history = history_of(rows, labels, labelled.target, encoder, "linear")
    return encoder, {
        **history,
        "recipe": f"fine-tuning, {request.train}",
        "split": labelled.how,
        "labels": fingerprint(rows, labels),
    }


def _test(
    labelled: LabelledStore, named: NamedVideos, request: FinetuneSettings, folder: OutputFolder
) -> Evaluation:
    """Calibrate the model on validation, judge it on the test, write down both."""
    path = folder.path
    model = TaskModel.load(path / MODEL)
    val, test = (
        answer_windows(model, labelled, window_data(labelled, part, model.encoder.config, request))
        for part in (VAL, TEST)
    )
    model = calibrate(model, labelled, val)
    answers = predict_rows(model, labelled, val + test)
    answers = replace(answers, problems=folder.failures.as_dict())
    answers.take(_places(labelled, VAL, TEST)).write(path / PREDICTIONS_FILE)
    places = _places(labelled, TEST)
    evaluation = evaluate_predictions(
        answers.take(places),
        prior=model.config.prior,
        windows=predict_windows(model, labelled, test),
        uncalibrated=predict_rows(model, labelled, test, calibrated=False).take(places),
    )
    evaluation = replace(evaluation, notes=[*named.notes, *evaluation.notes])
    rows = {row.key: i for i, row in enumerate(labelled.rows)}
    judged = evaluation.predictions
    pictures = {
        mistake.place: row_pictures(labelled, rows[judged.rows[mistake.place].key])
        for mistake in worst_mistakes(judged, MAX_MISTAKES)
    }
    write_evaluation(path, evaluation, _about(named, request, model, path), pictures)
    model.save(path / MODEL, write_card(model.config, evaluation), overwrite=True)
    return evaluation


def _places(labelled: LabelledStore, *parts: str) -> NDArray[np.intp]:
    return np.flatnonzero([row.split in parts for row in labelled.rows])


def _about(
    named: NamedVideos, request: FinetuneSettings, model: TaskModel, path: Path
) -> EvaluationAbout:
    config = model.config
    parts = config.trained_on["parts"]
    facts = [
        ("Learns", request.train),
        ("Encoder", config.trained_on["encoder"]["name"]),
        ("Train, val, test", ", ".join(f"{part['rows']:,}" for part in parts.values())),
        ("Labels", str(request.labels or request.data)),
    ]
    chosen = {**config.chosen_on, "temperature": config.temperature}
    details = words.settings(
        {
            "settings": request.recipe(),
            "split": {"how": named.split.how},
            "chosen on validation": {**chosen, "thresholds": config.thresholds},
        }
    )
    sections = [training_section(path, Monitor(config.chosen_on["monitor"], "max"))]
    return EvaluationAbout(model.target.name, facts, sections, details, verb="finetune")


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
        for note in result.evaluation.notes:
            console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
        console.print(f"Test: {escape(headline(result.evaluation))}", soft_wrap=True)
        console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")
