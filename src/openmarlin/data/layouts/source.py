"""What a layout consists of: videos that follow the faces in themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from openmarlin.config import PrepareSettings
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
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def name(self) -> str:
        """A short name, not always unique."""
        ...

    @property
    def group(self) -> str:
        """Whom it shows: sources of one group belong on the same side of a split."""
        ...

    def open(
        self, landmarker: Landmarker, settings: PrepareSettings
    ) -> AbstractContextManager[Faces]:
        """Read the video (as far as `limit_seconds`) and follow its faces, see `face_stream`.

        Raises:
            VideoError: it cannot be read, here or while the ticks are taken.
        """
        ...


@dataclass(frozen=True)
class VideoFile:
    """A video file: all faces in it are found and followed."""

    path: Path
    group: str

    @property
    def name(self) -> str:
        return self.path.stem

    @contextmanager
    def open(self, landmarker: Landmarker, settings: PrepareSettings) -> Iterator[Faces]:
        """See `Source.open`."""
        size, margin, end = settings.size, settings.margin, settings.limit_seconds or math.inf
        with VideoReader(self.path) as reader:
            fps = reader.info.fps
            frames = takewhile(lambda shown: shown[0] < end * fps, ticks(reader, fps))
            faces = face_stream(frames, landmarker, size=size, margin=margin, fps=fps)
            yield Faces(fps, faces, lambda: reader.problems)
