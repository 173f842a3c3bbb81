"""What the report of a pre-training run says beside its numbers, and the pictures of its clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from openmarlin.files import atomic
from openmarlin.model.config import ModelConfig
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.pretraining.task import MONITOR, Reconstruction
from openmarlin.report.page import jpeg
from openmarlin.report.reconstruct import paste, strip
from openmarlin.report.run import About, Plot

_QUALITY = 90  # of the pictures


def about(settings: PretrainSettings) -> About:
    """The report of a run with these settings."""
    kind = "normalised tokens" if settings.normalize_targets else "pixels in [0, 1]"
    weights = {"rec_feature": settings.w_feature, "adv": settings.w_adv}
    parts = " + ".join(["rec", *(f"{w:g} × {name}" for name, w in weights.items() if w)])
    plots = (
        Plot(
            "Reconstruction",
            {"rec": "training", "val_rec": "validation", "rec_feature": "from the feature alone"},
            f"Mean squared error over masked tokens, {kind}.",
            logarithmic=True,
        ),
        Plot("Whole loss", {"loss": "loss"}, f"{parts}: what the autoencoder minimises."),
        Plot(
            "Critic",
            {
                "critic": "critic: mean D(predicted) − mean D(true)",
                "adv": "adv: −mean D(predicted)",
            },
            "The critic pushes its curve down, the autoencoder the other.",
        ),
    )
    return About(
        "pretrain",
        PretrainSettings,
        MONITOR,
        plots,
        "Clips of the validation, masked in the same way every time. Seen tokens are pasted into "
        "the reconstructions: the model's own are only those that are grey in what it saw.",
        'Load the model with openmarlin.load(folder, part="full"); see what it makes of a video '
        "with openmarlin reconstruct.",
    )


def draw_reconstructions(
    folder: Path, step: int, clips: Sequence[Reconstruction], config: ModelConfig
) -> None:
    """Pictures of a validation, some frames of a clip side by side in each.

        folder/clip-0/1-original.jpg, 2-seen-by-the-model.jpg    the same at every validation
        folder/clip-0/step-00000500.jpg                          the reconstruction

    Args:
        folder: of the run's pictures.
        step: steps that are done.
        clips: to draw.
        config: of the model.
    """
    for number, clip in enumerate(clips):
        seen, reconstruction = paste(clip.video, clip.mask, clip.values, config)
        pictures = {
            "1-original": clip.video,
            "2-seen-by-the-model": seen,
            f"step-{step:08d}": reconstruction,
        }
        for name, video in pictures.items():
            with atomic(folder / f"clip-{number}" / f"{name}.jpg") as part:
                part.write_bytes(jpeg(strip(video), _QUALITY))
