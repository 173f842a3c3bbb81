"""Video compressed once more, as FaceForensics++ did: libx264 at a constant rate factor (crf).

c23 and c40 of FaceForensics++ are `-crf 23` and `-crf 40`, all else default. Crops are small
pictures of their own, so compressing crops is not compressing the video they come from: blocks are
larger on the face, and its borders lie elsewhere. `recompress_clip` is for augmentation and for
robustness at no cost of disk; for a table of c0 / c23 / c40, compress the videos with `recompress`
and prepare those.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.files import atomic
from openmarlin.video.picture import Orientation
from openmarlin.video.reader import VideoReader
from openmarlin.video.writer import copy_colours, to_yuv

_THREADS = 4  # of a file: what x264 writes depends on how many there are, so not on the machine
_TICKS = 90_000  # a second, for times of any rate
_MOST_CRF = 51
_X86_64 = ("x86_64", "AMD64")
_LARGEST_DENOMINATOR = 1001  # of frame rates such as 30000/1001


def recompress(source: str | Path, target: str | Path, crf: int) -> list[str]:
    """Write a video again as H.264, at its own rate and times; without sound.

    Pictures in 4:2:0 are encoded as they are, as FFmpeg does. Others become 4:2:0 by way of RGB:
    upright, with square pixels, in standard range; an odd side is made even. What was compressed
    before keeps the marks of that: say so beside a number (c40 of c23).

    Args:
        source: a video.
        target: the .mp4; it appears whole or not at all.
        crf: 0 (all but lossless) to 51; 23 and 40 are FaceForensics++'s.

    Returns:
        What was damaged in the source, a line each.

    Raises:
        InputError: there is no such crf, or the target is the source or cannot be written.
        VideoError: the source cannot be read.
    """
    options = _options(crf)
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: would replace its own source; give another name")
    with (
        VideoReader(source) as reader,
        atomic(target) as part,
        part.open("wb") as file,  # which reports a full disk; FFmpeg's own may not
        av.open(file, "w", format="mp4") as container,
    ):
        rate = Fraction(reader.info.fps).limit_denominator(_LARGEST_DENOMINATOR)
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.thread_count, stream.thread_type = _THREADS, "FRAME"  # slices would cost a quarter
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        last = -1
        for time_s, picture in _upright(reader):
            if last < 0:
                stream.width, stream.height = picture.width, picture.height
                copy_colours(picture, stream.codec_context)
            elif (picture.width, picture.height) != (stream.width, stream.height):
                picture = picture.reformat(stream.width, stream.height)
            last = max(last + 1, round(time_s * _TICKS))
            picture.pts, picture.time_base = last, Fraction(1, _TICKS)
            picture.pict_type = PictureType.NONE
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return reader.problems


def _upright(reader: VideoReader) -> Iterator[tuple[float, av.VideoFrame]]:
    """Times and pictures in 4:2:0, by way of RGB only where they are not that already."""
    info = reader.info
    first = next(iter(reader.decoded()))[1]
    plain = info.pixel_format == "yuv420p" and not (first.width % 2 or first.height % 2)
    turned = Orientation.of(first) != Orientation()
    stretched = (info.width, info.height) != (first.width, first.height)
    if plain and not turned and not stretched and info.hdr is None:
        yield from reader.decoded()
    else:
        yield from ((frame.time_s, to_yuv(frame.image)) for frame in reader)


def recompress_clip(images: NDArray[np.uint8], crf: int, fps: float = 25.0) -> NDArray[np.uint8]:
    """Compress some pictures as a video of their own, and decode it; nothing touches the disk.

    Args:
        images: uint8 RGB (T, H, W, 3), of any size.
        crf: 0 (all but lossless) to 51.
        fps: frames a second.

    Returns:
        uint8 (T, H, W, 3); always the same for the same pictures.

    Raises:
        InputError: there is no such crf.
    """
    count, height, width, _ = images.shape
    encoder = VideoCodecContext.create("libx264", "w")
    rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
    encoder.width, encoder.height = width + width % 2, height + height % 2
    encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", rate, 1 / rate
    encoder.options = _options(crf)
    encoder.thread_count = 1
    copy_colours(to_yuv(images[0]), encoder)
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    result, done = np.empty_like(images), 0
    for picture in [*map(to_yuv, images), None]:
        if picture is not None:
            picture.pts, picture.time_base = None, 1 / rate
        packets = encoder.encode(picture)
        for packet in [*packets, *([None] if picture is None else [])]:
            for frame in decoder.decode(packet):
                result[done] = frame.to_ndarray(format="rgb24")[:height, :width]
                done += 1
    assert done == count
    return result


def check_crf(crf: int) -> None:
    """Tell a crf that x264 does not have.

    Raises:
        InputError: it is not from 0 to 51.
    """
    if not 0 <= crf <= _MOST_CRF:
        raise InputError(f"crf is {crf}; give 0 (best) to {_MOST_CRF}, such as 23 or 40")


def _options(crf: int) -> dict[str, str]:
    """Of the encoder.

    x264 165 with AVX-512 gives other bytes each time for pictures of 224 pixels (its macroblock
    tree reads what it has not written), and with AVX2 its rate control rounds in its own way. With
    SSE2 it agrees with its C code, at a tenth more time.
    """
    check_crf(crf)
    instructions = {"x264-params": "asm=SSE2"} if platform.machine() in _X86_64 else {}
    return {"crf": str(crf), **instructions}
