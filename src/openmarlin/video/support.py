"""What this build of PyAV can decode, and a check that it does."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from openmarlin.video.reader import VideoReader

_DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "prores", "mjpeg", "gif", "ffv1")


def decoders() -> dict[str, bool]:
    """Whether each of the usual video codecs can be decoded."""
    return {name: name in av.codecs_available for name in _DECODERS}


def round_trip(n_frames: int = 8, side: int = 64) -> bool:
    """Write a small video, read it back, and compare frame count, times and brightness."""
    levels = np.linspace(30, 220, n_frames).astype(np.uint8)
    with tempfile.TemporaryDirectory(prefix="openmarlin-") as folder:
        path = Path(folder) / "check.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(25))
            stream.width = stream.height = side
            for level in levels:
                picture = np.full((side, side, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        with VideoReader(path) as reader:
            frames = [(frame.time_s, float(frame.image.mean())) for frame in reader]
    if len(frames) != n_frames:
        return False
    times, brightness = np.array(frames).T
    return bool(
        np.allclose(np.diff(times), 1 / 25, atol=2e-3) and np.abs(brightness - levels).max() < 6
    )
