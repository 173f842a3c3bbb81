"""What the reports of a fine-tuning run say of the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from openmarlin.data.transforms import crop_images, face_view
from openmarlin.report.evaluation import Section
from openmarlin.report.run import About, Plot, curves_of, metric_title, write_run_report
from openmarlin.tasks.finetune import VAL_LOSS
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import LabelledStore
from openmarlin.training.task import Monitor
from openmarlin.video.picture import Image

TRAINING_FILE = "training.html"


def write_training_report(run: Path, monitor: Monitor) -> Path:
    """`training.html` of a run folder: curves, checkpoints, settings."""
    return write_run_report(run, _about(monitor), TRAINING_FILE)


def training_section(run: Path, monitor: Monitor) -> Section:
    """The curves of the training for the page of the evaluation."""
    figures = [
        _FIGURE.format(plot.title, Markup(curves_of(run, plot, f"training-{number}")))
        for number, plot in enumerate((_LOSS, _metric(monitor)))
    ]
    body = Markup('<div class="plots small">{}</div>').format(Markup("").join(figures))
    link = Markup('<p class="note"><a href="{}">{}</a></p>').format(TRAINING_FILE, _LINK)
    return Section("Training", body + link, _LOSS.note)


def row_pictures(labelled: LabelledStore, place: int) -> list[Image]:
    """Some frames of the first track of a row, uint8 RGB (S, S, 3); none where it has no track."""
    tracks = np.flatnonzero(labelled.row_of == place)
    if not len(tracks):
        return []
    store, number = labelled.store, int(tracks[0])
    last = store.tracks[number].n_frames - 1
    images, _ = store.read(number, np.linspace(0, last, _FRAMES).astype(int).tolist())
    margin = store.margin
    return list(crop_images(images, face_view(store.size, margin), _PICTURE_PX))


_LOSS = Plot(
    "Loss",
    {"loss": "training", VAL_LOSS: "validation"},
    "The training loss has what the recipe adds to it (smoothing, mixing, weights of classes); "
    "that of the validation has not.",
)


_LINK = "All curves, checkpoints and settings"
_FIGURE = Markup(
    '<figure><h3>{0}</h3><div class="plot" role="img" aria-label="{0}">{1}</div></figure>'
)
_FRAMES, _PICTURE_PX = 6, 96


def _metric(monitor: Monitor) -> Plot:
    return Plot("Validation", {monitor.metric: metric_title(monitor.metric)})


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
