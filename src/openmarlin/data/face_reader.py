"""One video measured: faces followed through every frame -> pose, expression, table of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmarlin.data.clips import tracking_step
from openmarlin.data.face_parts import FaceRecord
from openmarlin.data.face_table import FaceRow, open_table, rows_to_table, schema
from openmarlin.data.manifest import Row, display
from openmarlin.data.thumbs import THUMB_PX, ThumbKeeper, WindowThumb
from openmarlin.face.blendshapes import blendshapes
from openmarlin.face.crop import marlin_square, to_crop
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.pose import head_pose
from openmarlin.face.stream import TrackedFace, mesh_stream
from openmarlin.video.reader import Frame, VideoReader

PICTURED_FACES = 8
"""Faces of a video of which there are thumbs: the first ones."""

_THUMB_S = 0.25  # at least, between two that may be kept
_ROWS = 512  # measured and written together


@dataclass(frozen=True, slots=True)
class FaceSampling:
    """Which frames and faces get a row.

    Attributes:
        rate: every `rate`-th frame.
        faces: all faces of a frame, the largest, or the N largest.
        limit_s: at most so much of the video.
        points: also write the mesh points.
    """

    rate: int = 1
    faces: Literal["largest", "all"] | int = "all"
    limit_s: float | None = None
    points: bool = False


def measure_video(
    row: Row, sampling: FaceSampling, landmarker: Landmarker, target: Path
) -> tuple[FaceRecord, list[WindowThumb]]:
    """Write the table of one video (or part of one) to `target`, a .parquet.

    What is held is the look-ahead of the tracks and some rows, however long the video is.

    Returns:
        How it was read, and a few thumbs; a thumb's window is the number of its frame.

    Raises:
        VideoError: the video cannot be read.
    """
    measuring, kind = FaceMeasuring(row, sampling, landmarker), schema(points=sampling.points)
    with VideoReader(row.video) as reader, open_table(target, kind) as out:
        for table in measuring.tables(reader, reader.info.fps):
            out.write_table(table)
        measuring.record.problems, measuring.record.notes = reader.problems, reader.notes
    return measuring.record, measuring.thumbs()


class FaceMeasuring:
    """A video that is being measured: counts and thumbs fill up while its tables are made.

    Args:
        row: the video, or a part of one.
        sampling: which frames and faces.
        landmarker: the face nets.

    Attributes:
        record: what is known so far, all but problems and notes.
    """

    def __init__(self, row: Row, sampling: FaceSampling, landmarker: Landmarker) -> None:
        self.row, self.sampling, self.landmarker = row, sampling, landmarker
        self.record = FaceRecord(stamp=row.stamp)
        self._keepers: dict[int, ThumbKeeper] = {}
        self._tracks: set[int] = set()
        self._wanted: set[int] = set()  # frames that get rows and have not come back yet

    def thumbs(self) -> list[WindowThumb]:
        """A few of each face."""
        return [thumb for keeper in self._keepers.values() for thumb in keeper.thumbs]

    def tables(self, frames: Iterable[Frame], fps: float) -> Iterator[pa.Table]:
        """The rows of all frames of the file, piece by piece.

        Args:
            frames: in presentation order.
            fps: their nominal rate.
        """
        video, nets = display(self.row.video), self.landmarker.nets
        for rows in self._batches(frames, fps):
            meshes = [row.points for row in rows if row.points is not None]
            points = np.stack(meshes) if meshes else np.zeros((0, 478, 3), np.float32)
            pose, expression = head_pose(points), blendshapes(points, nets)
            yield rows_to_table(video, rows, pose, expression, points=self.sampling.points)

    def _batches(self, frames: Iterable[Frame], fps: float) -> Iterator[list[FaceRow]]:
        rows: list[FaceRow] = []
        looked_at = self._looked_at(frames, fps)
        stream = mesh_stream(looked_at, self.landmarker, thumb_s=_THUMB_S, thumb_px=THUMB_PX)
        for frame, time_s, found in stream:
            if frame not in self._wanted:
                continue
            self._wanted.remove(frame)
            rows += self._rows(frame, time_s, found)
            if len(rows) >= _ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

    def _looked_at(self, frames: Iterable[Frame], fps: float) -> Iterator[tuple[int, Frame]]:
        """The frames in which faces are followed."""
        rate, step = self.sampling.rate, tracking_step(self.sampling.rate, fps)
        first_s: float | None = None
        for number, frame in enumerate(self.row.frames(frames, self.sampling.limit_s)):
            first_s = frame.time_s if first_s is None else first_s
            self.record.seconds = frame.time_s - first_s + 1 / fps
            if number % rate == 0:
                self._wanted.add(frame.index)
            if number % step == 0:
                yield frame.index, frame

    def _rows(self, frame: int, time_s: float, found: list[TrackedFace]) -> list[FaceRow]:
        shown = _chosen(found, self.sampling.faces)
        for face in shown:
            self._tracks.add(face.track)
            self._picture(frame, face)
        self.record.frames += 1
        self.record.faces = len(self._tracks)
        if not any(face.points is not None for face in shown):
            self.record.empty += 1
        return [
            FaceRow(frame, time_s, face.track, face.score, face.box, face.points) for face in shown
        ] or [FaceRow(frame, time_s)]

    def _picture(self, frame: int, face: TrackedFace) -> None:
        if face.thumb is None or face.points is None or face.track >= PICTURED_FACES:
            return
        keeper = self._keepers.setdefault(face.track, ThumbKeeper())
        if keeper.wants_next():
            points = to_crop(face.points, *marlin_square(face.box), 0.0, THUMB_PX)
            video = display(self.row.video)
            keeper.keep(WindowThumb(video, face.track, frame, face.thumb[None], points[None]))


def _chosen(found: list[TrackedFace], faces: Literal["largest", "all"] | int) -> list[TrackedFace]:
    """The largest faces of a frame by the longer side of their boxes, in the order of tracks."""
    if faces == "all":
        return found
    most = 1 if faces == "largest" else int(faces)
    largest = sorted(found, key=lambda face: -_side(face.box))[:most]
    return sorted(largest, key=lambda face: face.track)


def _side(box: NDArray[np.float32]) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))
