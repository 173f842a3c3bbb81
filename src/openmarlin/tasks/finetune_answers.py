"""A fine-tuned model and the windows of a store: calibrated on validation, answered on the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.dataset import WindowDataset
from openmarlin.tasks.calibration import fit_temperature, fit_thresholds
from openmarlin.tasks.finetune import mean_by_row
from openmarlin.tasks.finetune_data import faces_of_windows, rows_of_windows
from openmarlin.tasks.labelled_store import LabelledStore
from openmarlin.tasks.labels import Values
from openmarlin.tasks.metrics import MAIN_METRIC, measure
from openmarlin.tasks.model import TaskModel, as_scores
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.splits import Indices

_BATCH = 8  # windows that are read before they are encoded


@dataclass(frozen=True)
class WindowLogits:
    """What a model says of windows.

    Attributes:
        rows: (n,) the row that each is of.
        faces: (n,) the face that each shows.
        logits: (n, C), or values of a regression.
    """

    rows: Indices
    faces: Indices
    logits: Values

    def __add__(self, other: WindowLogits) -> WindowLogits:
        """Those of both."""
        return WindowLogits(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.faces, other.faces]),
            np.concatenate([self.logits, other.logits]),
        )

    def by_row(self, model: TaskModel) -> tuple[Indices, Values]:
        """Rows (m,) and the answers of the model to them (m, C).

        The mean over windows; of several faces the largest, where the model takes that.
        """
        scores = as_scores(self.logits, model.target, model.config.temperature)
        if model.config.over_faces == "mean":
            return mean_by_row(self.rows, scores)
        _, first = np.unique(self.faces, return_index=True)
        _, means = mean_by_row(self.faces, scores)
        rows = np.unique(self.rows)
        of_face = self.rows[first]
        return rows, np.stack([means[of_face == row].max(axis=0) for row in rows])


@torch.inference_mode()
def answer_windows(
    model: TaskModel, labelled: LabelledStore, windows: WindowDataset
) -> WindowLogits:
    """The logits of all windows, in their order."""
    logits = [
        model.head.answer(torch.from_numpy(model.encoder.encode(clips))).double().numpy()
        for clips in _batches(windows)
    ]
    return WindowLogits(
        rows_of_windows(labelled, windows),
        faces_of_windows(labelled, windows),
        np.concatenate(logits),
    )


def _batches(windows: WindowDataset) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(windows), _BATCH):
        stop = min(start + _BATCH, len(windows))
        yield np.stack([windows[0, i]["video"].numpy() for i in range(start, stop)])


def calibrate(model: TaskModel, labelled: LabelledStore, val: WindowLogits) -> TaskModel:
    """The model with temperature and thresholds from validation, and how well it does there.

    The temperature is fitted to windows, the thresholds to the answers to rows.
    """
    target, labels = model.target, labelled.labels
    temperature = fit_temperature(val.logits, labels[val.rows], target)
    config = model.config.model_copy(update={"temperature": temperature})
    model = replace(model, config=config)
    rows, scores = val.by_row(model)
    thresholds = fit_thresholds(scores, labels[rows], target)
    metric = MAIN_METRIC[target.kind]
    value = measure(labels[rows], scores, target, thresholds)[metric]
    chosen_on = {
        **model.config.chosen_on,
        "rows": len(rows),
        "metric": metric,
        "value": None if np.isnan(value) else value,
        "settings": {"step": model.config.trained_on.get("step", 0)},
    }
    config = config.model_copy(update={"thresholds": thresholds, "chosen_on": chosen_on})
    return replace(model, config=config)


def predict_rows(
    model: TaskModel,
    labelled: LabelledStore,
    windows: WindowLogits,
    *,
    calibrated: bool = True,
) -> Predictions:
    """The answers to all rows, see `WindowLogits.by_row`.

    Rows without a window count with the prior, and as not seen.

    Args:
        model: that answered.
        labelled: the store.
        windows: of any rows.
        calibrated: divide by the model's temperature.
    """
    target, config = model.target, model.config
    if not calibrated:
        model = replace(model, config=config.model_copy(update={"temperature": 1.0}))
    rows, answers = windows.by_row(model)
    scores = np.tile(np.asarray(config.prior), (len(labelled.rows), 1))
    seen = np.zeros(len(labelled.rows), bool)
    scores[rows], seen[rows] = answers, True
    return Predictions(target, labelled.rows, labelled.labels, scores, seen, config.thresholds)


def predict_windows(
    model: TaskModel, labelled: LabelledStore, windows: WindowLogits
) -> Predictions:
    """The answers to windows, each with the row that it is of."""
    return Predictions(
        model.target,
        [labelled.rows[i] for i in windows.rows],
        labelled.labels[windows.rows],
        as_scores(windows.logits, model.target, model.config.temperature),
        np.ones(len(windows.rows), bool),
        model.config.thresholds,
    )
