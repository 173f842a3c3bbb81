"""`distil`: a store of faces and the nets that teach -> an encoder that knows what they see."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.distillation.data import distil_data
from openmarlin.distillation.measuring import measure
from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.task import MONITOR, Distillation
from openmarlin.files import file_sha256
from openmarlin.model.io import load
from openmarlin.output import OutputFolder
from openmarlin.report.distil import about
from openmarlin.report.run import REPORT_FILE, announce_run, write_run_report
from openmarlin.settings import documented
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Run, fit
from openmarlin.training.result import TrainingResult
from openmarlin.training.settings import read_run_settings


@documented(DistilSettings)
def distil(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Teach an encoder what trained nets and the face mesh see in the clips of a store.

    Args:
        data: the store that `prepare` made; with `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(DistilSettings, data, config, settings)
    store = Store(request.data)
    encoder = load(request.init, "encoder")
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            folder = stack.enter_context(
                OutputFolder(
                    request.out,
                    verb="distil",
                    settings=request,
                    files=[*FILES, REPORT_FILE],
                    identity={"store": file_sha256(request.data / INDEX_FILE)},
                    resume=request.resume,
                    overwrite=request.overwrite,
                )
            )
            folder.begin()
        start = Checkpoints(request.out).newest() if request.resume else None
        stack.enter_context(engine)
        if is_main_process():
            measure(store, request.teachers, progress=progress)
        engine.barrier()  # the others read what the first has written
        measured = measure(store, request.teachers)
        clips, targets = distil_data(store, measured, encoder.config, request)
        run = Run(request, engine, folder, start, progress=progress)
        fitted = fit(Distillation(encoder, targets, request), clips, run)
        if folder is not None:
            write_run_report(request.out, about())
    return TrainingResult.of(request.out, fitted, MONITOR)


def announce(result: TrainingResult) -> None:
    """Say what was made, how good it is, and where to look."""
    announce_run(result)
