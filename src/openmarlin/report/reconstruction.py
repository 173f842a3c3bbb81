"""Reconstructed clips as a picture: what was, what the model saw, what it made of that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.files import atomic
from openmarlin.model.layers import patchify, unpatchify
from openmarlin.model.zoo import ModelConfig

Video = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""

_GREY, _GAP_PX, _FRAMES = 96, 4, 8


def paste(
    video: Video, mask: NDArray[np.bool_], cubes: NDArray[np.float32], config: ModelConfig
) -> tuple[Video, Video]:
    """What the model saw, grey where masked, and that with its predictions in the masked places.

    Args:
        video: (T, H, W, 3).
        mask: (N,), True = masked.
        cubes: (M, P), the masked cubes as predicted, pixels in [0, 1].
        config: of the model.
    """
    pixels = torch.from_numpy(video).permute(3, 0, 1, 2)[None]
    all_cubes = patchify(pixels, config.tubelet, config.patch)[0]
    hidden = torch.from_numpy(mask)
    predicted = torch.from_numpy(cubes).mul(255).round().clamp(0, 255).to(torch.uint8)
    pictures = []
    for content in (torch.tensor(_GREY, dtype=torch.uint8), predicted):
        filled = all_cubes.clone()
        filled[hidden] = content
        whole = unpatchify(filled[None], config.grid, config.tubelet, config.patch)[0]
        pictures.append(whole.permute(1, 2, 3, 0).contiguous().numpy())
    return pictures[0], pictures[1]


def strips(videos: Sequence[Video], frames: int = _FRAMES) -> NDArray[np.uint8]:
    """Videos of one clip below each other, some frames of each side by side."""
    chosen = np.linspace(0, len(videos[0]) - 1, min(frames, len(videos[0]))).round().astype(int)
    return np.vstack([np.hstack(list(video[chosen])) for video in videos])


def draw_reconstructions(
    path: Path,
    clips: Sequence[tuple[Video, NDArray[np.bool_], NDArray[np.float32]]],
    config: ModelConfig,
) -> None:
    """A PNG of clips below each other: original, masked, reconstructed.

    Args:
        path: to write.
        clips: video, mask and predicted cubes of each, see `paste`.
        config: of the model.
    """
    rows = []
    for video, mask, cubes in clips:
        strip = strips([video, *paste(video, mask, cubes, config)])
        gap = np.full((_GAP_PX, strip.shape[1], 3), 255, np.uint8)
        rows += [strip, gap]
    picture = cv2.cvtColor(np.vstack(rows[:-1]), cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", picture)
    with atomic(path) as part:
        part.write_bytes(png.tobytes())
