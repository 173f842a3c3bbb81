"""What a layout consists of: videos that follow the faces in themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from openmarlin.data.manifest import Row
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.stream import FaceCrop, face_stream
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import ticks


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one video that is open.

    Attributes:
        fps: ticks a second.
        ticks: every tick once: tick, presentation time, crops of all faces alive then.
        problems: tells what was damaged, as far as has been read.
    """

    fps: float
    ticks: Iterator[tuple[int, float, list[FaceCrop]]]
    problems: Callable[[], list[str]]


class Source(Protocol):
    """One video of a data set. Sources travel to other processes: they hold no open file."""

    @property
    def row(self) -> Row:
        """The file or folder, whom it shows (sources of one group belong on the same side of a
        split), and what else is known."""
        ...

    @property
    def name(self) -> str:
        """A short name, not always unique."""
        ...

    def open(
        self, landmarker: Landmarker, *, size: int, margin: int, limit_s: float | None
    ) -> AbstractContextManager[Faces]:
        """Read the video (at most `limit_s` of it) and follow its faces, see `face_stream`.

        Raises:
            VideoError: it cannot be read, here or while the ticks are taken.
        """
        ...


@dataclass(frozen=True)
class VideoFile:
    """A video file: all faces in it are found and followed."""

    row: Row

    @property
    def name(self) -> str:
        return self.row.video.stem

    @contextmanager
    def open(
        self, landmarker: Landmarker, *, size: int, margin: int, limit_s: float | None
    ) -> Iterator[Faces]:
        """See `Source.open`."""
        with VideoReader(self.row.video) as reader:
            fps = reader.info.fps
            frames = ticks(self.row.frames(reader, limit_s), fps)
            faces = face_stream(frames, landmarker, size=size, margin=margin, fps=fps)
            yield Faces(fps, faces, lambda: reader.problems)
