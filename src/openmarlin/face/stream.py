"""Frames in, faces out: who, where, as steady crops or as meshes; in order, in bounded memory.

    for tick, time_s, crops in face_stream(ticks(reader, fps), Landmarker(), fps=fps):
        for crop in crops:
            crop.track, crop.image  # who, uint8 RGB (224, 224, 3)
    for tick, time_s, faces in mesh_stream(ticks(reader, fps), Landmarker(), fps=fps):
        for face in faces:
            face.track, face.points  # who, (478, 3) source pixels

A frame waits until everything its faces depend on is settled: whether a face out of sight comes
back (`max_gap_s`), and for crops where each face goes in the next half second (`smooth`). What
waits is not the frame but a patch around each face.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.crop import Patch, crop, marlin_square, shrink_for, to_crop
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.pipeline import Pipeline, Waiting
from openmarlin.face.track import Track, reach
from openmarlin.video.picture import Image
from openmarlin.video.reader import Frame

_MARGIN = 0.3  # of the side, around a face that is seen
_GROWTH = 1.3  # of the side, where a face out of sight may come back


@dataclass(slots=True)
class FaceCrop:
    """One face in one tick.

    Attributes:
        track: whose face: 0, 1, 2... in the order of first appearance.
        tick: the tick it belongs to.
        time_s: presentation time of the frame shown then.
        image: uint8 RGB (size, size, 3), plus margins where those were asked for.
        box: x1, y1, x2, y2 of the smoothed crop square without margins, source pixels (4,) float32;
            with `align` of the square before it is turned about its centre.
        score: how sure the mesh net is that this is a face, in [0, 1]; 0 where interpolated.
        interpolated: the face was not seen here, only before and after.
        points: (478, 2) float32 mesh points in crop pixels; None where interpolated.
    """

    track: int
    tick: int
    time_s: float
    image: Image
    box: NDArray[np.float32]
    score: float
    interpolated: bool
    points: NDArray[np.float32] | None


@dataclass(slots=True)
class TrackedFace:
    """One face in one tick, without its crop.

    Attributes:
        track: whose face: 0, 1, 2... in the order of first appearance.
        box: x1, y1, x2, y2 of the mesh, source pixels (4,) float32; where the face was not seen, on
            the straight line in time between the boxes before and after.
        score: how sure the mesh net is that this is a face, in [0, 1]; 0 where not seen.
        points: (478, 3) float32 mesh points in source pixels; None where not seen.
        thumb: uint8 RGB (thumb_px, thumb_px, 3), the face as MARLIN frames it; None in most ticks.
    """

    track: int
    box: NDArray[np.float32]
    score: float
    points: NDArray[np.float32] | None
    thumb: Image | None


def face_stream(
    ticks: Iterable[tuple[int, Frame]],
    landmarker: Landmarker,
    *,
    size: int = 224,
    margin: int = 0,
    align: bool = False,
    max_gap_s: float = 1.0,
    look_s: float = 0.0,
    fps: float | None = None,
) -> Iterator[tuple[int, float, list[FaceCrop]]]:
    """Follow all faces of a video.

    Args:
        ticks: ticks and the frames shown then, ascending; consecutive ones may share a frame.
        landmarker: finds the faces.
        size: side of the crops, pixels.
        margin: pixels of surroundings on every side, besides.
        align: turn the crops by the smoothed roll of the face, so that it is upright.
        max_gap_s: out of sight for longer, a face comes back as a new track.
        look_s: looks at a face that keeps still may lie so far apart, and meshes between them are
            interpolated; 0 to look at every frame.
        fps: ticks a second; without it the frames' own times are the clock.

    Yields:
        Every tick once, in order: tick, presentation time, crops sorted by track. At most about
        `max_gap_s` + 1.5 seconds of ticks are read ahead.
    """
    yield from _Crops(landmarker, size, margin, align, max_gap_s, look_s).run(ticks, fps)


def mesh_stream(
    ticks: Iterable[tuple[int, Frame]],
    landmarker: Landmarker,
    *,
    max_gap_s: float = 1.0,
    thumb_s: float | None = None,
    thumb_px: int = 112,
    fps: float | None = None,
) -> Iterator[tuple[int, float, list[TrackedFace]]]:
    """Follow all faces of a video, and look at every frame.

    Args:
        ticks, landmarker, max_gap_s, fps: as in `face_stream`.
        thumb_s: so far apart are the ticks in which faces have a thumb; None for no thumbs.
        thumb_px: side of a thumb.

    Yields:
        Every tick once, in order: tick, presentation time, faces sorted by track.
    """
    yield from _Meshes(landmarker, max_gap_s, thumb_s, thumb_px).run(ticks, fps)


def precropped_stream(
    ticks: Iterable[tuple[int, Frame]], *, size: int = 224
) -> Iterator[tuple[int, float, list[FaceCrop]]]:
    """The interface of `face_stream` for videos that show one face crop already.

    The largest centred square of every frame is track 0 with score 1; no network is asked.
    """
    for tick, frame in ticks:
        side = min(frame.width, frame.height)
        cx, cy = frame.width / 2, frame.height / 2
        image = crop(frame.image, cx, cy, side, size=size)
        box = _box(cx, cy, side)
        yield tick, frame.time_s, [FaceCrop(0, tick, frame.time_s, image, box, 1.0, False, None)]


class _Crops(Pipeline[Patch, FaceCrop]):
    """Keeps the surroundings of each face, and cuts the smoothed square out of them."""

    def __init__(
        self,
        landmarker: Landmarker,
        size: int,
        margin: int,
        align: bool,
        max_gap_s: float,
        look_s: float,
    ) -> None:
        super().__init__(landmarker, max_gap_s, upright=align, look_s=look_s)
        self._align, self._size = align, size + 2 * margin
        self._widened = self._size / size  # the crop's side in sides of the square

    def keep(self, image: Image, track: Track, clock_s: float) -> Patch:
        """The surroundings of a face that its final square may cover."""
        sample = track.last_sample
        assert sample.square is not None
        cx, cy, log_side, _ = sample.square
        side = math.exp(log_side)
        half = side * (math.sqrt(0.5) if self._align else 0.5)
        if track.in_sight:
            half += _MARGIN * side
            rect = cx - half, cy - half, cx + half, cy + half
            return Patch.cut(image, rect, shrink_for(side, self._size))
        # The face may come back as far away as the tracker allows.
        half = _GROWTH * half + reach(clock_s - sample.time_s) * side
        dx, dy = track.shift(clock_s)
        left, top = cx - half + min(dx, 0), cy - half + min(dy, 0)
        rect = left, top, cx + half + max(dx, 0), cy + half + max(dy, 0)
        return Patch.cut(image, rect, max(1, round(side / self._size)))

    def n_bytes(self, kept: Patch) -> int:
        return kept.pixels.nbytes

    def made(self, track: Track, name: int, waiting: Waiting[Patch]) -> FaceCrop:
        cx, cy, log_side, angle = (float(v) for v in track.smoothed(waiting.number))
        side, face = math.exp(log_side), track.samples[waiting.number].face
        wide, points = side * self._widened, None
        if face is not None:
            points = to_crop(face.points, cx, cy, wide, angle, self._size)
        return FaceCrop(
            track=name,
            tick=waiting.tick,
            time_s=waiting.time_s,
            image=waiting.kept[track].crop(cx, cy, wide, angle, self._size),
            box=_box(cx, cy, side),
            score=face.score if face is not None else 0.0,
            interpolated=face is None,
            points=points,
        )


class _Meshes(Pipeline[Image, TrackedFace]):
    """Keeps nothing but a thumb now and then."""

    def __init__(
        self, landmarker: Landmarker, max_gap_s: float, thumb_s: float | None, thumb_px: int
    ) -> None:
        super().__init__(landmarker, max_gap_s, upright=False, look_s=0.0)
        self._thumb_s, self._thumb_px, self._pictured_s = thumb_s, thumb_px, -math.inf

    def keep(self, image: Image, track: Track, clock_s: float) -> Image | None:
        if self._thumb_s is None or not track.in_sight:
            return None
        if 0 < clock_s - self._pictured_s < self._thumb_s:
            return None
        self._pictured_s = clock_s
        box = track.last_sample.box
        assert box is not None
        return crop(image, *marlin_square(box), size=self._thumb_px)

    def n_bytes(self, kept: Image) -> int:
        return kept.nbytes

    def made(self, track: Track, name: int, waiting: Waiting[Image]) -> TrackedFace:
        sample = track.samples[waiting.number]
        assert sample.box is not None
        face, thumb = sample.face, waiting.kept.get(track)
        if face is None:
            return TrackedFace(name, sample.box, 0.0, None, thumb)
        return TrackedFace(name, sample.box, face.score, face.points, thumb)


def _box(cx: float, cy: float, side: float) -> NDArray[np.float32]:
    half = side / 2
    return np.array([cx - half, cy - half, cx + half, cy + half], np.float32)
