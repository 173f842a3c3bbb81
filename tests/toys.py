"""Small things to train on: moving shapes in a store, and settings of milliseconds a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.manifest import key_of
from openmarlin.data.store import Store, StoreWriter
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import save_folder
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


def toy_encoder(path: Path) -> Path:
    """The encoder of `TOY` as a model folder, with random weights."""
    config = PRESETS["tiny"].changed(**TOY["shape"]).encoder_alone()
    save_folder(Encoder(config, torch.Generator().manual_seed(0)), path)
    return path


def labelled_store(
    path: Path,
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    n_videos: int = 24,
    tracks: int = 1,
    n_frames: int = 12,
    size: int = 32,
) -> Store:
    """A store of labelled videos, two to a group; what is marked is bright.

    Args:
        columns: of the manifest, a value a video; without them `marked`, 0 and 1 by turns.
        n_videos: videos.
        tracks: of each video.
        n_frames: of each track.
    """
    rng = np.random.default_rng(0)
    marked = [i // 2 % 2 for i in range(n_videos)]
    values = dict(columns) if columns is not None else {"marked": marked}
    keys: list[str] = []
    with StoreWriter(path, size=size, settings={"size": size, "margin": 0}) as writer:
        for i in range(n_videos):
            for k in range(tracks):
                images, cells = toy_track(size, n_frames, rng)
                images = images // 3 + np.uint8(170 * marked[i])
                name = f"video-{i}/{k}"
                writer.add(name, images, cells, group=f"person-{i // 2}", video=f"video-{i}.mp4")
                keys.append(key_of(name))
        by_key = {
            name: {key: column[i // tracks] for i, key in enumerate(keys)}
            for name, column in values.items()
        }
        writer.close(columns=by_key)
    return Store(path)
