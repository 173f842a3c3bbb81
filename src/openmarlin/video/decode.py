"""From a file to decoded pictures, past whatever is damaged in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from openmarlin.errors import VideoError
from openmarlin.video.deinterlace import Deinterlacer, Timed, timed
from openmarlin.video.picture import MAX_PIXELS
from openmarlin.video.problems import Problems

_TEXT_FORMATS = ("tty", "concat", "hls", "dash")
"""What FFmpeg reads beside video: it draws letters, and follows lists to other files."""

Packet: TypeAlias = "av.Packet[VideoStream]"

_SUSPECTED = 2
"""So many packets before a join may be called incomplete (the parser is one behind)."""

_MAX_FAILURES = 32
"""Reading stops after so many errors of the container in a row."""


def open_video(path: Path, threads: int, file: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file and choose its video stream (not a cover picture), ready to decode.

    Args:
        path: the name that errors show.
        threads: of the decoder.
        file: the same on this machine.

    Raises:
        VideoError: there is no such file, nothing in it can be read, or it holds no video.
    """
    _check_file(path, file)
    # Only files: a play list that calls itself .mp4 must not make FFmpeg open addresses.
    options = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(f"file:{file}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        reason = (error.strerror or "unknown error").lower()
        raise VideoError(
            f"{path}: cannot be read as video ({reason}); it is damaged, cut off before its index,"
            " or not a video: check that it plays"
        ) from None
    try:
        stream = _video_stream(container, path)
    except VideoError:
        container.close()
        raise
    codec = stream.codec_context
    codec.options = {"max_pixels": str(MAX_PIXELS)}
    codec.thread_count = threads
    codec.thread_type = "SLICE" if threads == 1 else "AUTO"
    return container, stream


def _check_file(path: Path, file: Path) -> None:
    try:
        if file.is_dir():
            raise VideoError(f"{path}: is a folder; name a video file inside it")
        if not file.exists():
            raise VideoError(f"{path}: no such file; check the path")
        if not file.is_file():
            raise VideoError(f"{path}: is not a regular file; save the video to disk first")
        with file.open("rb") as content:
            empty = not content.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VideoError(
            f"{path}: cannot be opened ({reason}); check its name and permissions"
        ) from None
    if empty:
        raise VideoError(f"{path}: the file is empty (0 bytes); copy or download it again")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    if container.format.name in _TEXT_FORMATS:
        raise VideoError(f"{path}: is a text file or a play list; give a video file")
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not moving:
        content = "only audio" if container.streams.audio else "no video stream"
        raise VideoError(f"{path}: holds {content}; give a file with a picture")
    decodable = [stream for stream in moving if stream.codec_context is not None]
    if not decodable:
        raise VideoError(
            f"{path}: its video codec is unknown to this FFmpeg; convert it, for example to H.264"
        )
    best = container.streams.best("video")
    return next((stream for stream in decodable if stream is best), decodable[0])


def time_base_of(stream: VideoStream) -> Fraction:
    """Seconds a unit of the stream's time stamps."""
    return stream.time_base or Fraction(1, 1000)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width over height of a stored pixel, 1 where the file does not say."""
    return stream.sample_aspect_ratio or Fraction(1)


class PixelAspects:
    """The shape of the pixels as it may change within a stream: broadcasters switch at every film.

    The decoder knows of a change as early as it reads it, so the one or two pictures that it still
    holds back get the new shape, too.

    Args:
        stream: being decoded.
        first: the shape at the beginning; where the container overrides the codec, the container's.
    """

    def __init__(self, stream: VideoStream, first: Fraction) -> None:
        self._codec, self._aspect = stream.codec_context, first
        self._coded: Fraction | None = None

    def now(self) -> Fraction:
        """The shape for the picture that was decoded last."""
        coded = self._codec.sample_aspect_ratio
        if self._coded is not None and coded != self._coded:
            self._aspect = coded or Fraction(1)
        self._coded = coded
        return self._aspect


def blame(file: Path) -> str:
    """Why not one frame of a file may decode, and what to do."""
    with file.open("rb") as content:
        head = content.read(32)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & 2:
        return (
            "it is an animated WebP, which this FFmpeg does not read: convert it to GIF, PNG or mp4"
        )
    return "the file is damaged or cut off: copy or download it again"


def packets(container: InputContainer, stream: VideoStream, problems: Problems) -> Iterator[Packet]:
    """Compressed packets in file order; errors of the container are noted and passed over."""
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    failures = 0
                    yield packet
            return
        except av.FFmpegError:
            failures += 1
            problems.note("packet")
        except IndexError:
            # PyAV stumbles over a stream that shows up in mid-file, and goes on when called again.
            failures += 1


def starts_again(before: Packet, packet: Packet) -> bool:
    """Whether the clock runs backwards between two packets: another recording begins."""
    return packet.dts is not None and before.dts is not None and packet.dts < before.dts


def pictures(feed: Iterable[Packet], stream: VideoStream, problems: Problems) -> Iterator[Timed]:
    """Decode a stream's packets into pictures in presentation order with their raw times.

    Interlaced pictures are deinterlaced.
    """
    time_base = time_base_of(stream)
    deinterlacer: Deinterlacer | None = None
    for frame in _decoded(feed, stream, problems):
        if deinterlacer is None and frame.interlaced_frame:
            deinterlacer = Deinterlacer(time_base)
        if deinterlacer is None:
            yield timed(frame, time_base)
        else:
            yield from deinterlacer.push(frame)
    if deinterlacer is not None:
        yield from deinterlacer.flush()


def _decoded(
    feed: Iterable[Packet], stream: VideoStream, problems: Problems
) -> Iterator[av.VideoFrame]:
    # AVI stores when frames are decoded, not when they are shown. For a codec that reorders frames
    # as freely as H.264 FFmpeg's guess is a frame late, so they are put in order here: what is
    # shown first takes the earliest time.
    reordered = stream.container.format.name == "avi" and (
        stream.codec_context.codec.canonical_name in ("h264", "hevc", "vvc")
    )
    if reordered:
        feed = _from_the_first(iter(feed))
    stamps: list[int] = []
    for packet in chain(_complete(feed, problems), (None,)):
        if reordered and packet is not None and packet.dts is not None:
            heappush(stamps, packet.dts)
        frames = _decode(stream, packet, problems)
        if frames is None and packet is not None and packet.dts in stamps:
            stamps.remove(packet.dts)  # its time goes with it
            heapify(stamps)
        for frame in frames or ():
            if reordered:
                frame.pts = heappop(stamps) if stamps else None
            yield frame


def _from_the_first(feed: Iterator[Packet]) -> Iterator[Packet]:
    """Put the first packet of an AVI right before the second.

    A file that was cut begins later than 0, which AVI cannot say: FFmpeg writes the first packet at
    0 and fills up with empty ones behind it.
    """
    head = list(islice(feed, 3))
    stamps = [packet.dts for packet in head if packet.dts is not None]
    if len(stamps) == len(head) == 3:
        head[0].dts = max(stamps[0], stamps[1] - (stamps[2] - stamps[1]))
    yield from chain(head, feed)


def _complete(feed: Iterable[Packet], problems: Problems) -> Iterator[Packet]:
    """Pass packets on, and note those that FFmpeg calls incomplete.

    Where recordings were joined the counters of a transport stream jump, and FFmpeg suspects one of
    the last packets before. If something is missing there, the decoder tells.
    """
    suspects: deque[int] = deque()
    before: Packet | None = None
    for number, packet in enumerate(feed):
        if before is not None and starts_again(before, packet):
            suspects.clear()
        while suspects and suspects[0] < number - _SUSPECTED:
            suspects.popleft()
            problems.note("cut")
        if packet.is_corrupt:
            suspects.append(number)
        before = packet
        yield packet
    for _ in suspects:
        problems.note("cut")


def _decode(
    stream: VideoStream, packet: Packet | None, problems: Problems
) -> list[av.VideoFrame] | None:
    """The frames that a packet completes, None where it is damaged."""
    try:
        frames = stream.codec_context.decode(packet)
    except av.FFmpegError:
        problems.note("packet")
        return None
    for frame in frames:
        if frame.is_corrupt:
            problems.note("frame")
    return frames
