"""One video becomes tracks of a store: its face crops are parsed, compressed and cut to length.

Everything streams; what is held of a face is a batch of crops and its compressed frames so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.layouts.source import Source
from openmarlin.data.manifest import display
from openmarlin.data.store.index import Track
from openmarlin.data.store.shards import TrackBytes, encode_points, encode_sound
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.mesh import N_POINTS, fill_gaps
from openmarlin.face.parser import RegionParser
from openmarlin.face.stream import FaceCrop
from openmarlin.files import atomic
from openmarlin.regions import to_cells, unknown_cells
from openmarlin.video.audio import Sound, read_sound

PAUSE_S = 0.5
"""A frame that is shown for longer ends a track: a recording that paused says nothing of how a face
moves. Shorter repeats are frames that a camera dropped: at 25 frames a second at most 6 of the 16
frames of a clip at rate 2."""

_BATCH = 16  # crops parsed together
_MOST_WAITING = 48  # crops that wait for the next mesh: a second and a half


@dataclass(frozen=True, slots=True)
class TrackRules:
    """What becomes a track.

    Attributes:
        size: side of the crops as MARLIN frames a face, pixels.
        margin: pixels of surroundings on every side.
        min_frames: shorter tracks are left out.
        max_frames: longer ones are cut after so many frames, as long as `min_frames` remain.
        min_face_px: tracks of smaller faces (MARLIN's square in the video) are left out.
        sound: keep the sound of each track.
        points: keep the mesh points of each frame.
        limit_s: read at most so much of each video.
    """

    size: int = 224
    margin: int = 16
    min_frames: int = 29
    max_frames: int = 300
    min_face_px: float = 64
    sound: bool = False
    limit_s: float | None = None
    points: bool = False


@dataclass(slots=True)
class VideoTracks:
    """What became of one video.

    Attributes:
        tracks: as they follow each other in its part.
        seconds: how much video was read.
        dropped: tracks that are not kept, as {why: how many}.
        problems: what was damaged.
    """

    tracks: list[Track] = field(default_factory=list)
    seconds: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def make_tracks(
    source: Source,
    rules: TrackRules,
    landmarker: Landmarker,
    parser: RegionParser,
    part: Path,
) -> VideoTracks:
    """Write the tracks of a video to the file `part`, one after the other.

    Raises:
        VideoError: the video cannot be read.
    """
    result, row = VideoTracks(), source.row
    opened = source.open(landmarker, size=rules.size, margin=rules.margin, limit_s=rules.limit_s)
    with atomic(part) as unfinished, unfinished.open("wb") as file, opened as faces:
        sound = read_sound(row.video, row.start_s, row.end_s) if rules.sound else None
        making = _TrackMaker(source, faces.fps, rules, parser, sound, file, result)
        for tick, crops in without_pauses(faces.ticks, faces.fps):
            making.take(tick, crops)
            result.seconds = (tick + 1) / faces.fps
        making.finish()
        result.problems = faces.problems()
    return result


def without_pauses(
    ticks: Iterable[tuple[int, float, list[FaceCrop]]], fps: float
) -> Iterator[tuple[int, list[FaceCrop]]]:
    """Empty the ticks in which a frame is still shown that is shown for longer than `PAUSE_S`.

    Those of shorter repeats get the time at which they are shown. What may yet turn out to be a
    pause is held back: crops of `PAUSE_S` at most.

    Args:
        ticks: tick, presentation time of the frame that is shown, crops; see `face_stream`.
        fps: ticks a second.

    Yields:
        Every tick once: tick, crops.
    """
    held: list[tuple[int, list[FaceCrop]]] = []
    shown_s, shown_since = -math.inf, 0
    for tick, time_s, crops in ticks:
        if time_s != shown_s:
            yield from held
            held, shown_s, shown_since = [], time_s, tick
            yield tick, crops
        elif (tick + 1 - shown_since) / fps <= PAUSE_S:
            for crop in crops:
                crop.time_s = shown_s + (tick - shown_since) / fps
            held.append((tick, crops))
        else:
            yield from ((earlier, []) for earlier, _ in held)
            held = []
            yield tick, []
    yield from held


class _TrackMaker:
    """All faces of a video that is being read."""

    def __init__(
        self,
        source: Source,
        fps: float,
        rules: TrackRules,
        parser: RegionParser,
        sound: Sound | None,
        file: BinaryIO,
        result: VideoTracks,
    ) -> None:
        self.source, self.fps, self.rules = source, fps, rules
        self.parser, self.sound, self.file, self.result = parser, sound, file, result
        self.open: dict[int, _Piece] = {}  # by number of the face
        self.name = f"{source.name}-{source.row.key[:6]}"

    def take(self, tick: int, crops: list[FaceCrop]) -> None:
        alive = {crop.track for crop in crops}
        for number in [n for n, piece in self.open.items() if n not in alive or piece.next != tick]:
            self.end(number)
        for crop in crops:
            piece = self.open.setdefault(crop.track, _Piece(self.parser, tick))
            piece.add(crop)
            self.shorten(crop.track, piece)

    def finish(self) -> None:
        for number in list(self.open):
            self.end(number)

    def end(self, number: int) -> None:
        piece = self.open.pop(number)
        piece.parse(everything=True)
        self.shorten(number, piece)
        self.write(number, piece, piece.ready)

    def shorten(self, number: int, piece: _Piece) -> None:
        """Cut off tracks of full length as long as what is left can be one, too."""
        while piece.ready >= self.rules.max_frames + self.rules.min_frames:
            self.write(number, piece, self.rules.max_frames)

    def write(self, number: int, piece: _Piece, n_frames: int) -> None:
        """Write the first frames of a piece as a track, if they are worth keeping."""
        rules = self.rules
        data, facts, start = piece.cut(n_frames)
        face_px = float(np.median([fact.face_px for fact in facts]))
        if n_frames < rules.min_frames:
            return self.drop(f"shorter than {rules.min_frames} frames")
        if face_px < rules.min_face_px:
            return self.drop(f"smaller than {rules.min_face_px:g} px")
        row, start_s = self.source.row, facts[0].time_s
        meshes = encode_points(_stacked([fact.points for fact in facts])) if rules.points else b""
        tail = b""
        if self.sound is not None:
            tail = encode_sound(self.sound.between(start_s, start_s + n_frames / self.fps))
        track = Track(
            name=display(f"{self.name}/{number}@{start}"),
            video=display(row.video),
            group=display(row.group or row.video),
            n_frames=n_frames,
            fps=self.fps,
            start_s=start_s,
            face_px=round(face_px, 2),
            seen=round(float(np.mean([fact.seen for fact in facts])), 4),
            n_bytes=self.file.write(data + meshes + tail),
            sound_bytes=len(tail),
            point_bytes=len(meshes),
        )
        self.result.tracks.append(track)
        return None

    def drop(self, why: str) -> None:
        self.result.dropped[why] = self.result.dropped.get(why, 0) + 1


class _Fact(NamedTuple):
    """What is known of a frame beside its picture."""

    time_s: float
    face_px: float
    seen: bool
    points: NDArray[np.float32] | None


class _Piece:
    """A face from one tick on: crops that wait for their regions, and compressed frames."""

    def __init__(self, parser: RegionParser, start: int) -> None:
        self.start = self.next = start
        self._parser = parser
        self._waiting: list[FaceCrop] = []
        self._last: NDArray[np.float32] | None = None  # the last mesh that was parsed
        self._bytes = TrackBytes()
        self._facts: list[_Fact] = []

    @property
    def ready(self) -> int:
        """Frames that are compressed."""
        return len(self._bytes)

    def add(self, crop: FaceCrop) -> None:
        self._waiting.append(crop)
        self.next = crop.tick + 1
        x1, _, x2, _ = crop.box
        fact = _Fact(crop.time_s, float(x2 - x1), not crop.interpolated, crop.points)
        self._facts.append(fact)
        if len(self._waiting) >= _BATCH:
            self.parse()

    def parse(self, *, everything: bool = False) -> None:
        """Compress what waits. Frames without a mesh wait for the next one, to lie in between."""
        waiting = self._waiting
        late = waiting and waiting[-1].points is None and len(waiting) < _MOST_WAITING
        if not waiting or (late and not everything):
            return
        images = np.stack([crop.image for crop in waiting])
        points = fill_gaps([self._last, *(crop.points for crop in waiting)])
        if points is None:
            cells = unknown_cells(len(waiting), images.shape[1])
        else:
            cells, self._last = to_cells(self._parser(images, points[1:])), points[-1]
        for image, frame_cells in zip(images, cells, strict=True):
            self._bytes.add(image, frame_cells)
        self._waiting = []

    def cut(self, n_frames: int) -> tuple[bytes, list[_Fact], int]:
        """Take off the first frames: compressed, what is known of each, their first tick."""
        data, facts, start = self._bytes.take(n_frames), self._facts[:n_frames], self.start
        del self._facts[:n_frames]
        self.start += n_frames
        return data, facts, start


def _stacked(meshes: list[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """Meshes as (F, 478, 2), NaN where there is none."""
    nothing = np.full((N_POINTS, 2), np.nan, np.float32)
    return np.stack([nothing if mesh is None else mesh for mesh in meshes])
