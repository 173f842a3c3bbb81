"""Runs this export with openvino and numpy alone: python run.py CLIPS.npy [OUT.npz]

A .npy file for each input, in the order of export.json, which says what they and the results hold.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # or the import reports its use
import openvino  # noqa: E402

FOLDER, FILES, BATCH = Path(__file__).parent, sys.argv[1:], 4


def main() -> None:
    about = json.loads((FOLDER / "export.json").read_text(encoding="utf-8"))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # without it bfloat16, where the CPU multiplies it
    model = openvino.Core().compile_model(FOLDER / "model.xml", "CPU", exact)
    inputs = {name: np.load(file) for name, file in zip(about["inputs"], FILES, strict=False)}
    parts = []
    for i in range(0, len(next(iter(inputs.values()))), BATCH):
        given = model({name: x[i : i + BATCH] for name, x in inputs.items()})
        parts.append([given[name].copy() for name in about["outputs"]])
    together = [np.concatenate(part) for part in zip(*parts, strict=True)]
    results = dict(zip(about["outputs"], together, strict=True))
    for name, values in results.items():
        print(name, values.shape)
    for i, row in enumerate(results.get("answers", [])):
        print(i, *(f"{k} {v:.4f}" for k, v in zip(about["labels"]["outputs"], row, strict=True)))
    if FILES[-1].endswith(".npz"):
        np.savez(FILES[-1], **results)


if __name__ == "__main__":
    if not FILES:
        sys.exit(__doc__)
    main()
