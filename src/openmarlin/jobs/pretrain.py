"""`pretrain`: a store of faces -> a pre-trained model folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.errors import InputError, option
from openmarlin.files import file_sha256
from openmarlin.output import OutputFolder
from openmarlin.pretraining.data import pretraining_data
from openmarlin.pretraining.initial import initial_model
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.pretraining.task import Pretraining
from openmarlin.report.pretrain import about, draw_reconstructions
from openmarlin.report.run import REPORT_FILE, write_run_report
from openmarlin.settings import documented
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Run, fit
from openmarlin.training.settings import read_run_settings


@dataclass(frozen=True)
class Pretrained:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the newest model folder: `out`/model once the run has ended.
        step: finished steps.
        steps: of the whole run.
        val_rec: reconstruction loss on held-out clips, the newest; None without a validation.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    val_rec: float | None

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps


@documented(PretrainSettings)
def pretrain(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Pretrained:
    """Pre-train a model on a store.

    Args:
        data: the store that `prepare` made; with `resume` that of the run.
        config: a recipe, a YAML file of settings; with `resume` that of the run.
        progress: show a progress bar, and say what is going on.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    request = read_run_settings(PretrainSettings, data, config, settings)
    architecture = request.architecture()
    store = Store(request.data, request.damaged)
    clips = pretraining_data(store, architecture, request)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            identity = {
                "processes": engine.world,
                "store": file_sha256(request.data / INDEX_FILE),
                "tracks": len(store),
            }
            folder = stack.enter_context(_open_folder(request, identity))
        start = Checkpoints(request.out).newest() if request.resume else None
        # A run that goes on has its weights in the checkpoint, whatever became of init.
        model = initial_model(request, architecture, weights=start is None)
        if folder is not None:
            folder.begin()
        stack.enter_context(engine)

        draw = partial(draw_reconstructions, config=architecture)
        run = Run(request, engine, folder, start, draw, progress)
        fitted = fit(Pretraining(model, request), clips, run)
        if folder is not None:
            write_run_report(request.out, about(request))
    val_rec = fitted.metrics.get("val_rec")
    return Pretrained(request.out, fitted.model, *fitted.progress, val_rec)


def announce(result: Pretrained) -> None:
    """Say in a line or two what was made and where to look."""
    if not is_main_process():
        return
    val_rec = "" if result.val_rec is None else f", validation rec {result.val_rec:.5f}"
    console.print(
        f"{result.step} of {result.steps} steps{val_rec} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")


def _open_folder(settings: PretrainSettings, identity: dict[str, Any]) -> OutputFolder:
    folder = settings.out
    if settings.overwrite and settings.init is not None:
        init = Path(settings.init)
        inside = folder.resolve() in (init.resolve(), *init.resolve().parents)
        if init.exists() and inside:
            raise InputError(
                f"{option('init', settings.init)} lies in {folder}, which "
                f"{option('overwrite', True)} empties: name another folder"
            )
    return OutputFolder(
        folder,
        verb="pretrain",
        settings=settings,
        files=[*FILES, REPORT_FILE],
        identity=identity,
        resume=settings.resume,
        overwrite=settings.overwrite,
    )
