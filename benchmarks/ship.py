"""The weights that ship: `python -m benchmarks.ship RUN [RUN ...]`.

The runs are pre-training runs, each started from the one before; the newest checkpoint of the last
is halved (float16: three digits, enough for bf16 and float32 alike) and divided: the encoder in
model.safetensors, and what only `reconstruct` and further training need, decoder, projection and
critic, in decoder.safetensors. The model card beside them is written by hand. The curve of all runs
(docs/images) and the features that tests compare with are made anew, too.
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
from openmarlin.model.zoo import DEFAULT_MODEL, SHIPPED
from openmarlin.report.plots import curves_svg
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.log import METRICS_FILE, read_metrics

ROOT = Path(__file__).parents[1]
CLIPS, GOLDEN = ROOT / "examples" / "clips", ROOT / "tests" / "jobs" / "golden.npy"
CURVE = ROOT / "docs" / "images" / f"{DEFAULT_MODEL}.svg"
CRITIC, DISCRIMINATOR = "critic/weights/", "discriminator."
"""What a checkpoint calls it, and what MARLIN's files do."""


def write_weights(checkpoint: Checkpoint) -> None:
    shipped = SHIPPED[DEFAULT_MODEL]
    model = load(checkpoint.model, part="full")
    config = model.config.changed(
        name=shipped.name, source="trained by this project", licence=shipped.licence
    )
    critic = {k: t for k, t in checkpoint.tensors().items() if k.startswith(CRITIC)}
    state = tensors(model) | {DISCRIMINATOR + k.removeprefix(CRITIC): t for k, t in critic.items()}
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    for file, of_encoder in ((WEIGHTS, True), (REST, False)):
        part = {k: t for k, t in half.items() if k.startswith("encoder.") == of_encoder}
        path = shipped.folder / file
        save_file(part, path, metadata={"format": "pt"})
        console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    content: dict[str, Any] = {"model_type": MODEL_TYPE, **config.model_dump()}
    (shipped.folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def write_curve(runs: list[Path]) -> None:
    """Reconstruction error over the steps of all runs, one after the other."""
    points: dict[str, list[tuple[int, float]]] = {"rec": [], "val_rec": []}
    before = 0
    for run in runs:
        metrics = read_metrics(run / METRICS_FILE)
        for row in metrics:
            for name, found in points.items():
                if name in row:
                    found.append((before + row["step"], row[name]))
        before += max(row["step"] for row in metrics)
    named = {"training": points["rec"], "held-out group": points["val_rec"]}
    curves = {
        label: (p[:, 0], p[:, 1]) for label, p in ((k, np.array(v)) for k, v in named.items())
    }
    CURVE.write_text(curves_svg(curves, DEFAULT_MODEL, logarithmic=True), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    checkpoint = Checkpoints(args.runs[-1]).newest()
    if checkpoint is None:
        parser.error(f"{args.runs[-1]} has no checkpoint")
    write_weights(checkpoint)
    write_curve(args.runs)
    golden = extract(CLIPS, precision="fp32", backend="torch", limit_seconds=2.0)
    np.save(GOLDEN, golden.embeddings)


if __name__ == "__main__":
    main()
