"""`lipsync train`: a store of talking faces -> a generator that draws lips for any sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.errors import option
from openmarlin.lipsync.generation.run import train_generator
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.report.lipsync_train import about, draw_clips
from openmarlin.report.run import REPORT_FILE, write_run_report
from openmarlin.settings import documented
from openmarlin.training.engine import is_main_process
from openmarlin.training.settings import read_run_settings


@dataclass(frozen=True)
class TrainedGenerator:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the newest model folder: `out`/model once the run has ended.
        step: finished steps.
        steps: of the whole run.
        metrics: of the newest validation.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    metrics: dict[str, float]

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps


@documented(GeneratorSettings)
def train(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainedGenerator:
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
    return TrainedGenerator(request.out, fitted.model, *fitted.progress, dict(fitted.metrics))


def announce(result: TrainedGenerator) -> None:
    """Say in a few lines what was made, and where to look."""
    if not is_main_process():
        return
    mouth = result.metrics.get("val_mouth")
    judged = "" if mouth is None else f", lower half of held-out faces {255 * mouth:.1f} of 255 off"
    console.print(
        f"{result.step} of {result.steps} steps{judged} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")
