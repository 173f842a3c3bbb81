"""Made-up people who talk: a mouth that opens as far as its sound is loud."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.store.writer import key_of
from openmarlin.lipsync.experts.mouth_view import POINTS
from openmarlin.regions import CELL_PX

SIZE = 64
RATE = 16_000


def speech(n_frames: int, rng: np.random.Generator, fps: float = 25.0) -> NDArray[np.float64]:
    """An opening (n_frames,) in [0, 1] that comes and goes like syllables."""
    times = np.arange(n_frames) / fps
    turns = np.cumsum(rng.uniform(2.0, 6.0, n_frames)) / fps
    return np.asarray(np.clip(0.5 + 0.5 * np.sin(2 * np.pi * turns + times), 0, 1))


def voice(
    opening: NDArray[np.float64], rng: np.random.Generator, fps: float = 25.0
) -> NDArray[np.int16]:
    """Sound as long as the frames, as loud as the mouth is open."""
    n = round(len(opening) / fps * RATE)
    loud = np.interp(np.arange(n) / RATE * fps, np.arange(len(opening)) + 0.5, opening)
    tone = sum(np.sin(2 * np.pi * 150 * k * np.arange(n) / RATE) / k for k in range(1, 8))
    return np.asarray(6000 * loud * (tone + 0.2 * rng.normal(size=n)), np.int16)


def mesh(opening: float, size: int = SIZE) -> NDArray[np.float32]:
    """478 points of which eyes, lips and jaw are where they belong."""
    points = np.full((478, 2), 0.5)
    points[33], points[263] = (0.3, 0.35), (0.7, 0.35)
    for i, number in enumerate(POINTS[:40]):
        turn = 2 * np.pi * (i % 20) / 20
        wide, high = (0.13, 0.05) if i < 20 else (0.09, 0.0)
        lower = np.sin(turn) < 0
        x, y = -np.cos(turn) * wide, -np.sin(turn) * high + (0.08 * opening if lower else 0)
        points[number] = (0.5 + x, 0.77 + y)
    for i, number in enumerate(POINTS[40:]):
        points[number] = (0.35 + 0.3 * i / 8, 0.95 + 0.04 * opening)
    return np.asarray(points * size, np.float32)


def face(opening: float, colour: NDArray[np.float64], size: int = SIZE) -> NDArray[np.uint8]:
    """A picture of it."""
    image = np.full((size, size, 3), colour, np.uint8)
    points = np.round(mesh(opening, size)).astype(np.int32)
    cv2.fillPoly(image, [points[list(POINTS[:20])]], (160, 60, 60))
    cv2.fillPoly(image, [points[list(POINTS[20:40])]], (20, 10, 10))
    for eye in (33, 263):
        cv2.circle(image, points[eye].tolist(), max(1, size // 24), (20, 20, 20), -1)
    return image


def talking_store(
    path: Path, *, talks: int = 8, n_frames: int = 100, fps: float = 25.0, splits: bool = False
) -> Store:
    """A store of people who talk, two talks each, with sound and mesh points."""
    rng = np.random.default_rng(0)
    cells = np.ones((n_frames, SIZE // CELL_PX, SIZE // CELL_PX), np.uint16)
    names = [f"talk-{i}" for i in range(talks)]
    with StoreWriter(path, size=SIZE, settings={"size": SIZE, "margin": 0}) as writer:
        for i, name in enumerate(names):
            opening, colour = speech(n_frames, rng, fps), rng.uniform(90, 220, 3)
            images = np.stack([face(float(each), colour) for each in opening])
            points = np.stack([mesh(float(each)) for each in opening])
            writer.add(
                name,
                images,
                cells,
                fps=fps,
                group=f"person-{i // 2}",
                points=points,
                sound=voice(opening, rng, fps),
            )
        columns = None
        if splits:
            turns = ("train", "train", "val", "test")
            columns = {"split": {key_of(n): turns[i // 2 % 4] for i, n in enumerate(names)}}
        writer.close(columns=columns)
    return Store(path)
