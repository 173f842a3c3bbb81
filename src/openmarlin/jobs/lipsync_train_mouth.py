"""`lipsync train-mouth`: a store of people who talk -> one stage of the small mouth model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmarlin.lipsync.small.run import train_stage
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.report.lipsync_mouth import about, painter
from openmarlin.report.run import REPORT_FILE, announce_run, write_run_report
from openmarlin.settings import documented
from openmarlin.training.engine import is_main_process
from openmarlin.training.result import TrainingResult
from openmarlin.training.settings import read_run_settings


@documented(MouthSettings)
def train_mouth(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Train a stage of the small mouth model on a store.

    First the stage shape, then on its run the stage renderer, whose model holds both.

    Args:
        data: the store that `prepare` made with sound and points; with `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(MouthSettings, data, config, settings)
    draw = painter(request)
    fitted, monitor = train_stage(request, files=(REPORT_FILE,), draw=draw, progress=progress)
    if is_main_process():
        write_run_report(request.out, about(request))
    return TrainingResult.of(request.out, fitted, monitor)


def announce(result: TrainingResult) -> None:
    """Say what was made, how good it is, and where to look."""
    announce_run(result)
