"""`lipsync train-expert`: a store of talking faces -> an expert on how lips and sound fit."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.files import file_sha256
from openmarlin.lipsync.experts.data import expert_data
from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.lipsync.experts.talks import VIEWS, Talks
from openmarlin.lipsync.experts.task import MONITOR, ExpertTraining
from openmarlin.output import OutputFolder
from openmarlin.report.lipsync_expert import about
from openmarlin.report.run import REPORT_FILE, announce_run, write_run_report
from openmarlin.settings import documented
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Run, fit
from openmarlin.training.result import TrainingResult
from openmarlin.training.settings import read_run_settings


@documented(ExpertSettings)
def train_expert(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Train a lip-sync expert on a store.

    Args:
        data: a store with sound and mesh points; with `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(ExpertSettings, data, config, settings)
    store = Store(request.data)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            folder = stack.enter_context(
                OutputFolder(
                    request.out,
                    verb="lipsync train-expert",
                    settings=request,
                    files=[*FILES, REPORT_FILE, *VIEWS],
                    identity={"store": file_sha256(request.data / INDEX_FILE)},
                    resume=request.resume,
                    overwrite=request.overwrite,
                )
            )
            folder.begin()
        talks = Talks(store, request.out, progress=progress)
        start = Checkpoints(request.out).newest() if request.resume else None
        stack.enter_context(engine)
        task = ExpertTraining(request)
        run = Run(request, engine, folder, start, progress=progress)
        fitted = fit(task, expert_data(talks, request), run)
        if folder is not None:
            write_run_report(request.out, about())
    return TrainingResult.of(request.out, fitted, MONITOR)


def announce(result: TrainingResult) -> None:
    """Say what was made, how good it is, and where to look."""
    announce_run(result)
