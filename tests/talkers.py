"""People who talk, made up: meshes whose lips follow a sound, and their pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.store.writer import key_of
from openmarlin.face.mesh import INNER_LIPS, N_POINTS, OUTER_LIPS
from openmarlin.face.pose import _BASIS
from openmarlin.lipsync.small.mouth_shape import CHIN, JAW
from openmarlin.regions import to_cells
from openmarlin.video.audio import RATE

LIPS_CM = np.array([0.0, 4.0, -5.5])
"""Middle of the mouth in the canonical face: x right, y down, z away."""

EYES_CM = 2 * 4.4459


def solid_face(opening: float) -> NDArray[np.float64]:
    """Mesh points (478, 3) in cm with lips so far apart, in distances of the eyes."""
    points = np.zeros((N_POINTS, 3))
    points[:] = LIPS_CM
    points[_BASIS[:, 0].astype(int)] = _BASIS[:, 2:] * (1, -1, -1)
    gap = opening * EYES_CM
    turn = 2 * np.pi * np.arange(20) / 20
    ring = np.stack([-np.cos(turn), -np.sin(turn), np.zeros(20)], axis=1)
    points[list(INNER_LIPS)] = LIPS_CM + (0, gap / 2, 0) + ring * (1.8, gap / 2, 0)
    points[list(OUTER_LIPS)] = LIPS_CM + (0, gap / 2, 0) + ring * (2.5, gap / 2 + 0.7, 0)
    bow = np.pi * np.arange(13) / 12
    jaw = np.stack([-5 * np.cos(bow), 1.5 + (2.5 + gap) * np.sin(bow), 2 * np.ones(13)], axis=1)
    points[list(JAW)] = LIPS_CM + jaw
    points[list(CHIN)] = LIPS_CM + np.array([(0, 1.2 + gap + 0.6 * i, 0.5) for i in range(4)])
    return points


def look_at(
    solid: NDArray[np.float64], *, yaw: float = 0.0, side: float = 224, margin: float = 16
) -> NDArray[np.float32]:
    """Points (N, 2) of a picture, the face turned by some degrees; weak perspective."""
    cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turn = np.array([[cos, 0, sin], [0, 1, 0]])
    middle = margin + side / 2
    return np.asarray(solid @ turn.T * side / 18 + (middle, middle), np.float32)


def talk(
    seconds: float, rng: np.random.Generator, fps: float = 25.0
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Noise that swells and falls, and how far the lips are open in every frame."""
    n = round(seconds * 25)
    swell = np.clip(np.convolve(rng.normal(size=n + 8), np.ones(9) / 3, "valid"), 0, 1.5) / 1.5
    loud = np.interp(np.arange(round(seconds * RATE)) / RATE, np.arange(n) / 25, swell)
    samples = np.asarray(6000 * (0.02 + loud) * rng.normal(size=len(loud)), np.int16)
    frames_s = np.arange(round(seconds * fps)) / fps
    return samples, 0.25 * np.interp(frames_s, np.arange(n) / 25, swell)


def draw_face(points: NDArray[np.float32], size: int, colour: tuple[int, ...]) -> NDArray[np.uint8]:
    """A head with lips where the points have them, uint8 RGB (size, size, 3)."""
    image = np.full((size, size, 3), 40, np.uint8)
    cv2.circle(image, (size // 2, size // 2), round(0.42 * size), colour, -1)
    for ring, shade in ((OUTER_LIPS, (170, 60, 60)), (INNER_LIPS, (30, 10, 10))):
        cv2.fillPoly(image, [points[list(ring)].round().astype(np.int32)], shade)
    return image


def talking_store(
    path: Path,
    *,
    people: int = 6,
    talks: int = 1,
    seconds: float = 2.0,
    fps: float = 25.0,
    size: int = 96,
    sound: bool = True,
    points: bool = True,
    splits: bool = False,
) -> Store:
    """A store of people who talk, `talks` tracks of each; with splits by turns of people."""
    rng = np.random.default_rng(0)
    margin, side = 8, size + 16
    names = [f"talker-{i}-{k}" for i in range(people) for k in range(talks)]
    with StoreWriter(path, size=side, settings={"size": size, "margin": margin}) as writer:
        for number, name in enumerate(names):
            samples, openings = talk(seconds, rng, fps)
            colour = tuple(rng.integers(120, 230, 3).tolist())
            meshes = np.stack(
                [
                    look_at(solid_face(o), yaw=yaw, side=size, margin=margin)
                    for o, yaw in zip(openings, np.linspace(-8, 8, len(openings)), strict=True)
                ]
            )
            images = np.stack([draw_face(mesh, side, colour) for mesh in meshes])
            writer.add(
                name,
                images,
                to_cells(np.zeros(images.shape[:3], np.uint8)),
                fps=fps,
                group=f"person-{number // talks}",
                points=meshes if points else None,
                sound=samples if sound else None,
            )
        turns = ("train", "train", "val", "test")
        column = {key_of(n): turns[i // talks % 4] for i, n in enumerate(names)}
        writer.close(columns={"split": column} if splits else None)
    return Store(path)
