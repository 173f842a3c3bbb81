"""Frames in, steady face crops out: streaming, in order, in bounded memory.

    for tick, time_s, crops in face_stream(ticks(reader, fps), Landmarker(), fps=fps):
        for crop in crops:
            crop.track, crop.image  # who, uint8 RGB (224, 224, 3)

A frame waits until everything its crops depend on is settled: whether a face out of sight comes
back (`max_gap_s`), and where each face goes in the next half second (`smooth`). What waits is not
the frame but a patch around each face.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.crop import Patch, crop, shrink_for, to_crop
from openmarlin.face.cuts import starts_of_shots
from openmarlin.face.find import find_faces, mesh_box
from openmarlin.face.landmarker import Face, Landmarker, distinct
from openmarlin.face.smooth import RADIUS_S
from openmarlin.face.track import CONFIRMED, Track, Tracker, reach
from openmarlin.video.picture import Image
from openmarlin.video.reader import Frame

_CHUNK_TICKS, _CHUNK_S, _CHUNK_BYTES = 32, 1.0, 100_000_000
_SEARCH_S = 0.5  # between two searches in a shot, at least
_HELD_BYTES = 256_000_000  # of patches; beyond it, faces out of sight are given up
_HELD_TICKS = 600
_DOUBT_S = 1.5  # a face that is not confirmed by then is not shown
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
    pipeline = _Pipeline(landmarker, size, margin, align, max_gap_s, look_s)
    for chunk in _chunks(ticks, fps):
        yield from pipeline.push(chunk)
    yield from pipeline.finish()


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


@dataclass(slots=True)
class _Moment:
    """One tick on its way through. `clock_s` never runs backwards, whatever the container says."""

    tick: int
    time_s: float
    clock_s: float
    frame: Frame
    starts_shot: bool = False


@dataclass(slots=True)
class _Waiting:
    """What is kept of a tick until its crops can be cut."""

    number: int
    tick: int
    time_s: float
    clock_s: float
    patches: dict[Track, Patch] = field(default_factory=dict)


def _chunks(ticks: Iterable[tuple[int, Frame]], fps: float | None) -> Iterator[list[_Moment]]:
    """Stretches of ticks of one shot that are short in time, in number and in memory."""
    chunk: list[_Moment] = []
    for moment, starts_shot in starts_of_shots(_moments(ticks, fps), lambda m: m.frame.image):
        moment.starts_shot = starts_shot
        most = max(1, min(_CHUNK_TICKS, _CHUNK_BYTES // moment.frame.image.nbytes))
        if chunk and (
            starts_shot or len(chunk) >= most or moment.clock_s - chunk[0].clock_s >= _CHUNK_S
        ):
            yield chunk
            chunk = []
        chunk.append(moment)
    if chunk:
        yield chunk


def _moments(ticks: Iterable[tuple[int, Frame]], fps: float | None) -> Iterator[_Moment]:
    clock_s = -math.inf
    for tick, frame in ticks:
        clock_s = max(clock_s, tick / fps if fps else frame.time_s)
        yield _Moment(tick, frame.time_s, clock_s, frame)


class _Pipeline:
    """The state of one `face_stream`.

        chunk of ticks -> faces in each -> tracks -> waiting ticks with patches -> crops

    A tick passes three states: taken in (its faces are linked to tracks, and the surroundings of
    each track are cut out of the frame, which is then let go), waiting (a later frame may still
    confirm a track, bridge a gap or move a smoothed square), settled (its crops are cut).
    """

    def __init__(
        self,
        landmarker: Landmarker,
        size: int,
        margin: int,
        align: bool,
        max_gap_s: float,
        look_s: float,
    ) -> None:
        self._landmarker, self._align, self._look_s = landmarker, align, look_s
        self._size = size + 2 * margin
        self._widened = self._size / size  # the crop's side in sides of the square
        self._tracker = Tracker(max_gap_s, upright=align)
        self._tracks: list[Track] = []  # all that a waiting tick may show
        self._waiting: deque[_Waiting] = deque()
        self._held_bytes = 0
        self._n_ticks = 0  # taken in
        self._n_ids = 0  # given to tracks
        self._searched_s = -math.inf
        self._frame: Frame | None = None  # the last one looked at, and its faces
        self._faces: list[Face] = []

    def push(self, chunk: list[_Moment]) -> Iterator[tuple[int, float, list[FaceCrop]]]:
        """Take in a stretch of one shot; give out what is settled."""
        if chunk[0].starts_shot:
            self._tracker.end_shot()
        fresh = self._fresh(chunk)
        faces = iter(self._find(fresh) if fresh else [])
        for moment in chunk:
            # A frame may stand for several ticks: it is looked at once, but every tick is a sample
            # of the tracks, or a pause would count as being out of sight.
            repeats = moment.frame is self._frame
            if not repeats:
                self._frame, self._faces = moment.frame, next(faces)
            self._take(moment, first_tick=not repeats)
        while self._waiting and self._settled(self._waiting[0]):
            yield self._give()

    def finish(self) -> Iterator[tuple[int, float, list[FaceCrop]]]:
        """The video is over: give out the rest."""
        self._tracker.end_shot()
        while self._waiting:
            yield self._give()

    def _fresh(self, chunk: list[_Moment]) -> list[_Moment]:
        """The moments with frames not looked at yet."""
        frames = [self._frame, *(moment.frame for moment in chunk)]
        return [m for m, before in zip(chunk, frames, strict=False) if m.frame is not before]

    def _find(self, fresh: list[_Moment]) -> list[list[Face]]:
        start_s, end_s = fresh[0].clock_s, fresh[-1].clock_s
        # None asks for a search of the first frame: nobody in a new shot is one of the old.
        before = None
        if not fresh[0].starts_shot:
            before = [track.predict(start_s) for track in self._tracker.live]
        # Chunks are short where frames are large or cuts follow each other; a search at the end of
        # each would then cost more than all the rest.
        search_end = end_s - self._searched_s >= _SEARCH_S
        images = [moment.frame.image for moment in fresh]
        looks = _looks([moment.clock_s for moment in fresh], self._look_s)
        faces = find_faces(images, self._landmarker, before, search_end=search_end, looks=looks)
        if search_end or before is None:
            self._searched_s = end_s if search_end else start_s
        return faces

    def _take(self, moment: _Moment, first_tick: bool) -> None:
        """Link the faces of one tick to tracks, and keep what its crops may need."""
        tracker, clock_s = self._tracker, moment.clock_s
        before = set(tracker.live)
        matches = tracker.match(clock_s, self._faces)
        # A track without a face was missed by the line between two searches, or is gone. One more
        # look where it should be tells; a repeated frame would only give the same answer.
        if first_tick and len(matches) < len(before):
            self._look_again(moment, [track for track in tracker.live if track not in matches])
            matches = tracker.match(clock_s, self._faces)
        tracker.step(self._n_ticks, clock_s, self._faces, matches)
        self._tracks += [track for track in tracker.live if track not in before]
        image = moment.frame.image
        patches = {track: self._patch(image, track, clock_s) for track in tracker.live}
        self._held_bytes += sum(patch.pixels.nbytes for patch in patches.values())
        self._waiting.append(_Waiting(self._n_ticks, moment.tick, moment.time_s, clock_s, patches))
        self._n_ticks += 1
        # Faces out of sight hold ticks back longest. Giving them up is what bounds memory.
        if self._held_bytes > _HELD_BYTES or len(self._waiting) > _HELD_TICKS:
            tracker.end_unseen()

    def _look_again(self, moment: _Moment, lost: list[Track]) -> None:
        """Look for tracks without a face where they were a moment ago."""
        boxes = [mesh_box(track.predict(moment.clock_s)) for track in lost]
        again = self._landmarker.follow([moment.frame.image], [boxes])[0]
        self._faces = distinct(self._faces + [face for face in again if face is not None])

    def _patch(self, image: Image, track: Track, clock_s: float) -> Patch:
        """The surroundings of a face that its final square may cover."""
        sample = track.last_sample
        assert sample.square is not None
        cx, cy, log_side, _ = sample.square
        side = math.exp(log_side)
        half = side * (math.sqrt(0.5) if self._align else 0.5)
        if sample is track.samples[self._n_ticks]:  # seen in this very tick
            half += _MARGIN * side
            rect = cx - half, cy - half, cx + half, cy + half
            return Patch.cut(image, rect, shrink_for(side, self._size))
        # The face may come back as far away as the tracker allows.
        half = _GROWTH * half + reach(clock_s - sample.time_s) * side
        dx, dy = track.shift(clock_s)
        left, top = cx - half + min(dx, 0), cy - half + min(dy, 0)
        rect = left, top, cx + half + max(dx, 0), cy + half + max(dy, 0)
        return Patch.cut(image, rect, max(1, round(side / self._size)))

    def _settled(self, waiting: _Waiting) -> bool:
        """Whether no later frame can change the crops of this one.

        Each track that may show here must be past change: it has ended; or it is confirmed and was
        seen beyond the reach of the smoothing, so no gap is open here either; or it is not
        confirmed and had its time, so it is not shown. A tick that waits too long is given out as
        it is.
        """
        age_s, age = self._waiting[-1].clock_s - waiting.clock_s, len(self._waiting)
        doubted = age_s < _DOUBT_S or age <= CONFIRMED
        return age > _HELD_TICKS or all(
            track.closed
            or (track.confirmed and track.last_sample.time_s >= waiting.clock_s + RADIUS_S)
            or not (track.confirmed or doubted)
            for track in self._tracks
            if waiting.number in track.samples
        )

    def _give(self) -> tuple[int, float, list[FaceCrop]]:
        """Cut the crops of the tick that waits longest."""
        waiting = self._waiting.popleft()
        crops = []
        for track in self._tracks:
            sample = track.samples.get(waiting.number)
            if track.confirmed and sample is not None and sample.square is not None:
                # Numbered when first shown: what never gets confirmed uses no number up.
                if track.id is None:
                    track.id, self._n_ids = self._n_ids, self._n_ids + 1
                crops.append(self._crop(track, track.id, waiting))
        self._held_bytes -= sum(patch.pixels.nbytes for patch in waiting.patches.values())
        # The smoothing of the ticks behind this one still reaches back by its radius.
        for track in self._tracks:
            track.forget(waiting.clock_s - RADIUS_S)
        self._tracks = [t for t in self._tracks if not t.closed or t.last > waiting.number]
        return waiting.tick, waiting.time_s, crops

    def _crop(self, track: Track, name: int, waiting: _Waiting) -> FaceCrop:
        cx, cy, log_side, angle = (float(v) for v in track.smoothed(waiting.number))
        side, face = math.exp(log_side), track.samples[waiting.number].face
        wide, points = side * self._widened, None
        if face is not None:
            points = to_crop(face.points, cx, cy, wide, angle, self._size)
        return FaceCrop(
            track=name,
            tick=waiting.tick,
            time_s=waiting.time_s,
            image=waiting.patches[track].crop(cx, cy, wide, angle, self._size),
            box=_box(cx, cy, side),
            score=face.score if face is not None else 0.0,
            interpolated=face is None,
            points=points,
        )


def _looks(times_s: list[float], apart_s: float) -> list[int]:
    """Positions of the first, the last, and as few between as leave no gap beyond `apart_s`."""
    looks = [0]
    for k in range(1, len(times_s) - 1):
        if times_s[k + 1] - times_s[looks[-1]] > apart_s:
            looks.append(k)
    return looks if len(times_s) == 1 else [*looks, len(times_s) - 1]


def _box(cx: float, cy: float, side: float) -> NDArray[np.float32]:
    half = side / 2
    return np.array([cx - half, cy - half, cx + half, cy + half], np.float32)
