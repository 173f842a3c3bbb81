"""What follows faces through a video: the state that all streams of `face.stream` share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from openmarlin.face.cuts import starts_of_shots
from openmarlin.face.find import find_faces, mesh_box
from openmarlin.face.landmarker import Face, Landmarker, distinct
from openmarlin.face.smooth import RADIUS_S
from openmarlin.face.track import CONFIRMED, Track, Tracker
from openmarlin.video.picture import Image
from openmarlin.video.reader import Frame

_CHUNK_TICKS, _CHUNK_S, _CHUNK_BYTES = 32, 1.0, 100_000_000
_SEARCH_S = 0.5  # between two searches in a shot, at least
_HELD_BYTES = 256_000_000  # of patches; beyond it, faces out of sight are given up
_HELD_TICKS = 600
_DOUBT_S = 1.5  # a face that is not confirmed by then is not shown

Kept = TypeVar("Kept")
Given = TypeVar("Given")


@dataclass(slots=True)
class Moment:
    """One tick on its way through. `clock_s` never runs backwards, whatever the container says."""

    tick: int
    time_s: float
    clock_s: float
    frame: Frame
    starts_shot: bool = False


@dataclass(slots=True)
class Waiting(Generic[Kept]):
    """What is kept of a tick until it is settled."""

    number: int
    tick: int
    time_s: float
    clock_s: float
    kept: dict[Track, Kept] = field(default_factory=dict)


def _chunks(ticks: Iterable[tuple[int, Frame]], fps: float | None) -> Iterator[list[Moment]]:
    """Stretches of ticks of one shot that are short in time, in number and in memory."""
    chunk: list[Moment] = []
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


def _moments(ticks: Iterable[tuple[int, Frame]], fps: float | None) -> Iterator[Moment]:
    clock_s = -math.inf
    for tick, frame in ticks:
        clock_s = max(clock_s, tick / fps if fps else frame.time_s)
        yield Moment(tick, frame.time_s, clock_s, frame)


class Pipeline(ABC, Generic[Kept, Given]):
    """The state of one stream.

        chunk of ticks -> faces in each -> tracks -> waiting ticks -> what is given of each face

    A tick passes three states: taken in (its faces are linked to tracks, and what is needed of the
    picture of each is kept; the frame is then let go), waiting (a later frame may still confirm a
    track, bridge a gap or move a smoothed square), settled (it is given out).
    """

    def __init__(
        self, landmarker: Landmarker, max_gap_s: float, *, upright: bool, look_s: float
    ) -> None:
        self._landmarker, self._look_s = landmarker, look_s
        self._tracker = Tracker(max_gap_s, upright=upright)
        self._tracks: list[Track] = []  # all that a waiting tick may show
        self._waiting: deque[Waiting[Kept]] = deque()
        self._held_bytes = 0
        self._n_ticks = 0  # taken in
        self._n_ids = 0  # given to tracks
        self._searched_s = -math.inf
        self._frame: Frame | None = None  # the last one looked at, and its faces
        self._faces: list[Face] = []

    @abstractmethod
    def keep(self, image: Image, track: Track, clock_s: float) -> Kept | None:
        """What of a picture is needed once the tick is settled."""

    @abstractmethod
    def n_bytes(self, kept: Kept) -> int:
        """How much memory that takes."""

    @abstractmethod
    def made(self, track: Track, name: int, waiting: Waiting[Kept]) -> Given:
        """What is given out of a face in a settled tick."""

    def run(
        self, ticks: Iterable[tuple[int, Frame]], fps: float | None
    ) -> Iterator[tuple[int, float, list[Given]]]:
        """All of a video."""
        for chunk in _chunks(ticks, fps):
            yield from self.push(chunk)
        yield from self.finish()

    def push(self, chunk: list[Moment]) -> Iterator[tuple[int, float, list[Given]]]:
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

    def finish(self) -> Iterator[tuple[int, float, list[Given]]]:
        """The video is over: give out the rest."""
        self._tracker.end_shot()
        while self._waiting:
            yield self._give()

    def _fresh(self, chunk: list[Moment]) -> list[Moment]:
        """The moments with frames not looked at yet."""
        frames = [self._frame, *(moment.frame for moment in chunk)]
        return [m for m, before in zip(chunk, frames, strict=False) if m.frame is not before]

    def _find(self, fresh: list[Moment]) -> list[list[Face]]:
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

    def _take(self, moment: Moment, first_tick: bool) -> None:
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
        found = ((track, self.keep(image, track, clock_s)) for track in tracker.live)
        kept = {track: part for track, part in found if part is not None}
        self._held_bytes += sum(map(self.n_bytes, kept.values()))
        self._waiting.append(Waiting(self._n_ticks, moment.tick, moment.time_s, clock_s, kept))
        self._n_ticks += 1
        # Faces out of sight hold ticks back longest. Giving them up is what bounds memory.
        if self._held_bytes > _HELD_BYTES or len(self._waiting) > _HELD_TICKS:
            tracker.end_unseen()

    def _look_again(self, moment: Moment, lost: list[Track]) -> None:
        """Look for tracks without a face where they were a moment ago."""
        boxes = [mesh_box(track.predict(moment.clock_s)) for track in lost]
        again = self._landmarker.follow([moment.frame.image], [boxes])[0]
        self._faces = distinct(self._faces + [face for face in again if face is not None])

    def _settled(self, waiting: Waiting[Kept]) -> bool:
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

    def _give(self) -> tuple[int, float, list[Given]]:
        """Take out the tick that waits longest."""
        waiting = self._waiting.popleft()
        given = []
        for track in self._tracks:
            sample = track.samples.get(waiting.number)
            if track.confirmed and sample is not None and sample.square is not None:
                # Numbered when first shown: what never gets confirmed uses no number up.
                if track.id is None:
                    track.id, self._n_ids = self._n_ids, self._n_ids + 1
                given.append(self.made(track, track.id, waiting))
        self._held_bytes -= sum(map(self.n_bytes, waiting.kept.values()))
        # The smoothing of the ticks behind this one still reaches back by its radius.
        for track in self._tracks:
            track.forget(waiting.clock_s - RADIUS_S)
        self._tracks = [t for t in self._tracks if not t.closed or t.last > waiting.number]
        return waiting.tick, waiting.time_s, given


def _looks(times_s: list[float], apart_s: float) -> list[int]:
    """Positions of the first, the last, and as few between as leave no gap beyond `apart_s`."""
    looks = [0]
    for k in range(1, len(times_s) - 1):
        if times_s[k + 1] - times_s[looks[-1]] > apart_s:
            looks.append(k)
    return looks if len(times_s) == 1 else [*looks, len(times_s) - 1]
