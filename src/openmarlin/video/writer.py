"""RGB frames to an mp4 that plays everywhere: H.264, 4:2:0, BT.709."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from openmarlin.files import atomic
from openmarlin.video.picture import Image

CRF = 18
"""x264's scale of quality, 0 to 51; at 18 loss is hard to see."""

_BT709, _LIMITED = 1, 1  # FFmpeg's numbers of a colour matrix and a range
_LARGEST_DENOMINATOR = 1001  # of frame rates such as 30000/1001


def write_video(path: Path, frames: Iterable[Image], fps: float) -> None:
    """Write frames as they come; the file appears whole or not at all.

    Args:
        path: the .mp4.
        frames: uint8 RGB (H, W, 3), all of one size, at least one. A player wants even sides: an
            odd one is made even by repeating the last row or column.
        fps: frames a second.

    Raises:
        InputError: the file cannot be written.
    """
    frames = iter(frames)
    first = next(frames)
    with (
        atomic(path) as part,
        part.open("wb") as file,  # which reports a full disk; FFmpeg's own may not
        av.open(file, "w", format="mp4") as container,
    ):
        stream = add_h264(container, first, fps)
        for frame in chain([first], frames):
            if frame.shape != first.shape:
                raise ValueError(f"frames of {first.shape} and {frame.shape} in one video")
            container.mux(stream.encode(to_yuv(frame)))
        container.mux(stream.encode())


def add_h264(
    container: OutputContainer,
    first: Image,
    fps: float,
    crf: int = CRF,
    *,
    preset: str = "medium",
    in_order: bool = False,
) -> VideoStream:
    """A stream of pictures that are as large as `first`, at `fps` frames a second.

    Args:
        crf, preset: of x264.
        in_order: packets come in the order of presentation (no B-frames), so that pieces can be
            put behind each other.
    """
    rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
    options = {"crf": str(crf), "preset": preset, **({"bf": "0"} if in_order else {})}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.height, stream.width = (side + side % 2 for side in first.shape[:2])
    stream.pix_fmt = "yuv420p"
    copy_colours(to_yuv(first), stream.codec_context)
    return stream


def copy_colours(picture: av.VideoFrame, context: VideoCodecContext) -> None:
    """Let an encoder say how the colours of its pictures are coded."""
    context.colorspace, context.color_range = picture.colorspace, picture.color_range
    context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc


def to_yuv(image: Image) -> av.VideoFrame:
    """RGB (H, W, 3) as 4:2:0; an odd side is made even by repeating the last row or column."""
    odd = [(0, side % 2) for side in image.shape[:2]]
    even = np.ascontiguousarray(np.pad(image, [*odd, (0, 0)], mode="edge"))
    picture = av.VideoFrame.from_ndarray(even, format="rgb24")
    picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
    picture.colorspace, picture.color_range = _BT709, _LIMITED
    picture.color_primaries = picture.color_trc = _BT709
    return picture
