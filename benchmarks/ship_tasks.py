"""The heads that ship: `python -m benchmarks.ship_tasks RUN STORE TEACHERS WINDOWS`.

RUN is the distillation of the default encoder, STORE and TEACHERS what it learnt from, WINDOWS what
`benchmarks.probe_windows` made. No label that a person gave is learnt from:

    expression   the run's own linear head for the teacher's seven expressions
    actions      logistic regression of blendshapes above a threshold, on the training windows

Both are judged on held-out groups: expression by labels of people, actions by the mesh. The cards
are written here, too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.common import console, save
from benchmarks.probes import Windows, features
from openmarlin.data.clips import Sampling
from openmarlin.data.store import Store
from openmarlin.distillation.data import distil_data
from openmarlin.distillation.measuring import measure
from openmarlin.distillation.settings import DistilSettings
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.model.io import load
from openmarlin.model.tensor_files import CONFIG
from openmarlin.model.zoo import DEFAULT_ENCODER, TASKS
from openmarlin.output import CONFIG_FILE
from openmarlin.settings import read_recipe
from openmarlin.tasks.heads import LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import HEAD, TaskConfig
from openmarlin.training.checkpoint import Checkpoints

Array = NDArray[Any]
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
"""The teacher's, in its order."""

ACTIONS = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "mouth_open": ("jawOpen",),
    "pucker": ("mouthPucker",),
    "press_lips": ("mouthPressLeft", "mouthPressRight"),
    "eyes_closed": ("eyeBlinkLeft", "eyeBlinkRight"),
    "squint": ("eyeSquintLeft", "eyeSquintRight"),
    "look_down": ("eyeLookDownLeft", "eyeLookDownRight"),
    "raise_brows": ("browInnerUp",),
    "lower_brows": ("browDownLeft", "browDownRight"),
}
"""What a face does, and the blendshapes that say so."""

SHARE = 0.25  # of the training windows that count as doing it: the highest
RESAMPLES = 1000


@dataclass(frozen=True)
class Made:
    """A head, and how well it does on held-out groups: number, low, high by name."""

    target: Target
    head: LinearHead
    prior: tuple[float, ...]
    results: dict[str, list[float]]
    counts: dict[str, int]


def expression(run: Path, store: Path, teachers: Path, windows: Windows, found: Array) -> Made:
    settings = DistilSettings(**read_recipe(run / CONFIG_FILE), out=run, data=store)
    opened = Store(store)
    encoder = load(DEFAULT_ENCODER)
    measured = measure(opened, teachers)
    _, targets = distil_data(opened, measured, encoder.config, settings)
    checkpoint = Checkpoints(run).newest()
    assert checkpoint is not None
    weights = checkpoint.tensors()
    where = targets["expression"]
    mean, scale = (torch.from_numpy(each) for each in targets.moments["expression"])
    head = LinearHead(encoder.config.width, len(EXPRESSIONS))
    with torch.no_grad():
        head.linear.weight.copy_(weights["ema/of_feature.weight"][where] / scale[:, None])
        head.linear.bias.copy_(weights["ema/of_feature.bias"][where] / scale + mean)
    target = Target("class", ("expression",), EXPRESSIONS)
    labels = windows.table.emotion.to_numpy()
    known = windows.testing & np.isin(labels, EXPRESSIONS)
    with torch.inference_mode():
        said = head.answer(torch.from_numpy(found[known])).argmax(dim=1).numpy()
    hits = np.array(EXPRESSIONS)[said] == labels[known]
    groups = windows.table.group.to_numpy()[known]
    by_group = [hits[groups == group].mean() for group in np.unique(groups)]
    results = {"accuracy": interval(np.array(by_group))}
    probabilities = measured.values["expression"]
    prior = np.nanmean(probabilities, axis=0)
    counts = {"held-out windows": int(known.sum()), "held-out groups": len(by_group)}
    return Made(target, head.eval(), tuple((prior / prior.sum()).tolist()), results, counts)


def actions(windows: Windows, found: Array) -> Made:
    names = list(ACTIONS)
    shapes = np.stack(
        [
            np.nanmean(
                windows.movement[:, :, [BLENDSHAPE_NAMES.index(n) for n in ACTIONS[name]]],
                axis=(1, 2),
            )
            for name in names
        ],
        axis=1,
    )
    seen = np.isfinite(shapes).all(axis=1)
    train, test = windows.training & seen, windows.testing & seen
    labels = shapes > np.quantile(shapes[train], 1 - SHARE, axis=0)
    head = LinearHead(found.shape[1], len(names), "standard")
    mean, deviation = found[train].mean(axis=0), found[train].std(axis=0)
    groups = windows.table.group.to_numpy()
    results = {}
    with torch.no_grad():
        head.mean.copy_(torch.from_numpy(mean))
        head.deviation.copy_(torch.from_numpy(deviation))
        for i, name in enumerate(names):
            model = LogisticRegression(C=0.01, max_iter=2000)
            model.fit((found[train] - mean) / deviation, labels[train, i])
            head.linear.weight[i] = torch.from_numpy(model.coef_[0])
            head.linear.bias[i] = float(model.intercept_[0])
            scores = model.decision_function((found[test] - mean) / deviation)
            results[name] = auc_interval(scores, labels[test, i], groups[test])
    target = Target("multilabel", tuple(names), tuple(names))
    counts = {
        "training windows": int(train.sum()),
        "held-out windows": int(test.sum()),
        "held-out groups": len(np.unique(groups[test])),
    }
    return Made(target, head.eval(), tuple(labels[train].mean(axis=0).tolist()), results, counts)


def interval(values: Array) -> list[float]:
    """Mean over groups, and the middle 95 % of resamples."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    return [float(values.mean()), *np.percentile(drawn, [2.5, 97.5]).tolist()]


def auc_interval(scores: Array, labels: Array, groups: Array) -> list[float]:
    """AUC over windows, and the middle 95 % of resamples of groups."""
    names = np.unique(groups)
    rows = [np.flatnonzero(groups == name) for name in names]
    rng = np.random.default_rng(0)
    drawn = []
    for draw in rng.integers(len(names), size=(RESAMPLES, len(names))):
        some = np.concatenate([rows[i] for i in draw])
        if 0 < labels[some].mean() < 1:
            drawn.append(roc_auc_score(labels[some], scores[some]))
    return [float(roc_auc_score(labels, scores)), *np.percentile(drawn, [2.5, 97.5]).tolist()]


def ship(name: str, made: Made, trained_on: dict[str, Any]) -> None:
    folder = TASKS[name]
    folder.mkdir(exist_ok=True)
    sampling = Sampling()
    config = TaskConfig(
        target=made.target.as_dict(),
        head=made.head.config,
        sampling={"rate": sampling.rate, "stride": sampling.stride},
        prior=made.prior,
        trained_on=trained_on,
    )
    content = {"encoder": DEFAULT_ENCODER, "task": config.model_dump(mode="json")}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    tensors = {key: t.detach().contiguous() for key, t in made.head.state_dict().items()}
    save_file(tensors, folder / HEAD, metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "store", "teachers", "windows"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    windows = Windows.read(args.windows)
    found = features(load(DEFAULT_ENCODER), windows, args.windows / "features")
    both = {
        "expression": expression(args.run, args.store, args.teachers, windows, found),
        "actions": actions(windows, found),
    }
    for name, made in both.items():
        console.print(name, made.counts, made.results)
        ship(name, made, {"encoder": {"name": DEFAULT_ENCODER}, "counts": made.counts})
    save(
        "ship_tasks",
        {name: {"counts": made.counts, "results": made.results} for name, made in both.items()},
    )


if __name__ == "__main__":
    main()
