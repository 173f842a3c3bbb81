"""One landmarker for all face tests, and frames of the clips."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmarlin.face.landmarker import Landmarker
from openmarlin.video.reader import VideoReader

Image = np.ndarray
Frames = Callable[..., list[Image]]


@pytest.fixture(scope="session")
def landmarker() -> Landmarker:
    return Landmarker()


@pytest.fixture(scope="session")
def frames(clips: Path) -> Frames:
    """frames("name", start, stop, step) -> uint8 RGB pictures of a clip in examples/clips."""

    def read(name: str, start: int = 0, stop: int | None = 1, step: int = 1) -> list[Image]:
        with VideoReader(clips / name) as video:
            return [frame.image for frame in islice(video, start, stop, step)]

    return read


@pytest.fixture(scope="session")
def backdrop(frames: Frames) -> Image:
    """A 1280x720 picture without a face."""
    return np.asarray(cv2.resize(frames("face_then_none.mp4", 191, 192)[0], (1280, 720)), np.uint8)
