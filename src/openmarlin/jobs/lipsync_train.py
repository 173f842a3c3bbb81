"""`lipsync train`: a store of talking faces -> a generator that draws lips for any sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmarlin.lipsync.generation.run import train_generator
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.task import MONITOR
from openmarlin.report.lipsync_train import about, draw_clips
from openmarlin.report.run import REPORT_FILE, announce_run, write_run_report
from openmarlin.settings import documented
from openmarlin.training.engine import is_main_process
from openmarlin.training.result import TrainingResult
from openmarlin.training.settings import read_run_settings


@documented(GeneratorSettings)
def train(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Train a generator of talking faces on a store.

    Args:
        data: a store with sound and mesh points; with `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(GeneratorSettings, data, config, settings)
    fitted = train_generator(request, files=(REPORT_FILE,), draw=draw_clips, progress=progress)
    if is_main_process():
        write_run_report(request.out, about(request))
    return TrainingResult.of(request.out, fitted, MONITOR)


def announce(result: TrainingResult) -> None:
    """Say what was made, how good it is, and where to look."""
    announce_run(result)
