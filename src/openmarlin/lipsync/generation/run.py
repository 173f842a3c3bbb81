"""One training of a generator, in a folder of its own; it goes on where it stopped."""

from __future__ import annotations

from contextlib import ExitStack

from openmarlin.data.store import INDEX_FILE, Store
from openmarlin.files import file_sha256
from openmarlin.lipsync.generation.data import generator_data
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.task import GeneratorTraining
from openmarlin.output import OutputFolder
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine, is_main_process
from openmarlin.training.fit import FILES, Draw, Fitted, Run, fit

VERB = "lipsync train"


def train_generator(
    request: GeneratorSettings,
    *,
    files: tuple[str, ...] = (),
    draw: Draw | None = None,
    progress: bool = False,
) -> Fitted:
    """Train a generator.

    Args:
        request: the settings of the run.
        files: what else will stand in the run's folder.
        draw: makes files of pictures, see `Run.draw`.
        progress: show a bar, and say what is going on.

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    store = Store(request.data)
    clips = generator_data(store, request)
    engine = Engine.of(request)
    with ExitStack() as stack:
        folder: OutputFolder | None = None
        if is_main_process():
            folder = stack.enter_context(
                OutputFolder(
                    request.out,
                    verb=VERB,
                    settings=request,
                    files=[*FILES, *files],
                    identity={"store": file_sha256(request.data / INDEX_FILE)},
                    resume=request.resume,
                    overwrite=request.overwrite,
                )
            )
        start = Checkpoints(request.out).newest() if request.resume else None
        task = GeneratorTraining(request)
        if start is not None:
            task.recall(request.out, start.step)
        if folder is not None:
            folder.begin()
        stack.enter_context(engine)
        return fit(task, clips, Run(request, engine, folder, start, draw, progress))
