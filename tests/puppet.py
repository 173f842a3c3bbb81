"""A model that draws mouths without having learnt anything: it shows the face of a reference, with
the mouth closed where it hears nothing and open where it hears something."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.lipsync.mouth_model import Reference
from openmarlin.video.audio import Sound

_HARDLY_MOVE = [33, 133, 263, 362, 168, 6, 4, 129, 358, 234, 454]
_LOUD = 600.0


class Puppet:
    """See above.

    Args:
        size: of the faces.
        brighter: grey levels by which it draws too bright.
    """

    name, digest = "puppet", "0" * 12

    def __init__(self, size: int = 96, brighter: int = 25) -> None:
        self.size, self.brighter = size, brighter
        self.heard_times: list[NDArray[np.float64]] = []

    def hear(self, sound: Sound, times_s: NDArray[np.float64]) -> object:
        self.heard_times.append(times_s)
        windows = [sound.between(t - 0.02, t + 0.06).astype(np.float64) for t in times_s]
        return np.array([np.sqrt(np.mean(window**2)) > _LOUD for window in windows])

    def draw(
        self,
        heard: object,
        start: int,
        faces: NDArray[np.uint8],
        points: NDArray[np.float32],
        references: list[Reference],
    ) -> NDArray[np.uint8]:
        assert isinstance(heard, np.ndarray)
        drawn = np.empty_like(faces)
        for i, mesh in enumerate(points):
            image, there = references[int(heard[start + i] and len(references) > 1)]
            matrix, _ = cv2.estimateAffinePartial2D(there[_HARDLY_MOVE], mesh[_HARDLY_MOVE])
            moved = cv2.warpAffine(
                image, matrix, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE
            )
            drawn[i] = np.clip(moved.astype(int) + self.brighter, 0, 255)
        return drawn
