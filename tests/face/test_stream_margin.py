"""A margin adds surroundings to a crop and changes nothing else."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from openmarlin.face.landmarker import Landmarker
from openmarlin.face.stream import face_stream
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import ticks


def test_the_middle_is_the_crop_without_margin(clips: Path) -> None:
    landmarker = Landmarker()

    def crops(margin: int) -> list:
        with VideoReader(clips / "single_face.mp4") as reader:
            frames = islice(ticks(reader, reader.info.fps), 6)
            stream = face_stream(frames, landmarker, margin=margin, fps=reader.info.fps)
            return [crop for _, _, crops in stream for crop in crops]

    plain, wide = crops(0), crops(16)
    assert len(plain) == len(wide) == 6
    for a, b in zip(plain, wide, strict=True):
        assert b.image.shape == (256, 256, 3)
        middle = b.image[16:-16, 16:-16].astype(int)
        assert (
            np.abs(middle - a.image).max() <= 3
        )  # warpAffine rounds its fixed-point steps: 2, OpenCV 4: 3
        np.testing.assert_array_equal(a.box, b.box)
        assert a.points is not None
        assert b.points is not None
        np.testing.assert_allclose(b.points, a.points + 16, atol=1e-3)
