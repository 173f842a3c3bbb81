"""A long mp4 in pieces that are kept one by one, and put behind each other without coding again.

write_segment(Path("0.mp4"), images, times_s[:100], fps=25)
join_segments(Path("out.mp4"), [Path("0.mp4"), Path("1.mp4")], times_s, end_s, sound)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.files import atomic
from openmarlin.video.overlay import TICK, fitted
from openmarlin.video.picture import Image
from openmarlin.video.sound_track import Cut, sound_track
from openmarlin.video.writer import add_h264, to_yuv

_PRESET = "veryfast"  # a quarter of medium's time for a file as small, 0.2 dB worse
_PRIMING_S = 0.06  # codecs need so much before what is heard first; players skip it
_THREADS = 4  # of the encoder: what it writes depends on how many there are, not on the machine


@dataclass(frozen=True, slots=True)
class SoundPart:
    """The sound of a video that is joined.

    Attributes:
        path: the file whose first sound track it is.
        zero_s: the time in that file at which the video begins.
    """

    path: Path
    zero_s: float = 0.0


def write_segment(
    path: Path,
    images: Iterable[Image],
    times_s: NDArray[np.float64],
    *,
    shape: tuple[int, int],
    fps: float,
    crf: int,
) -> None:
    """Encode a piece of a video; the file appears whole or not at all.

    Args:
        path: the .mp4.
        images: uint8 RGB (H, W, 3), as many as times.
        times_s: (n,) when they are shown.
        shape: height and width of all pieces; pictures of another size are fitted in.
        fps: nominal rate.
        crf: of x264, 0 to 51.

    Raises:
        InputError: it cannot be written.
    """
    ticks = _ticks(times_s)
    with (
        atomic(path) as part,
        part.open("wb") as file,  # which reports a full disk; FFmpeg's own may not
        av.open(file, "w", format="mp4") as container,
    ):
        blank = np.zeros((*shape, 3), np.uint8)
        stream = add_h264(container, blank, fps, crf, preset=_PRESET, in_order=True)
        stream.codec_context.time_base = TICK
        stream.thread_count, stream.thread_type = _THREADS, "FRAME"
        for image, tick in zip(images, ticks, strict=True):
            picture = to_yuv(image if image.shape == blank.shape else fitted(image, blank.shape))
            picture.pts, picture.time_base = int(tick - ticks[0]), TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def count_frames(path: Path) -> int:
    """Frames of a piece; 0 where there is none, or it is damaged."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.FFmpegError, OSError, IndexError):
        return 0


def join_segments(
    target: Path,
    segments: Sequence[Path],
    times_s: NDArray[np.float64],
    end_s: float,
    sound: SoundPart | None,
    *,
    comment: str = "",
) -> None:
    """Put pieces behind each other, with sound; the file appears whole or not at all.

    Sound of a kind that mp4 players know is copied packet by packet, other sound becomes AAC.

    Args:
        target: the .mp4.
        segments: pieces by `write_segment`, in order.
        times_s: (N,) when the frames of all of them are shown, from 0.
        end_s: when the last one has been shown.
        sound: what is heard, up to `end_s`; None for nothing.
        comment: that the file carries.

    Raises:
        InputError: it cannot be written.
    """
    ends = np.append(_ticks(times_s)[1:], round(end_s / TICK))
    with ExitStack() as stack:
        part = stack.enter_context(atomic(target))
        file = stack.enter_context(part.open("wb"))
        container = stack.enter_context(av.open(file, "w", format="mp4"))
        if comment:
            container.metadata["comment"] = comment
        with av.open(str(segments[0])) as head:
            stream = container.add_stream_from_template(head.streams.video[0])
        stream.time_base = TICK
        heard: Iterator[tuple[float, list[av.Packet[av.AudioStream]]]] = iter(())
        zero_s = 0.0
        if sound is not None:
            zero_s = sound.zero_s
            cut = Cut(zero_s - _PRIMING_S, zero_s + end_s, zero_s)
            heard = stack.enter_context(closing(sound_track(sound.path, container, cut)))
        first = next(heard, None)
        for packet, tick, end in zip(_packets(segments), _ticks(times_s), ends, strict=True):
            while first is not None and (first[0] - zero_s) / TICK <= tick:
                container.mux(first[1])
                first = next(heard, None)
            packet.pts = packet.dts = int(tick)
            packet.duration, packet.time_base, packet.stream = int(end - tick), TICK, stream
            container.mux(packet)
        for _, packets in chain([first] if first else [], heard):
            container.mux(packets)


def _packets(segments: Sequence[Path]) -> Iterator[av.Packet[VideoStream]]:
    coding: bytes | None = None
    for path in segments:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            extra = stream.codec_context.extradata
            coding = coding or extra
            if extra != coding:
                raise InputError(f"{path}: was coded in another way; remove it and run again")
            for packet in container.demux(stream):
                if packet.size:
                    yield packet


def _ticks(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Times as whole numbers that increase."""
    ticks = np.round(times_s / float(TICK)).astype(np.int64)
    count = np.arange(len(ticks))
    return np.asarray(np.maximum.accumulate(ticks - count) + count)
