"""Any video file as a stream of upright RGB frames with the presentation times of its container.

    with VideoReader("talk.mp4") as video:
        for frame in video:
            frame.index, frame.time_s, frame.image  # uint8 RGB (H, W, 3)

Memory does not grow with the length of the video, and a frame is converted to RGB only when its
`image` is asked for. What is damaged is passed over and told in `VideoReader.problems`; what is
unusual, as HDR or a size that changes, in `VideoReader.notes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from openmarlin.errors import InputError, VideoError
from openmarlin.storage import fetched, locate
from openmarlin.video.clock import Clock, nominal_fps
from openmarlin.video.decode import (
    Packet,
    PixelAspects,
    blame,
    open_video,
    packets,
    pictures,
    pixel_aspect,
    starts_again,
    time_base_of,
)
from openmarlin.video.deinterlace import Timed
from openmarlin.video.hdr import Curve, ToneMapper, curve_of
from openmarlin.video.picture import Image, Orientation, square_size, to_rgb
from openmarlin.video.problems import Problems
from openmarlin.video.watch import tell_all

_HEAD_PACKETS = 300
_HEAD_BYTES = 32 << 20
_EARLY_END_S = 0.25
_TIMED = 0.75  # of the packets must have times for their steps to tell the rate


class Frame:
    """One frame. Holds the decoded picture until `image` is first asked for, the array after.

    Attributes:
        index: 0-based position in presentation order.
        time_s: presentation time in seconds, as the container gives it.
        width: pixels, upright and square.
        height: pixels, upright and square.
    """

    __slots__ = ("_convert", "_image", "height", "index", "time_s", "width")

    def __init__(
        self, index: int, time_s: float, width: int, height: int, convert: Callable[[], Image]
    ) -> None:
        self.index = index
        self.time_s = time_s
        self.width = width
        self.height = height
        self._convert: Callable[[], Image] | None = convert
        self._image: Image | None = None

    @property
    def image(self) -> Image:
        """The picture, uint8 RGB (H, W, 3), upright; converted on first access, then kept."""
        convert = self._convert
        if convert is not None:
            self._image = convert()
            self._convert = None  # lets the decoder have its buffer back
        assert self._image is not None
        return self._image


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video before it is read.

    Attributes:
        width: pixels of the first frame, upright and square; a stream may change its size.
        height: pixels of the first frame, upright and square.
        fps: nominal rate, always positive (`clock.nominal_fps`).
        duration_s: as the file states it, None where it does not.
        rotation: degrees clockwise by which stored pictures are turned to be upright.
        pixel_aspect: width over height of a stored pixel; pictures are stretched by it.
        hdr: the curve, "HLG" or "PQ", from which pictures are tone-mapped; None for SDR.
    """

    path: Path
    width: int
    height: int
    fps: float
    duration_s: float | None
    codec: str
    pixel_format: str
    rotation: int
    pixel_aspect: Fraction
    hdr: Curve | None
    has_audio: bool


class VideoReader:
    """Iterates over the frames of a file; every `iter()` starts again at the beginning.

    One thread decodes by default: it costs the least processor time a frame, so it is the
    quickest where several videos are read at once, and it loses nothing around damage.

    Args:
        path: a video file, or the URL of one (`storage`), which is copied for as long as the reader
            is there.
        threads: threads of the decoder; 0 lets FFmpeg choose.

    Raises:
        VideoError: the file cannot be read, holds no video, or none of it can be decoded.
    """

    info: VideoInfo

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        if threads < 0:
            raise InputError(f"threads is {threads}; give 0 (automatic) or more")
        self._path = locate(path)
        self._threads = threads
        self._problems = Problems()
        self._tones = ToneMapper()
        self._running: Generator[Frame] | None = None
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(fetched(self._path))
            except InputError as error:
                raise VideoError(str(error)) from None
            self._probe()
            self._copy = stack.pop_all()

    @property
    def problems(self) -> list[str]:
        """What was damaged, a short line each; grows while the frames are read."""
        return self._problems.lines()

    @property
    def notes(self) -> list[str]:
        """What is unusual and lost nothing, a short line each; grows while the frames are read."""
        hdr = self.info.hdr
        lines = [f"high dynamic range ({hdr}), tone-mapped to standard range"] if hdr else []
        return lines + self._problems.facts()

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._problems = Problems()
        self._running = self._frames(self._problems)
        return self._running

    def since(self, start_s: float) -> Iterator[Frame]:
        """The frames from a time on, reached by a jump in the file; `index` counts from there.

        Where the file cannot jump that far back, or its time stamps are broken, later frames come
        first: compare their times.
        """
        self.close()
        self._problems = Problems()
        frames = self._frames(self._problems, start_s)
        self._running = frames
        return (frame for frame in frames if frame.time_s >= start_s)

    def close(self) -> None:
        """Stop the running iteration and close the file."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._copy.close()

    def _probe(self) -> None:
        """Measure the rate on the first packets, and decode them up to the first picture."""
        container, stream = open_video(self._path, self._threads, self._file)
        with closing(container):
            feed = packets(container, stream, Problems())
            head = _head(feed)
            decoded = pictures(chain(head, feed), stream, Problems())
            first, raw_s = next(decoded, (None, None))
            if first is None:
                raise VideoError(f"{self._path}: not one frame can be decoded; {blame(self._file)}")
            self._orientation = Orientation.of(first)
            self._stated_s = _stated_duration_s(container, stream)
            aspect = pixel_aspect(stream)
            stored = square_size(first.width, first.height, aspect)
            width, height = self._orientation.size(*stored)
            self.info = VideoInfo(
                path=self._path,
                width=width,
                height=height,
                fps=_measured_fps(head, stream),
                duration_s=self._stated_s or _container_duration_s(container),
                codec=stream.codec_context.codec.canonical_name,
                pixel_format=first.format.name,
                rotation=self._orientation.rotation,
                pixel_aspect=aspect,
                hdr=curve_of(first),
                has_audio=bool(container.streams.audio),
            )
            self._start_s = 0.0
            if raw_s is None and any(packet.pts is not None for packet in head):
                self._start_s = _start_s(decoded, self.info.fps)

    def decoded(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Presentation times and pictures as stored: not turned, not stretched, not RGB."""
        self._problems = Problems()
        for time_s, picture, _ in self._pictures(self._problems):
            yield time_s, picture

    def _frames(self, problems: Problems, start_s: float | None = None) -> Generator[Frame]:
        for index, (time_s, picture, stored) in enumerate(self._pictures(problems, start_s)):
            convert = partial(self._convert, picture, stored)
            yield Frame(index, time_s, *self._orientation.size(*stored), convert)

    def _pictures(
        self, problems: Problems, start_s: float | None = None
    ) -> Generator[tuple[float, av.VideoFrame, tuple[int, int]]]:
        """Presentation times, pictures, and their sizes with square pixels."""
        info, clock = self.info, Clock(self.info.fps, self._stated_s, self._start_s)
        container, stream = open_video(self._path, self._threads, self._file)
        read_s = 0.0
        with closing(container):
            if start_s is not None:
                with suppress(av.FFmpegError):
                    container.seek(int(start_s * av.time_base))
            aspects = PixelAspects(stream, info.pixel_aspect)
            feed = packets(container, stream, problems)
            for picture, raw_s in pictures(feed, stream, problems):
                problems.now_s, stamp = clock.time(raw_s)
                if stamp == "broken":
                    problems.note("clock")
                elif stamp == "joined":
                    problems.joined()
                read_s = max(read_s, problems.now_s + _lasts_s(picture, info.fps))
                stored = square_size(picture.width, picture.height, aspects.now())
                problems.saw_size(*self._orientation.size(*stored))
                tell_all(problems.now_s, info.duration_s)
                yield problems.now_s, picture, stored
        if self._stated_s is not None and read_s + _EARLY_END_S < self._stated_s:
            problems.ends_early(read_s, self._stated_s)

    def _convert(self, picture: av.VideoFrame, stored: tuple[int, int]) -> Image:
        try:
            return to_rgb(picture, *stored, self._orientation, self._tones)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self._path}: pixel format {picture.format.name} cannot be converted to RGB"
                f" ({error.strerror}); convert the video, for example to H.264"
            ) from None


def _start_s(decoded: Iterator[Timed], fps: float) -> float:
    """When the first frame is shown, from the first one after it that has a time.

    A file that was cut between two key frames may begin with frames without times.
    """
    for number, (_, raw_s) in enumerate(islice(decoded, _HEAD_PACKETS), start=1):
        if raw_s is not None:
            return raw_s - number / fps
    return 0.0


def _lasts_s(picture: av.VideoFrame, fps: float) -> float:
    """How long a frame is shown: one nominal frame at least, longer where the file says so."""
    stated_s = float(picture.duration * picture.time_base) if picture.time_base else 0.0
    return max(stated_s, 1 / fps)


def _head(feed: Iterator[Packet]) -> list[Packet]:
    """The packets that the rate is measured on, fewer where they are large."""
    head: list[Packet] = []
    size = 0
    while len(head) < _HEAD_PACKETS and size < _HEAD_BYTES:
        packet = next(feed, None)
        if packet is None:
            break
        head.append(packet)
        size += packet.size
    return head


def _measured_fps(head: list[Packet], stream: VideoStream) -> float:
    time_base = time_base_of(stream)
    piece = _one_piece(head)
    stamps = (packet.pts if packet.pts is not None else packet.dts for packet in piece)
    times_s = [float(stamp * time_base) for stamp in stamps if stamp is not None]
    rates = stream.average_rate, stream.guessed_rate
    if (
        not times_s
    ):  # a bare stream: the average is FFmpeg's default, the guess looks into the codec
        rates = rates[::-1]
    if len(times_s) < _TIMED * len(piece):  # as MPEG-PS may: the steps would be too long
        times_s = []
    return nominal_fps(times_s, rates, float(time_base))


def _one_piece(head: list[Packet]) -> list[Packet]:
    """The longest stretch of one recording: the times of two, mixed, would look twice as dense."""
    starts = [i for i, (a, b) in enumerate(pairwise(head), start=1) if starts_again(a, b)]
    pieces = [head[i:j] for i, j in pairwise([0, *starts, len(head)])]
    return max(pieces, key=len)


def _stated_duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the video lasts, where the file says so of the video itself."""
    if stream.duration and stream.duration > 0:
        return float(stream.duration * time_base_of(stream))
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:  # Matroska
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return _container_duration_s(container) if len(container.streams) == 1 else None


def _container_duration_s(container: InputContainer) -> float | None:
    stated = container.duration
    return stated / av.time_base if stated and stated > 0 else None
