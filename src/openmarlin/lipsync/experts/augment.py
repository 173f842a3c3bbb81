"""What is done with a talk before an expert learns from it; lips and sound stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmarlin.lipsync.experts.mouth_view import TWINS

Floats = NDArray[np.float32]

_SILENCE, _LOUD = -4.0, 4.0  # of a mel spectrogram
_PER_DB = 0.08  # of its scale


def augment_points(points: Floats, rng: np.random.Generator) -> Floats:
    """Points of lips (T, 49, 2): another face, another angle, another side."""
    if rng.random() < 0.5:
        points = points[:, TWINS] * np.array([-1, 1], np.float32)
    angle, grown = rng.normal(0, 0.05), np.exp(rng.normal(0, 0.08, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    turned = points @ (np.array([[cos, sin], [-sin, cos]]) * grown)
    other = rng.normal(0, 0.03, points.shape[1:]) + rng.normal(0, 0.03, 2)  # another mouth at rest
    return np.asarray(turned + other + rng.normal(0, 0.004, points.shape), np.float32)


def augment_mouths(mouths: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures (T, 48, 96): mirrored, moved by some pixels, lit differently."""
    if rng.random() < 0.5:
        mouths = mouths[:, :, ::-1]
    dy, dx = rng.integers(-3, 4), rng.integers(-5, 6)
    moved = np.roll(mouths, (dy, dx), (1, 2)).astype(np.float32)
    gain, shift = np.exp(rng.normal(0, 0.2)), rng.normal(0, 15)
    noise = rng.normal(0, rng.uniform(0, 6), moved.shape).astype(np.float32)
    lit = (moved - 128) * gain + 128 + shift + noise
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def augment_mel(mel: Floats, rng: np.random.Generator) -> Floats:
    """A mel spectrogram (80, C): louder, noise, another microphone and voice, bands missing."""
    bands = len(mel)
    curve = np.interp(np.arange(bands), np.linspace(0, bands - 1, 5), rng.normal(0, 4, 5))
    heard = mel + _PER_DB * (rng.normal(0, 6) + curve)[:, None]
    if rng.random() < 0.5:  # noise covers what is softer
        heard = np.maximum(heard, rng.uniform(_SILENCE, -1) + rng.normal(0, 0.25, heard.shape))
    heard = np.roll(heard, rng.integers(-3, 4), axis=0)
    if rng.random() < 0.5:
        first, count = rng.integers(0, bands - 12), rng.integers(4, 13)
        heard[first : first + count] = _SILENCE
    return np.asarray(np.clip(heard, _SILENCE, _LOUD), np.float32)
