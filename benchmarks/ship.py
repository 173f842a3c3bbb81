"""The weights that ship: `python -m benchmarks.ship NAME RUN [RUN ...]`.

The runs are of `pretrain` (openmarlin_vit_tiny) or `distil` (openmarlin_face_tiny), each started
from the one before; the newest checkpoint of the last is halved (float16: three digits, enough for
bf16 and float32 alike). An encoder goes into model.safetensors; of an autoencoder the rest, which
only `reconstruct` and further training need, decoder, projection and critic, goes into
decoder.safetensors. The model card beside them is written by hand. The curve of all runs
(docs/images) and, of the default encoder, the features that tests compare with are made anew, too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.common import console
from openmarlin.jobs.extract import extract
from openmarlin.model.io import MODEL_TYPE, load, tensors
from openmarlin.model.tensor_files import CONFIG, REST, WEIGHTS
from openmarlin.model.zoo import DEFAULT_AUTOENCODER, DEFAULT_ENCODER, SHIPPED
from openmarlin.report.plots import curves_svg
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.log import METRICS_FILE, read_metrics

ROOT = Path(__file__).parents[1]
CLIPS, GOLDEN = ROOT / "examples" / "clips", ROOT / "tests" / "jobs" / "golden.npy"
IMAGES = ROOT / "docs" / "images"
CRITIC, DISCRIMINATOR = "critic/weights/", "discriminator."
"""What a checkpoint calls it, and what MARLIN's files do."""


CURVES = {
    DEFAULT_AUTOENCODER: {"training": "rec", "held-out group": "val_rec"},
    DEFAULT_ENCODER: {
        name.replace("_", " "): f"val_{name}"
        for name in ("pose", "blendshapes", "mesh", "expression", "dlib", "mobileface")
    },
}
"""Of metrics, by what they are called: reconstruction errors, and R² on held-out groups."""


def write_weights(name: str, checkpoint: Checkpoint) -> None:
    shipped = SHIPPED[name]
    model = load(checkpoint.model, "full" if name == DEFAULT_AUTOENCODER else "encoder")
    config = model.config.changed(
        name=name, source="trained by this project", licence=shipped.licence
    )
    critic = {k: t for k, t in checkpoint.tensors().items() if k.startswith(CRITIC)}
    state = tensors(model) | {DISCRIMINATOR + k.removeprefix(CRITIC): t for k, t in critic.items()}
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    shipped.folder.mkdir(exist_ok=True)
    for file, of_encoder in ((WEIGHTS, True), (REST, False)):
        part = {k: t for k, t in half.items() if k.startswith("encoder.") == of_encoder}
        path = shipped.folder / file
        if part:
            save_file(part, path, metadata={"format": "pt"})
            console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    content: dict[str, Any] = {"model_type": MODEL_TYPE, **config.model_dump()}
    (shipped.folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def write_curve(name: str, runs: list[Path]) -> None:
    """Metrics over the steps of all runs, one after the other."""
    points: dict[str, list[tuple[int, float]]] = {metric: [] for metric in CURVES[name].values()}
    before = 0
    for run in runs:
        metrics = read_metrics(run / METRICS_FILE)
        for row in metrics:
            for metric, found in points.items():
                if metric in row:
                    found.append((before + row["step"], row[metric]))
        before += max(row["step"] for row in metrics)
    arrays = {label: np.array(points[metric]) for label, metric in CURVES[name].items()}
    curves = {label: (found[:, 0], found[:, 1]) for label, found in arrays.items()}
    picture = curves_svg(curves, name, logarithmic=name == DEFAULT_AUTOENCODER)
    (IMAGES / f"{name}.svg").write_text(picture, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(CURVES))
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    checkpoint = Checkpoints(args.runs[-1]).newest()
    if checkpoint is None:
        parser.error(f"{args.runs[-1]} has no checkpoint")
    write_weights(args.name, checkpoint)
    write_curve(args.name, args.runs)
    if args.name == DEFAULT_ENCODER:
        golden = extract(CLIPS, precision="fp32", backend="torch", limit_seconds=2.0)
        np.save(GOLDEN, golden.embeddings)


if __name__ == "__main__":
    main()
