"""What the report of a generator's training says beside its numbers, and pictures of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from openmarlin.files import atomic
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.task import MONITOR, DrawnClip
from openmarlin.report.page import jpeg
from openmarlin.report.reconstruct import strip
from openmarlin.report.run import About, Plot

_QUALITY = 90  # of the pictures


def about(settings: GeneratorSettings) -> About:
    """The report of a run with these settings."""
    weights = {"sync": settings.w_sync, "realness": settings.w_quality, "joint": settings.w_joint}
    used = {
        name: weight
        for name, weight in weights.items()
        if weight and (name != "sync" or settings.expert is not None)
    }
    left = 1 - sum(weight for name, weight in used.items() if name != "joint")
    whole = " + ".join(
        [f"{left:g} × pixels", *(f"{weight:g} × {name}" for name, weight in used.items())]
    )
    plots = (
        Plot("Pixels", {"pixels": "training"}, "Mean absolute difference, colours in [0, 1]."),
        Plot(
            "Lower half of held-out faces",
            {"val_mouth": "from what it should be", "val_sound_matters": "from other sound's"},
            "Mean absolute difference. A generator that copies its reference draws the same for "
            "all sound: the second curve stays at 0.",
        ),
        Plot("Whole loss", {"loss": "loss"}, f"{whole}: what the generator minimises."),
        Plot(
            "Lips and sound",
            {"sync": "training", "val_sync": "validation"},
            "The expert's loss; it counts from where the validation has fallen below "
            f"{settings.sync_below}."
            if settings.sync_below is not None
            else "The expert's loss.",
        ),
    )
    return About(
        "lipsync train",
        GeneratorSettings,
        MONITOR,
        plots,
        "Held-out clips: as they are, what the generator sees, and what it draws.",
        "Dub with it: openmarlin lipsync generate VIDEO SOUND --model FOLDER --out OUT.mp4.",
    )


def draw_clips(folder: Path, step: int, clips: Sequence[DrawnClip]) -> None:
    """Pictures of a validation, some frames of a clip side by side in each.

    Args:
        folder: of the run's pictures.
        step: steps that are done.
        clips: to draw.
    """
    for number, clip in enumerate(clips):
        pictures = {
            "1-original": clip.target,
            "2-seen-by-the-model": clip.masked,
            "3-reference": clip.reference,
            f"step-{step:08d}": clip.drawn,
        }
        for name, video in pictures.items():
            with atomic(folder / f"clip-{number}" / f"{name}.jpg") as part:
                part.write_bytes(jpeg(strip(video), _QUALITY))
