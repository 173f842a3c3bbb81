"""What the reports of a fine-tuning run say of the training."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from openmarlin.report.evaluation import Section
from openmarlin.report.run import About, Plot, curves_of, write_run_report
from openmarlin.tasks.finetune import VAL_LOSS
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.training.task import Monitor

TRAINING_FILE = "training.html"


def write_training_report(run: Path, monitor: Monitor) -> Path:
    """`training.html` of a run folder: curves, checkpoints, settings."""
    return write_run_report(run, _about(monitor), TRAINING_FILE)


def training_section(run: Path) -> Section:
    """The curves of the training for the page of the evaluation."""
    svg = curves_of(run, _LOSS, "training-loss")
    link = Markup('<p><a href="{}">{}</a></p>').format(TRAINING_FILE, "All curves and settings")
    return Section("Training", Markup(svg) + link, _LOSS.note)


_LOSS = Plot(
    "Loss",
    {"loss": "training", VAL_LOSS: "validation"},
    "The training loss has what the recipe adds to it (smoothing, mixing, weights of classes); "
    "that of the validation has not.",
)


def _about(monitor: Monitor) -> About:
    return About(
        "finetune",
        FinetuneSettings,
        monitor,
        (_LOSS,),
        footer="The model of the run is its best checkpoint on validation, in the folder model: "
        "answer new videos with openmarlin predict VIDEOS --model model.",
        publish="best",
    )
