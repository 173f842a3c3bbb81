"""Generators with random weights whose pictures have the contrast of trained ones'."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmarlin.lipsync.generators.generator import Generator


def make_vivid(generator: Generator, frames: int = 3) -> tuple[Tensor, Tensor]:
    """Gives a generator statistics of batches, and pictures that reach from black to white.

    Pictures of fresh weights are all but grey, so whatever draws them seems exact.

    Returns:
        Sound and faces to call it with; frames are `frames`, or as many as it draws together.
    """
    config = generator.config
    frames = max(frames, config.frames)
    rng = torch.Generator().manual_seed(0)
    shape = (1, frames, 1, config.sound.rows, config.sound.columns)
    sound = 2 * torch.randn(shape, generator=rng)
    faces = torch.rand(1, 6, frames, config.size, config.size, generator=rng)
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        generator.train().logits(sound, faces)
        logits = generator.eval().logits(sound, faces)
        last = [m for m in generator.modules() if isinstance(m, nn.Conv2d) and m.out_channels == 3]
        last[-1].weight *= 2 / logits.std()
    return sound, faces


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of pictures in [0, 1], decibels."""
    return float(-10 * (a - b).square().mean().log10())
