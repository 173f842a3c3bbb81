"""Longer and larger videos out of an example clip, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path

import av

EXAMPLES = Path(__file__).parents[1] / "examples" / "clips"
WIDTH, HEIGHT, FPS = 1280, 720, 30


def face_video(
    path: Path, seconds: int, *, size: tuple[int, int] = (WIDTH, HEIGHT), fps: int = FPS
) -> Path:
    """An H.264 video of one face: an example clip, forth and back without a jump."""
    width, height = size
    with av.open(EXAMPLES / "single_face.mp4") as source:
        frames = [frame.reformat(width, height, "yuv420p") for frame in source.decode(video=0)]
    there_and_back = chain(frames, frames[-2:0:-1])
    with av.open(path, "w") as target:
        stream = target.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i, frame in enumerate(islice(cycle(there_and_back), seconds * fps)):
            frame.pts, frame.time_base = i, Fraction(1, fps)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return path
