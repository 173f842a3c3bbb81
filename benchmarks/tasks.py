"""What the tasks can do on the corpora at hand; `python -m benchmarks.tasks LABELS --out RUNS`.

LABELS is what `benchmarks.task_labels` wrote. Every table is probed with three kinds of frozen
features, the same rows, splits and choices: the weights that ship, random weights of their shape,
and raw pixels. The large table (actions) has one split, and shares of its labels; of the small ones
every group is tested once, in five folds, with the fold after it as validation. Differences are
paired, on the same resamples of groups. Results go to benchmarks/results/tasks.json, and tables to
docs/lab/tasks.md (`python -m benchmarks.task_tables`). Runs and features that are there are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold

import openmarlin
from benchmarks.common import console, save
from benchmarks.task_labels import ACTIONS
from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import Extractor
from openmarlin.data.features import META_FILE, Features
from openmarlin.data.formats import embedding_column
from openmarlin.data.manifest import Row, read_manifest
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, save_folder, weights_sha256
from openmarlin.model.zoo import DEFAULT_ENCODER
from openmarlin.output import Failures
from openmarlin.tasks.evaluation import evaluate_predictions
from openmarlin.tasks.inference import unlabelled
from openmarlin.tasks.labels import Target, infer_target
from openmarlin.tasks.predictions import PREDICTIONS_FILE, Predictions
from openmarlin.tasks.probe import Problem
from openmarlin.tasks.probe_features import (
    FeatureFolder,
    RowFeatures,
    extract_features,
    settings_of,
)
from openmarlin.tasks.scorecard import METRICS_JSON, as_json
from openmarlin.tasks.settings import ProbeSettings
from openmarlin.tasks.splits import SPLITS_FILE, TEST, TRAIN, VAL, group_of

SHARES = (1.0, 0.5, 0.1, 0.01)
PIXELS_SIDE, FOLDS = 28, 5


@dataclass(frozen=True)
class Task:
    """A labelled table and what is asked of it.

    Attributes:
        name: of the table.
        label: columns.
        shares: of the training labels.
    """

    name: str
    label: tuple[str, ...]
    shares: tuple[float, ...] = (1.0,)


TASKS = (
    Task("actions", ACTIONS, SHARES),
    Task("real_or_fake", ("label",)),
    Task("emotion", ("emotion",)),
    Task("expressions", ("emotion",)),
)


class PixelEncoder:
    """Every second frame, 28 x 28 and grey."""

    def __call__(self, clips: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        side = (PIXELS_SIDE, PIXELS_SIDE)
        grey = [
            [
                cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), side, interpolation=cv2.INTER_AREA)
                for f in clip[::2]
            ]
            for clip in clips
        ]
        return np.array(grey, np.float32).reshape(len(clips), -1) / 255, None


def random_weights(folder: Path) -> Path:
    """The shape of the weights that ship, not trained; made once."""
    if not folder.is_dir():
        config = load(DEFAULT_ENCODER).config.changed(name="random", trained=False, source="")
        encoder = Encoder(config.encoder_alone(), torch.Generator().manual_seed(0))
        save_folder(encoder, folder)
    return folder


def pixel_features(table: Path, folder: Path, config: ModelConfig, sha256: str) -> Path:
    """A folder as `extract` writes it, of raw pixels, for `probe --features`; made once.

    As many principal components as an embedding has numbers (or there are windows), of all windows:
    no label is looked at.
    """
    if (folder / META_FILE).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    extractor = Extractor(
        PixelEncoder(),
        config,
        config.frames // 2 * PIXELS_SIDE**2,
        Sampling(),
        shared_landmarker(),
    )
    manifest = unlabelled(read_manifest(table))
    extracted = extractor.run(manifest, folder, Failures(folder / "failures.csv"), progress=True)
    values = extracted.features.embeddings
    seen = np.isfinite(values).all(axis=1)
    n_components = min(config.width, int(seen.sum()) - 1)
    components = np.full((len(values), n_components), np.nan, np.float32)
    components[seen] = PCA(n_components, random_state=0).fit_transform(values[seen])
    columns = extracted.features.table
    place = columns.schema.get_field_index("embedding")
    column = embedding_column(components)
    field = pa.field("embedding", column.type, nullable=False)
    meta = {
        # `probe` asks whether features are of its encoder; here they stand in for it.
        "model": {"name": "raw pixels", "sha256": sha256},
        "settings": {**settings_of(Sampling()), "tokens": False},
    }
    Features(columns.set_column(place, field, column), meta).save(folder)
    return folder


def run(labels: Path, out: Path, tasks: Sequence[Task]) -> dict[str, Any]:
    """Every table with every kind of features."""
    random = random_weights(out / "random")
    results: dict[str, Any] = {}
    for task in tasks:
        console.print(task.name)
        probe = _one_split if len(task.shares) > 1 else _folds
        results[task.name] = probe(task, labels / f"{task.name}.csv", out, random)
    return results


def _one_split(task: Task, table: Path, out: Path, random: Path) -> dict[str, Any]:
    """The verb itself, and its shares of the labels."""
    shipped = load(DEFAULT_ENCODER)
    pixels = pixel_features(
        table, out / f"{task.name}-pixels-features", shipped.config, weights_sha256(shipped)
    )
    contenders: dict[str, dict[str, Any]] = {
        "pixels": {"model": DEFAULT_ENCODER, "features": pixels},
        "shipped": {"model": DEFAULT_ENCODER},
        "random": {"model": str(random)},
    }
    for name, how in contenders.items():
        folder = out / f"{task.name}-{name}"
        if not (folder / "model").is_dir():
            console.print(f"  {name}")
            more = {"label": task.label, "shares": task.shares, "resume": True}
            openmarlin.probe(table, out=folder, progress=True, **more, **how)
    return {
        name: _content(out / f"{task.name}-{name}", out / f"{task.name}-shipped", task)
        for name in contenders
    }


def _content(folder: Path, shipped: Path, task: Task) -> dict[str, Any]:
    """metrics.json of a run, and what the weights that ship are ahead of it on the same rows."""
    content = json.loads((folder / METRICS_JSON).read_text("utf-8"))
    if folder != shipped:
        judged = openmarlin.evaluate(
            shipped / PREDICTIONS_FILE,
            shipped / SPLITS_FILE,
            label=task.label,
            against=folder / PREDICTIONS_FILE,
            out=folder.with_name(f"{folder.name}-against"),
            overwrite=True,
        )
        content["ahead"] = as_json(judged.evaluation)["metrics"]
    return dict(content)


def _folds(task: Task, table: Path, out: Path, random: Path) -> dict[str, Any]:
    """Every group tested once; the numbers of all folds together."""
    rows = read_manifest(table).rows
    target = infer_target(task.label, rows)
    folds = _fold_of(rows, target.encode(rows))
    shipped = load(DEFAULT_ENCODER)
    parts = out / f"{task.name}-pixels-features"
    pixel_features(table, parts, shipped.config, weights_sha256(shipped))
    every: dict[str, Predictions] = {}
    for name in ("shipped", "random", "pixels"):
        encoder = load(str(random)) if name == "random" else shipped
        if name == "pixels":
            features = FeatureFolder.open(parts).read(rows, tokens=False)
        else:
            folder = out / f"{task.name}-{name}" / "features"
            failures = Failures(folder / "failures.csv")
            features = extract_features(
                encoder, rows, Sampling(), folder, failures,
                tokens=False, precision="auto", batch=8, workers=None, progress=True,
            )  # fmt: skip
        every[name] = _pooled(target, rows, folds, features, encoder)
    results = {}
    for name, predictions in every.items():
        against = every["shipped"] if name != "shipped" else None
        other = evaluate_predictions(predictions)
        results[name] = as_json(other)
        if against is not None:
            ahead = evaluate_predictions(against, against=predictions)
            results[name]["ahead"] = as_json(ahead)["metrics"]
    return results


def _fold_of(rows: Sequence[Row], labels: NDArray[np.float64]) -> NDArray[np.intp]:
    """(N,) the fold in which a row is tested; groups stay whole, classes are spread evenly."""
    folds = np.zeros(len(rows), np.intp)
    divide = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    groups = [group_of(row) for row in rows]
    for number, (_, places) in enumerate(divide.split(labels, labels[:, 0].astype(int), groups)):
        folds[places] = number
    return folds


def _pooled(
    target: Target,
    rows: Sequence[Row],
    folds: NDArray[np.intp],
    features: RowFeatures,
    encoder: Encoder,
) -> Predictions:
    """The answers to every row of the model that has not seen its fold."""
    settings = ProbeSettings(out=Path("unused"))
    labels = target.encode(rows)
    scores = np.zeros((len(rows), len(target.outputs)))
    for fold in range(FOLDS):
        names = {fold: TEST, (fold + 1) % FOLDS: VAL}
        split = [
            replace(row, split=names.get(int(own), TRAIN))
            for row, own in zip(rows, folds, strict=True)
        ]
        problem = Problem(target, split, labels, features, encoder, Sampling(), settings)
        outcome = problem.learn(problem.examples(TRAIN))
        scores[folds == fold] = outcome.answers.rows[folds == fold]
    return Predictions(target, rows, labels, scores, features.seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path, help="folder with the tables")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--tasks", nargs="+", help="only these")
    args = parser.parse_args()
    tasks = [task for task in TASKS if not args.tasks or task.name in args.tasks]
    save("tasks", {"shipped": DEFAULT_ENCODER, "tasks": run(args.labels, args.out, tasks)})


if __name__ == "__main__":
    main()
