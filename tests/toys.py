"""Small things to train on: moving shapes in a store, and settings of milliseconds a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store, StoreWriter
from openmarlin.regions import to_cells

TOY: dict[str, Any] = {
    "model": "tiny",
    "shape": {
        "image_size": 32,
        "frames": 4,
        "width": 64,
        "depth": 2,
        "heads": 2,
        "decoder_width": 32,
        "decoder_depth": 1,
        "decoder_heads": 1,
        "patch": 8,
    },
    "mask_ratio": 0.75,
    "batch": 4,
    "steps": 6,
    "log_every": 1,
    "val_clips": 4,
    "workers": 0,
    "precision": "fp32",
    "accelerator": "cpu",
    "pictures": 1,
}
"""32 tokens, 0.1 M parameters."""


def toy_track(
    size: int, n_frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A "face": an ellipse of skin that moves before a plain ground, with eyes and a mouth."""
    colours = rng.integers(0, 256, (4, 3)).tolist()
    x, y = rng.uniform(0.4, 0.6, 2) * size
    drift = rng.uniform(-0.1, 0.1, 2) * size / n_frames
    images = np.empty((n_frames, size, size, 3), np.uint8)
    labels = np.zeros((n_frames, size, size), np.uint8)
    for i in range(n_frames):
        images[i] = colours[0]
        centre = np.array([x, y]) + i * drift
        parts = [(1, colours[1], (0, 0), (0.33, 0.4)), (9, colours[3], (0, 0.2), (0.12, 0.05))]
        parts += [(5 - k, colours[2], (0.13 * (2 * k - 1), -0.1), (0.06, 0.04)) for k in (0, 1)]
        for label, colour, offset, radii in parts:
            at = tuple((centre + np.array(offset) * size).round().astype(int).tolist())
            axes = tuple(max(1, round(radius * size)) for radius in radii)
            cv2.ellipse(images[i], at, axes, 0, 0, 360, colour, -1)
            cv2.ellipse(labels[i], at, axes, 0, 0, 360, label, -1)
    return images, to_cells(labels)


def toy_store(
    path: Path, *, tracks: int = 6, n_frames: int = 12, size: int = 32, margin: int = 0
) -> Store:
    """A store of `tracks` faces, two to a group."""
    rng = np.random.default_rng(0)
    side = size + 2 * margin
    with StoreWriter(path, size=side, settings={"size": size, "margin": margin}) as writer:
        for i in range(tracks):
            images, cells = toy_track(side, n_frames, rng)
            writer.add(f"track-{i}", images, cells, fps=25.0, group=f"person-{i // 2}")
    return Store(path)
