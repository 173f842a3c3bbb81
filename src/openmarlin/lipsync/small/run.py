"""One training of a stage of the small model, in a folder of its own; it can go on later."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import torch

from openmarlin.console import job_progress
from openmarlin.data.dataset import TrainingData
from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.errors import InputError, option
from openmarlin.files import file_sha256
from openmarlin.lipsync.small.model import DubberConfig, SmallDubber
from openmarlin.lipsync.small.renderer_data import open_cache, renderer_data
from openmarlin.lipsync.small.renderer_task import RendererTask
from openmarlin.lipsync.small.settings import RENDERER_WIDTH, SHAPE_WIDTH, MouthSettings
from openmarlin.lipsync.small.shape_data import shape_data
from openmarlin.lipsync.small.shape_task import ShapeTask
from openmarlin.lipsync.small.window_cache import CACHE_FILE, WindowCache
from openmarlin.output import OutputFolder
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Draw, Fitted, Run, fit
from openmarlin.training.task import Monitor, Task


def train_stage(
    request: MouthSettings,
    *,
    files: tuple[str, ...] = (),
    draw: Draw | None = None,
    progress: bool = False,
) -> tuple[Fitted, Monitor]:
    """Train a stage.

    Args:
        request: the settings of the run.
        files: what else will stand in the run's folder.
        draw: makes files of pictures, see `Run.draw`.
        progress: show a bar, and say what is going on.

    Returns:
        What came of it, and by which metric it was judged.

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    store = Store(request.data, request.damaged)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        heard = None if request.shape is None else SmallDubber.load(request.shape)
        if is_main_process():
            folder = stack.enter_context(_open_folder(request, store, engine, heard, files))
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
        return fit(task, clips, Run(request, engine, folder, start, draw, progress)), task.monitor


def _open_folder(
    request: MouthSettings,
    store: Store,
    engine: Engine,
    heard: SmallDubber | None,
    files: tuple[str, ...],
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
        files=[*FILES, *files, CACHE_FILE],
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
    name = request.out.resolve().name
    if request.further and heard.renderer is not None:
        dubber = SmallDubber(
            replace(heard.config, name=name), heard.basis, heard.shape_net, heard.renderer
        )
    else:
        width = request.width or RENDERER_WIDTH
        config = replace(heard.config, name=name, size=request.size, renderer_width=width)
        new = SmallDubber.new(config, heard.basis, request.seed)
        dubber = SmallDubber(config, heard.basis, heard.shape_net, new.renderer)
    samples = request.batch * request.accumulate
    epochs = request.epochs or (request.steps or 1) * samples / len(clips.stream)
    return RendererTask(dubber, request, request.critic_from * epochs), clips


def _make_windows(cache: WindowCache, store: Store, *, progress: bool) -> None:
    with job_progress("tracks") as bar:
        line = bar.add_task("cut out", total=len(cache.tracks), note="", visible=progress)
        cache.make(store, lambda count: bar.advance(line, count))
