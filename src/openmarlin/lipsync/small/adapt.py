"""The small model for one person: some minutes of further training on a video of them."""

from __future__ import annotations

from pathlib import Path

from openmarlin.data.layouts import list_sources
from openmarlin.data.pool import ProcessPool
from openmarlin.data.preparation import make_store
from openmarlin.data.store.writer import STORE_FILES
from openmarlin.data.tracks import TrackRules
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.small.run import train_stage
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.output import OutputFolder
from openmarlin.settings import Settings

STEPS = 400
"""Two to three minutes on two cores."""

_TRACK_FRAMES = 300  # of a track that are learnt from: all of it
_RULES = TrackRules(sound=True, points=True)


def adapt(model: SmallDubber, person: Path, folder: Path, *, progress: bool = False) -> SmallDubber:
    """Train the renderer of a model further on one person.

    Args:
        model: hears and draws; it is left as it is.
        person: a video of them who talks, the same face as in the video to be dubbed.
        folder: gets a store, the training and the new model; what an earlier call left there for
            the same video and model is gone on with.
        progress: show progress bars.

    Raises:
        OpenMarlinError: the video cannot be read, or shows no face for long enough.
    """
    base, run = folder / "base", folder / "run"
    if not base.is_dir():
        model.save(base)
    store = _store_of(person, folder / "store", progress=progress)
    request = MouthSettings(
        data=store,
        out=run,
        resume=run.is_dir(),
        stage="renderer",
        shape=base,
        further=True,
        size=model.config.size,
        track_frames=_TRACK_FRAMES,
        batch=8,
        steps=STEPS,
        warmup=0.1,
        base_lr=9.6e-3,  # 3e-4 for a step of 8 tracks
        min_lr=1e-4,
        betas=(0.9, 0.99),
        clip_grad=1.0,
        ema=0.99,
        val_every=STEPS,
        save_every=STEPS // 4,
        pictures=0,
        workers=1,
    )
    fitted, _ = train_stage(request, progress=progress)
    if fitted.model is None or fitted.progress.step < STEPS:
        raise KeyboardInterrupt  # a signal ended it: --resume goes on
    return SmallDubber.load(fitted.model)


def _store_of(person: Path, path: Path, *, progress: bool) -> Path:
    sources = list_sources([person])
    folder = OutputFolder(
        path,
        verb="prepare",
        settings=Settings(),
        files=STORE_FILES,
        identity={"person": sources[0].row.stamp},
        resume=path.is_dir(),
    )
    with folder:
        folder.begin()
        info = {"size": _RULES.size, "margin": _RULES.margin}
        make_store(
            sources, _RULES, folder, folder.failures, info, ProcessPool(1), progress=progress
        )
    return path
