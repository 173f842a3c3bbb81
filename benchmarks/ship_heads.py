"""The heads that ship: `python -m benchmarks.ship_heads STORE RUN`.

STORE and RUN are those of `distil`; the encoder that ships must be the run's already. Heads learn
from clips and photographs of faces that the run learnt from, and penalty, temperature and
thresholds are chosen on faces that it held out. No person has labelled them: an expression is what
two teachers agree on, an action what the blendshapes of the mesh say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks.common import console
from benchmarks.task_labels import ACTIONS, actions_of
from openmarlin.console import job_progress
from openmarlin.data.clips import Sampling
from openmarlin.data.store import Store
from openmarlin.distillation.data import DistilDataset, View, distil_data
from openmarlin.distillation.measuring import BLENDSHAPES, EVERY, POSE, Measurements, measure
from openmarlin.distillation.settings import DistilSettings
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner
from openmarlin.model.tensor_files import CONFIG
from openmarlin.model.zoo import DEFAULT_ENCODER, WEIGHTS
from openmarlin.settings import read_settings
from openmarlin.tasks.calibration import fit_temperature, fit_thresholds
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.metrics import MAIN_METRIC
from openmarlin.tasks.model import HEAD, TaskConfig, as_scores, prior_of
from openmarlin.tasks.probe_linear import fit_linear
from openmarlin.tasks.selection import Examples, Fitted

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""In the order of the teacher `expression`."""
_OTHER_ORDER = (6, 3, 4, 0, 2, 1, 5)
"""Where the teacher `emotion` has them."""
_LEAST = 0.5  # probability of an expression, of both teachers together, that is taken for one

PICTURES, HELD_OUT_PICTURES = 200, 50  # of an expression: most faces are neutral or happy
_BATCH = 8


@dataclass(frozen=True)
class Faces:
    """Features, and of what.

    Attributes:
        features: (n, D), of windows and of photographs that stand still for a window.
        frames: of each, which of all measured frames it shows.
    """

    features: NDArray[np.float32]
    frames: list[NDArray[np.int64]]


def faces_of(
    data: DistilDataset, measured: Measurements, n_pictures: int, runner: EncoderRunner
) -> Faces:
    """The first window of every clip, and `n_pictures` of each expression, as the encoder sees
    them."""
    steps, frames = data.config.grid[0], data.config.frames
    chances = np.diff(data.sums, prepend=0)
    labels = likeliest(measured)[data.frames]
    rng = np.random.default_rng(0)
    singles: list[int] = []
    for expression in range(len(EXPRESSIONS)):
        own = np.where(labels == expression, chances, 0)
        count = min(n_pictures, int((own > 0).sum()))
        singles += rng.choice(data.frames, count, replace=False, p=own / own.sum()).tolist()
    starts = measured.starts
    rows = [starts[number] + np.arange(steps) for number in data.clips]
    rows = [row[row < starts[n + 1]] for row, n in zip(rows, data.clips, strict=True)]
    rows += [np.array([frame]) for frame in singles]
    moments = np.linspace(0, EVERY * steps, frames, endpoint=False).astype(int)
    batches = []
    with job_progress("windows") as bar:
        task = bar.add_task("encoding", total=len(rows), note="")
        for first in range(0, len(rows), _BATCH):
            clips = [_clip(data, starts, row, moments) for row in rows[first : first + _BATCH]]
            batches.append(runner(np.stack(clips)))
            bar.advance(task, len(clips))
    return Faces(np.concatenate(batches), rows)


def _clip(
    data: DistilDataset,
    starts: NDArray[np.int64],
    row: NDArray[np.int64],
    moments: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """(T, S, S, 3): from the first of the measured frames on; a single one stands still."""
    number = int(np.searchsorted(starts, row[0], side="right")) - 1
    last = data.store.tracks[number].n_frames - 1
    begin = EVERY * int(row[0] - starts[number])
    frames = np.minimum(begin + (moments if len(row) > 1 else 0 * moments), last)
    images = data.store.read(number, frames.tolist())[0]
    return View().show(images, data.side, data.config.image_size)


def likeliest(measured: Measurements, frames: NDArray[np.int64] | None = None) -> Values:
    """The likeliest expression by both teachers, NaN where they are not sure of any.

    Args:
        measured: of a store.
        frames: over whose mean; without them of every frame (frames,).
    """
    both = (measured.values["expression"] + measured.values["emotion"][:, _OTHER_ORDER]) / 2
    if frames is not None:
        both = both[frames].mean(axis=0)
    label = np.where(both.max(axis=-1) >= _LEAST, both.argmax(axis=-1), np.nan)
    return label.astype(np.float64)


def expressions(faces: Faces, measured: Measurements) -> Values:
    """(n, 1), see `likeliest`."""
    return np.stack([likeliest(measured, frames) for frames in faces.frames])[:, None]


def actions(faces: Faces, measured: Measurements) -> Values:
    """(n, 5): 1 where an action applies, 0 where not; NaN where a frame was not measured."""
    columns = dict(zip(BLENDSHAPE_NAMES, measured.values[BLENDSHAPES].T, strict=True))
    columns["yaw"] = np.degrees(measured.values[POSE][:, 0])
    labels = np.full((len(faces.frames), len(ACTIONS)), np.nan)
    for row, frames in zip(labels, faces.frames, strict=True):
        own = {name: values[frames] for name, values in columns.items()}
        if np.isfinite(own["yaw"]).all():
            row[:] = list(actions_of(own).values())
    return labels


TASKS: dict[str, tuple[Target, Callable[[Faces, Measurements], Values]]] = {
    "expression": (Target("class", ("expression",), EXPRESSIONS), expressions),
    "actions": (Target("multilabel", ACTIONS, ACTIONS), actions),
}


def _examples(faces: Faces, labels: Values) -> Examples:
    known = np.flatnonzero(np.isfinite(labels).all(axis=1) & np.isfinite(faces.features[:, 0]))
    return Examples(known, faces.features[known], labels[known])


def ship(
    name: str, train: Faces, held_out: Faces, measured: Measurements, encoder: dict[str, str]
) -> None:
    """Fit a head and write its folder; the card beside it is written by hand."""
    target, labels_of = TASKS[name]
    learnt = _examples(train, labels_of(train, measured))
    val = _examples(held_out, labels_of(held_out, measured))
    fitted = fit_linear(learnt, val, target, balanced=target.is_one_of)
    config = _config(fitted, learnt, val, target, encoder)
    folder = WEIGHTS / name
    folder.mkdir(exist_ok=True)
    content = {"encoder": DEFAULT_ENCODER, "task": config.model_dump(mode="json")}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    tensors = {key: tensor.contiguous() for key, tensor in fitted.head.state_dict().items()}
    save_file(tensors, folder / HEAD, metadata={"format": "pt"})
    console.print(name, target.count(learnt.labels), target.count(val.labels), config.chosen_on)


def _config(
    fitted: Fitted, learnt: Examples, val: Examples, target: Target, encoder: dict[str, str]
) -> TaskConfig:
    with torch.inference_mode():
        logits = fitted.head.answer(torch.from_numpy(val.vectors)).double().numpy()
    temperature = fit_temperature(logits, val.labels, target)
    thresholds: tuple[float, ...] = ()
    if target.kind == "multilabel":
        thresholds = fit_thresholds(as_scores(logits, target, temperature), val.labels, target)
    chosen: dict[str, Any] = {
        "rows": len(val),
        "tried": len(fitted.trials),
        "metric": MAIN_METRIC[target.kind],
        "value": fitted.score,
        "settings": fitted.settings,
    }
    return TaskConfig(
        target=target.as_dict(),
        head=fitted.head.config,
        sampling=asdict(Sampling()),
        temperature=temperature,
        thresholds=thresholds,
        prior=prior_of(learnt.labels, target),
        trained_on={"recipe": "benchmarks/ship_heads.py", "encoder": encoder},
        chosen_on=chosen,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("run", type=Path)
    args = parser.parse_args()
    settings = read_settings(
        DistilSettings, args.run / "config.yaml", {"data": args.store, "out": args.run}
    )
    encoder = load(DEFAULT_ENCODER)
    store, runner = Store(settings.data), EncoderRunner(encoder)
    measured = measure(store, settings.teachers)
    data, _ = distil_data(store, measured, encoder.config, settings)
    assert isinstance(data.train, DistilDataset)
    assert isinstance(data.held_out, DistilDataset)
    train = faces_of(data.train, measured, PICTURES, runner)
    held_out = faces_of(data.held_out, measured, HELD_OUT_PICTURES, runner)
    about = {
        "name": encoder.config.name,
        "sha256": weights_sha256(encoder),
        "licence": encoder.config.licence,
    }
    for name in TASKS:
        ship(name, train, held_out, measured, about)


if __name__ == "__main__":
    main()
