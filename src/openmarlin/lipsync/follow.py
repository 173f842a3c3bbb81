"""The first pass of `lipsync generate`: faces followed through all frames, kept on disk.

CACHE/parts/KEY.parquet    a row a frame and face, as the table of `faces` with points
CACHE/parts/KEY.json       a `FollowRecord`, written last: that it is there means done

KEY is the video's: the next run with it, whatever its sound, takes what is there, unless the file
has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from openmarlin.data.face_reader import FaceMeasuring, FaceSampling
from openmarlin.data.face_table import open_table, schema
from openmarlin.data.manifest import Row
from openmarlin.data.parts import Record, VideoParts
from openmarlin.errors import InputError
from openmarlin.face.cuts import starts_of_shots
from openmarlin.face.landmarker import DETECT_EVERY, Landmarker
from openmarlin.files import write_json
from openmarlin.video.reader import Frame, VideoReader

Tell = Callable[[int], None]
"""Called now and then with the number of frames done."""


@dataclass(slots=True)
class FollowRecord(Record):
    """What is known of a video whose faces have been followed.

    Attributes:
        fps: nominal rate.
        height, width: of the first frame, pixels.
        frames: so many there are.
        shots: the frames with which shots begin, the first one too.
    """

    fps: float = 25.0
    height: int = 0
    width: int = 0
    frames: int = 0
    shots: list[int] = field(default_factory=list)


class FollowedVideos(VideoParts):
    """The folder of the cache."""

    def record(self, row: Row) -> FollowRecord | None:
        try:
            pq.read_schema(self.part(row))
            text = self.part(row).with_suffix(".json").read_text(encoding="utf-8")
            return FollowRecord(**json.loads(text))
        except (OSError, ValueError, TypeError, pa.ArrowException):
            return None

    def files(self, row: Row) -> list[Path]:
        return [self.part(row), self.part(row).with_suffix(".json")]

    def commit(self, row: Row, record: FollowRecord) -> None:
        """Say that a video is done; its table is there."""
        write_json(self.part(row).with_suffix(".json"), asdict(record))


def follow_faces(video: Path, cache: Path, tell: Tell) -> tuple[Path, FollowRecord]:
    """The table of all faces of a video, from the cache where it is there.

    Another process that follows the faces of a video in this cache is waited for. Memory does not
    grow with the length of the video.

    Returns:
        The table, and what else is known of the video.

    Raises:
        VideoError: the video cannot be read.
        InputError: the cache cannot be written.
    """
    row = Row(video)
    with _lock(cache):
        cached = FollowedVideos(cache)
        if not cached.is_done(row):
            cached.discard(row)
            cached.commit(row, _follow(row, cached.part(row), tell))
        record = cached.record(row)
    assert record is not None
    return cached.part(row), record


def _lock(cache: Path) -> FileLock:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / ".lock")
        lock.acquire()
    except OSError as error:
        raise InputError(f"{cache}: cannot be written: {error.strerror}") from None
    lock.release()
    return lock


def _follow(row: Row, target: Path, tell: Tell) -> FollowRecord:
    sampling = FaceSampling(points=True)
    measuring = FaceMeasuring(row, sampling, Landmarker(detect_every=DETECT_EVERY))
    shots: list[int] = []

    def frames(reader: VideoReader) -> Iterator[Frame]:
        """Those of the reader; shots are noted, and how far it has come is told."""
        for frame, starts in starts_of_shots(reader, lambda frame: frame.image):
            if starts:
                shots.append(frame.index)
            tell(frame.index + 1)
            yield frame

    with VideoReader(row.video) as reader, open_table(target, schema(points=True)) as out:
        info = reader.info
        for table in measuring.tables(frames(reader), info.fps):
            out.write_table(table)
    return FollowRecord(
        measuring.record.seconds,
        reader.problems,
        reader.notes,
        row.stamp,
        info.fps,
        info.height,
        info.width,
        measuring.record.frames,
        shots,
    )
