"""Any video file as a stream of upright RGB frames with the presentation times of its container.

    with VideoReader("talk.mp4") as video:
        for frame in video:
            frame.index, frame.time_s, frame.image  # uint8 RGB (H, W, 3)

Memory does not grow with the length of the video, and a frame is converted to RGB only when its
`image` is asked for. What is damaged is passed over and told in `VideoReader.problems`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from openmarlin.errors import InputError, VideoError
from openmarlin.video.clock import Clock, nominal_fps
from openmarlin.video.decode import Packet, open_video, packets, pictures, time_base_of
from openmarlin.video.picture import Image, Orientation, to_rgb
from openmarlin.video.problems import Problems

_HEAD_PACKETS = 300
_HEAD_BYTES = 32 << 20
_EARLY_END_S = 0.25


class Frame:
    """One frame. Holds the decoded picture until `image` is first asked for, the array after.

    Attributes:
        index: 0-based position in presentation order.
        time_s: presentation time in seconds, as the container gives it.
        width: pixels, upright.
        height: pixels, upright.
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
        width: pixels, upright; every frame has this size.
        height: pixels, upright.
        fps: nominal rate, always positive (`clock.nominal_fps`).
        duration_s: as the file states it, None where it does not.
        rotation: degrees clockwise by which stored pictures are turned to be upright.
    """

    path: Path
    width: int
    height: int
    fps: float
    duration_s: float | None
    codec: str
    pixel_format: str
    rotation: int
    has_audio: bool


class VideoReader:
    """Iterates over the frames of a file; every `iter()` starts again at the beginning.

    One thread decodes by default: it costs the least processor time a frame, so it is the
    quickest where several videos are read at once, and it loses nothing around damage.

    Args:
        path: a video file.
        threads: threads of the decoder; 0 lets FFmpeg choose.

    Raises:
        VideoError: the file cannot be read, holds no video, or none of it can be decoded.
    """

    info: VideoInfo

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        if threads < 0:
            raise InputError(f"threads is {threads}; give 0 (automatic) or more")
        self._path = Path(path)
        self._threads = threads
        self._problems = Problems()
        self._running: Generator[Frame] | None = None
        self._probe()

    @property
    def problems(self) -> list[str]:
        """What was damaged, a short line each; grows while the frames are read."""
        return self._problems.lines()

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._problems = Problems()
        self._running = self._frames(self._problems)
        return self._running

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

    def _probe(self) -> None:
        """Measure the rate on the first packets, and decode them up to the first picture."""
        container, stream = open_video(self._path, self._threads)
        with closing(container):
            feed = packets(container, stream, Problems())
            head = _head(feed)
            first, _ = next(pictures(chain(head, feed), stream, Problems()), (None, None))
            if first is None:
                raise VideoError(
                    f"{self._path}: not one frame can be decoded; the file is damaged or cut off:"
                    " copy or download it again"
                )
            self._stored_size = first.width, first.height
            self._orientation = Orientation.of(first)
            self._stated_s = _stated_duration_s(container, stream)
            width, height = self._orientation.size(*self._stored_size)
            self.info = VideoInfo(
                path=self._path,
                width=width,
                height=height,
                fps=_measured_fps(head, stream),
                duration_s=self._stated_s or _container_duration_s(container),
                codec=stream.codec_context.codec.canonical_name,
                pixel_format=first.format.name,
                rotation=self._orientation.rotation,
                has_audio=bool(container.streams.audio),
            )

    def _frames(self, problems: Problems) -> Generator[Frame]:
        info, clock = self.info, Clock(self.info.fps, self._stated_s)
        container, stream = open_video(self._path, self._threads)
        with closing(container):
            feed = packets(container, stream, problems)
            for index, (picture, raw_s) in enumerate(pictures(feed, stream, problems)):
                problems.now_s, broken = clock.time(raw_s)
                if broken:
                    problems.note("clock")
                if (picture.width, picture.height) != self._stored_size:
                    problems.note("size")
                convert = partial(self._convert, picture)
                yield Frame(index, problems.now_s, info.width, info.height, convert)
        read_s = problems.now_s + 1 / info.fps
        if self._stated_s is not None and read_s + _EARLY_END_S < self._stated_s:
            problems.ends_early(read_s, self._stated_s)

    def _convert(self, picture: av.VideoFrame) -> Image:
        try:
            return to_rgb(picture, *self._stored_size, self._orientation)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self._path}: pixel format {picture.format.name} cannot be converted to RGB"
                f" ({error.strerror}); convert the video, for example to H.264"
            ) from None


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
    stamps = (packet.pts if packet.pts is not None else packet.dts for packet in head)
    times_s = [float(stamp * time_base) for stamp in stamps if stamp is not None]
    rates = stream.average_rate, stream.guessed_rate
    return nominal_fps(times_s, rates, float(time_base))


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
