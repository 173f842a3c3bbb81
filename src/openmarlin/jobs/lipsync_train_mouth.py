"""`lipsync train-mouth`: a store of people who talk -> one stage of the small mouth model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from openmarlin.console import console, job_progress
from openmarlin.data.dataset import TrainingData
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.errors import InputError, option
from openmarlin.lipsync.small.model import DubberConfig, SmallDubber
from openmarlin.lipsync.small.renderer_data import open_cache, renderer_data
from openmarlin.lipsync.small.renderer_task import RendererTask
from openmarlin.lipsync.small.settings import RENDERER_WIDTH, SHAPE_WIDTH, MouthSettings
from openmarlin.lipsync.small.shape_data import shape_data
from openmarlin.lipsync.small.shape_task import ShapeTask
from openmarlin.lipsync.small.window_cache import CACHE_FILE, WindowCache
from openmarlin.output import CONFIG_FILE, OutputFolder, file_sha256
from openmarlin.report.lipsync_mouth import about, painter
from openmarlin.report.run import REPORT_FILE, metric_title, write_run_report
from openmarlin.settings import documented, read_settings
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Fitted, Run, fit
from openmarlin.training.task import Task


@dataclass(frozen=True)
class TrainedMouth:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the newest model folder: `out`/model once the run has ended.
        step: finished steps.
        steps: of the whole run.
        monitor: the metric of the validation.
        best: step and value of the best validation; None without any.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    monitor: str
    best: tuple[int, float] | None

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps


@documented(MouthSettings)
def train_mouth(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> TrainedMouth:
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
    request = _read(data, config, settings)
    store = Store(request.data, request.damaged)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        heard = None if request.shape is None else SmallDubber.load(request.shape)
        if is_main_process():
            folder = stack.enter_context(_open_folder(request, store, engine, heard))
            folder.begin()
        start = Checkpoints(request.out).newest() if request.resume else None
        task: Task
        if request.stage == "shape":
            task, clips = _shape(store, request, start)
            stack.enter_context(engine)
        else:
            assert heard is not None
            cache = open_cache(store, request.out, request, heard.basis)
            if folder is None:  # the main process is here when the windows are
                stack.enter_context(engine)
            else:
                _make_windows(cache, store, progress=progress)
                stack.enter_context(engine)
            task, clips = _renderer(store, cache, request, heard)
        run = Run(request, engine, folder, start, painter(request), progress)
        fitted = fit(task, clips, run)
        if folder is not None:
            write_run_report(request.out, about(request))
    return _result(request, task, fitted)


def announce(result: TrainedMouth) -> None:
    """Say in a line or two what was made and where to look."""
    if not is_main_process():
        return
    best = ""
    if result.best is not None:
        title = metric_title(result.monitor).lower()
        best = f", best {title} {result.best[1]:.4f} after step {result.best[0]}"
    console.print(
        f"{result.step} of {result.steps} steps{best} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")


def _result(request: MouthSettings, task: Task, fitted: Fitted) -> TrainedMouth:
    metric = task.monitor.metric
    return TrainedMouth(request.out, fitted.model, *fitted.progress, metric, fitted.best)


def _read(
    data: str | Path | None, config: str | Path | None, changes: dict[str, Any]
) -> MouthSettings:
    """The settings; those of a run that goes on come from its folder."""
    if data is not None:
        changes = {"data": str(data), **changes}
    saved = Path(changes.get("out") or "").expanduser() / CONFIG_FILE
    if changes.get("resume") and config is None and saved.is_file():
        config = saved
    return read_settings(MouthSettings, config, changes)


def _open_folder(
    request: MouthSettings, store: Store, engine: Engine, heard: SmallDubber | None
) -> OutputFolder:
    inside = request.shape is not None and request.out.resolve() in (
        request.shape.resolve(),
        *request.shape.resolve().parents,
    )
    if inside:
        raise InputError(
            f"{option('shape', str(request.shape))} lies in {request.out}: write to another folder"
        )
    identity = {
        "processes": engine.world,
        "store": file_sha256(request.data / INDEX_FILE),
        "tracks": len(store),
        "heard": None if heard is None else heard.digest,
    }
    return OutputFolder(
        request.out,
        verb="lipsync train-mouth",
        settings=request,
        files=[*FILES, REPORT_FILE, CACHE_FILE],
        identity=identity,
        resume=request.resume,
        overwrite=request.overwrite,
    )


def _shape(
    store: Store, request: MouthSettings, start: Checkpoint | None
) -> tuple[ShapeTask, TrainingData]:
    # A run that goes on has its basis in the checkpoint.
    basis = None if start is None else SmallDubber.load(start.model).basis
    clips, basis, usual = shape_data(store, request, basis)
    width = request.width or SHAPE_WIDTH
    config = DubberConfig(request.out.resolve().name, len(basis), width)
    dubber = SmallDubber.new(config, basis, request.seed)
    dubber.shape_net.usual.copy_(torch.from_numpy(usual))
    groups = {track.name: track.group for track in store.tracks}
    return ShapeTask(dubber, groups, request), clips


def _renderer(
    store: Store, cache: WindowCache, request: MouthSettings, heard: SmallDubber
) -> tuple[RendererTask, TrainingData]:
    clips = renderer_data(store, cache, request, heard.basis)
    config = replace(
        heard.config,
        name=request.out.resolve().name,
        size=request.size,
        renderer_width=request.width or RENDERER_WIDTH,
    )
    new = SmallDubber.new(config, heard.basis, request.seed)
    dubber = SmallDubber(config, heard.basis, heard.shape_net, new.renderer)
    samples = request.batch * request.accumulate
    epochs = request.epochs or (request.steps or 1) * samples / len(clips.stream)
    return RendererTask(dubber, request, request.critic_from * epochs), clips


def _make_windows(cache: WindowCache, store: Store, *, progress: bool) -> None:
    with job_progress("tracks") as bar:
        line = bar.add_task("cut out", total=len(cache.tracks), note="", visible=progress)
        cache.make(store, lambda count: bar.advance(line, count))
