"""The faces of a video on the clock of lip-sync experts, in stretches of bounded length.

for stretch in read_talkers(reader, landmarker, expert.view, margin=expert.margin):
    expert.embed_faces(stretch.views)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.landmarker import Landmarker
from openmarlin.face.mesh import fill_gaps
from openmarlin.face.stream import FaceCrop, face_stream
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.video.reader import Frame
from openmarlin.video.windows import ticks

View = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.generic]]
"""Crop (S, S, 3) and mesh points (478, 2) in it -> what is kept of a frame."""

CROP_PX = 224
_MOST_WAITING = 50  # crops that wait for the next mesh; the pipeline gives up faces before


@dataclass(frozen=True, slots=True)
class Stretch:
    """A face through ticks in a row, 25 a second.

    Attributes:
        track: whose face: 0, 1, 2... in the order of first appearance.
        tick: the first one; ticks count from the video's first frame.
        start_s: presentation time of the first tick.
        views: (T, ...) what the expert keeps of each frame.
        boxes: (T, 4) MARLIN's square of the face, source pixels, x1, y1, x2, y2.
        seen: (T,) the face was seen, not interpolated.
        overlap: so many of the first ticks were the last ones of the stretch before, of this track.
    """

    track: int
    tick: int
    start_s: float
    views: NDArray[np.generic]
    boxes: NDArray[np.float32]
    seen: NDArray[np.bool_]
    overlap: int = 0


def read_talkers(
    frames: Iterable[Frame],
    landmarker: Landmarker,
    view: View,
    *,
    margin: float,
    overlap: int = 0,
    longest: int = 500,
) -> Iterator[Stretch]:
    """Follow all faces of a video.

    Args:
        frames: of the video (an open `VideoReader`), or a part of them, in presentation order.
        landmarker: finds the faces.
        view: what is kept of a face in a frame.
        margin: of the picture around a face that `view` gets, in sides of MARLIN's square.
        overlap: ticks that a stretch shares with the one before, where a track goes on.
        longest: ticks of a stretch at most.

    Yields:
        Stretches in the order in which they end. Faces that are never seen have none.

    Raises:
        ValueError: stretches would share all of their ticks.
    """
    if overlap >= longest:
        raise ValueError(f"stretches of {longest} ticks cannot share {overlap}")
    first_s = 0.0
    making: dict[int, _Making] = {}
    crops_of = face_stream(
        ticks(frames, TICK_RATE),
        landmarker,
        size=CROP_PX,
        margin=round(margin * CROP_PX),
        fps=TICK_RATE,
    )
    for tick, time_s, crops in crops_of:
        first_s = time_s if tick == 0 else first_s
        alive = {crop.track for crop in crops}
        for track in [number for number in making if number not in alive]:
            yield from making.pop(track).end(first_s)
        for crop in crops:
            new = _Making(crop.track, tick, view, longest, overlap)
            one = making.setdefault(crop.track, new)
            if one is not new and one.next != tick:
                yield from one.end(first_s)
                one = making[crop.track] = new
            one.add(crop)
            yield from one.full(first_s)
    for one in making.values():
        yield from one.end(first_s)


@dataclass(slots=True)
class _Making:
    """A stretch that is being made: crops that wait for the next mesh, and views."""

    track: int
    tick: int
    view: View
    longest: int
    shared: int  # ticks of a stretch that the next one has too
    overlap: int = 0
    waiting: list[FaceCrop] = field(default_factory=list)
    last: NDArray[np.float32] | None = None  # mesh points of the last frame that became a view
    views: list[NDArray[np.generic]] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)

    @property
    def next(self) -> int:
        return self.tick + len(self.views) + len(self.waiting)

    def add(self, crop: FaceCrop) -> None:
        self.waiting.append(crop)
        if crop.points is not None or len(self.waiting) >= _MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Make views of what waits; meshes of frames without one lie on lines between others."""
        points = fill_gaps([self.last, *(crop.points for crop in self.waiting)])
        if points is None:  # not seen yet: the stretch begins later
            self.tick += len(self.waiting)
            self.waiting = []
            return
        for crop, mesh in zip(self.waiting, points[-len(self.waiting) :], strict=True):
            self.views.append(self.view(crop.image, mesh))
            self.boxes.append(crop.box)
            self.seen.append(not crop.interpolated)
        self.last, self.waiting = points[-1], []

    def full(self, first_s: float) -> Iterator[Stretch]:
        """What has reached the longest length; its last ticks begin the next stretch."""
        while len(self.views) >= self.longest:
            yield self._cut(first_s, self.longest, self.shared)

    def end(self, first_s: float) -> Iterator[Stretch]:
        """All that is left."""
        if self.waiting:
            self.settle()
        yield from self.full(first_s)
        if len(self.views) > self.overlap:
            yield self._cut(first_s, len(self.views), 0)

    def _cut(self, first_s: float, length: int, overlap: int) -> Stretch:
        result = Stretch(
            self.track,
            self.tick,
            first_s + self.tick / TICK_RATE,
            np.stack(self.views[:length]),
            np.stack(self.boxes[:length]),
            np.array(self.seen[:length]),
            self.overlap,
        )
        gone = length - overlap
        self.tick, self.overlap = self.tick + gone, overlap
        del self.views[:gone], self.boxes[:gone], self.seen[:gone]
        return result
