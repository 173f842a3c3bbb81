"""What the tasks can do on the corpora at hand; `python -m benchmarks.tasks LABELS --out RUNS`.

LABELS is what `benchmarks.task_labels` wrote. Every table is probed with three kinds of frozen
features, the same rows, split and choices: the weights that ship, random weights of the same shape,
and raw pixels. Differences are paired, on the same resamples of groups. Runs that are there are not
made again. Results go to benchmarks/results/tasks.json, and tables to docs/lab/tasks.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import openmarlin
from benchmarks.common import console, save
from benchmarks.task_labels import ACTIONS
from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import Extractor
from openmarlin.data.features import META_FILE, Features
from openmarlin.data.formats import embedding_column
from openmarlin.data.manifest import read_manifest
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, save_folder, weights_sha256
from openmarlin.model.zoo import DEFAULT_MODEL
from openmarlin.output import Failures
from openmarlin.tasks.inference import unlabelled

SHARES = (1.0, 0.5, 0.1, 0.01)
PIXELS_SIDE = 28


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
        config = load(DEFAULT_MODEL).config.changed(name="random", trained=False, source="")
        encoder = Encoder(config.encoder_alone(), torch.Generator().manual_seed(0))
        save_folder(encoder, folder)
    return folder


def pixel_features(table: Path, folder: Path, config: ModelConfig, sha256: str) -> Path:
    """A folder as `extract` writes it, of raw pixels, for `probe --features`; made once.

    As many principal components as an embedding has numbers, of all windows: no label is looked at.
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
    components = np.full((len(values), config.width), np.nan, np.float32)
    components[seen] = PCA(config.width, random_state=0).fit_transform(values[seen])
    columns = extracted.features.table
    place = columns.schema.get_field_index("embedding")
    column = embedding_column(components)
    field = pa.field("embedding", column.type, nullable=False)
    meta = {
        # `probe` asks whether features are of its encoder; here they stand in for it.
        "model": {"name": "raw pixels", "sha256": sha256},
        "settings": {"rate": 2, "stride": 16, "tail": "pad", "faces": "largest"},
    }
    Features(columns.set_column(place, field, column), meta).save(folder)
    return folder


def run(labels: Path, out: Path, tasks: Sequence[Task]) -> dict[str, Any]:
    """Probe every table with every kind of features, then compare them in pairs."""
    random = random_weights(out / "random")
    shipped = load(DEFAULT_MODEL)
    results: dict[str, Any] = {}
    for task in tasks:
        table = labels / f"{task.name}.csv"
        pixels = pixel_features(
            table, out / f"{task.name}-pixels-features", shipped.config, weights_sha256(shipped)
        )
        contenders: dict[str, dict[str, Any]] = {
            "shipped": {"model": DEFAULT_MODEL},
            "random": {"model": str(random)},
            "pixels": {"model": DEFAULT_MODEL, "features": pixels},
        }
        runs = {}
        for name, how in contenders.items():
            folder = out / f"{task.name}-{name}"
            if not (folder / "model").is_dir():
                console.print(f"{task.name}: {name}")
                openmarlin.probe(
                    table,
                    label=task.label,
                    shares=task.shares,
                    out=folder,
                    resume=True,
                    progress=True,
                    **how,
                )
            runs[name] = json.loads((folder / "metrics.json").read_text("utf-8"))
        results[task.name] = {"runs": runs, "differences": _differences(task, out)}
    return results


def _differences(task: Task, out: Path) -> dict[str, Any]:
    """The weights that ship against the others, on the test rows of the same split."""
    differences = {}
    for other in ("random", "pixels"):
        folder = out / f"{task.name}-shipped-{other}"
        openmarlin.evaluate(
            out / f"{task.name}-shipped" / "predictions.csv",
            out / f"{task.name}-shipped" / "splits.csv",
            label=task.label,
            against=out / f"{task.name}-{other}" / "predictions.csv",
            out=folder,
            overwrite=True,
        )
        content = json.loads((folder / "metrics.json").read_text("utf-8"))
        differences[other] = content["metrics"]
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path, help="folder with the tables")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--tasks", nargs="+", help="only these")
    args = parser.parse_args()
    tasks = [task for task in TASKS if not args.tasks or task.name in args.tasks]
    save("tasks", {"tasks": run(args.labels, args.out, tasks)})


if __name__ == "__main__":
    main()
