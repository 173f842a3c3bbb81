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
from openmarlin.tasks.finetune_data import rows_of_windows
from openmarlin.tasks.labelled_store import LabelledStore
from openmarlin.tasks.labels import Values
from openmarlin.tasks.metrics import MAIN_METRIC, measure
from openmarlin.tasks.model import TaskModel, as_scores
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.splits import TEST, VAL, Indices

_BATCH = 8  # windows that are read before they are encoded


@dataclass(frozen=True)
class WindowLogits:
    """What a model says of windows.

    Attributes:
        rows: (n,) the row that each is of.
        logits: (n, C), or values of a regression.
    """

    rows: Indices
    logits: Values


@torch.inference_mode()
def answer_windows(
    model: TaskModel, labelled: LabelledStore, windows: WindowDataset
) -> WindowLogits:
    """The logits of all windows, in their order."""
    logits = [
        model.head.answer(torch.from_numpy(model.encoder.encode(clips))).double().numpy()
        for clips in _batches(windows)
    ]
    return WindowLogits(rows_of_windows(labelled, windows), np.concatenate(logits))


def _batches(windows: WindowDataset) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(windows), _BATCH):
        stop = min(start + _BATCH, len(windows))
        yield np.stack([windows[0, i]["video"].numpy() for i in range(start, stop)])


def calibrate(model: TaskModel, labelled: LabelledStore, val: WindowLogits) -> TaskModel:
    """The model with temperature and thresholds from validation, and how well it does there.

    The temperature is fitted to windows, the thresholds to the means over the windows of a row.
    """
    target, labels = model.target, labelled.labels
    temperature = fit_temperature(val.logits, labels[val.rows], target)
    rows, scores = mean_by_row(val.rows, as_scores(val.logits, target, temperature))
    thresholds = fit_thresholds(scores, labels[rows], target)
    metric = MAIN_METRIC[target.kind]
    value = measure(labels[rows], scores, target, thresholds)[metric]
    chosen_on = {
        **model.config.chosen_on,
        "rows": len(rows),
        "metric": metric,
        "value": None if np.isnan(value) else value,
    }
    config = model.config.model_copy(
        update={"temperature": temperature, "thresholds": thresholds, "chosen_on": chosen_on}
    )
    return replace(model, config=config)


def predict_rows(
    model: TaskModel, labelled: LabelledStore, *parts: WindowLogits
) -> tuple[Predictions, Predictions]:
    """The answers to rows of validation and test, and to their windows.

    Rows whose video gave no track count with the prior, and as not seen.
    """
    target, config = model.target, model.config
    window_rows = np.concatenate([part.rows for part in parts])
    logits = np.concatenate([part.logits for part in parts])
    window_scores = as_scores(logits, target, config.temperature)
    scores = np.tile(np.asarray(config.prior), (len(labelled.rows), 1))
    seen = np.zeros(len(labelled.rows), bool)
    rows, means = mean_by_row(window_rows, window_scores)
    scores[rows], seen[rows] = means, True
    everything = Predictions(
        target, labelled.rows, labelled.labels, scores, seen, config.thresholds
    )
    judged = [i for i, row in enumerate(labelled.rows) if row.split in (VAL, TEST)]
    windows = Predictions(
        target,
        [labelled.rows[i] for i in window_rows],
        labelled.labels[window_rows],
        window_scores,
        np.ones(len(window_rows), bool),
        config.thresholds,
    )
    return everything.take(np.array(judged, np.intp)), windows
