"""One video through the house: frames -> clock -> face crops -> windows -> clips for the encoder.

Everything streams: what is held is the look-ahead of the face tracks and one window of crops, so
memory does not grow with the length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.features import WindowRow
from openmarlin.data.manifest import Row
from openmarlin.errors import VideoError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.mesh import fill_gaps
from openmarlin.face.parser import MeshParser
from openmarlin.face.stream import FaceCrop, face_stream, precropped_stream
from openmarlin.video.reader import Frame, VideoReader
from openmarlin.video.windows import CLIP_FRAMES, Tail, Window, WindowStream, needs_tick, ticks

FOLLOW_S = 0.2
"""Faces are looked for at least so often, or they could not be followed."""

MIN_SEEN = 0.5
"""A face belongs to a window when it is seen in at least this share of the window's real frames."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video make clips, and of which faces.

    Attributes:
        rate: every `rate`-th tick is a sample.
        stride: samples from one window to the next.
        tail: what becomes of the last, incomplete window (`video.windows`).
        faces: in each window the largest face, all, or the N largest.
        precropped: the video shows one face crop already.
        align: turn crops so that the eyes are level.
        limit_s: at most so much of the video.
    """

    rate: int = 2
    stride: int = 16
    tail: Tail = "pad"
    faces: Literal["largest", "all"] | int = "largest"
    precropped: bool = False
    align: bool = False
    limit_s: float | None = None

    def windows(self, frames: int) -> WindowStream:
        """The windows of `frames` samples each.

        Raises:
            InputError: rate, stride and tail do not fit each other.
        """
        return WindowStream(length=frames, rate=self.rate, stride=self.stride, tail=self.tail)


@dataclass(slots=True)
class FaceClip:
    """One face in one window: its row of the features table, and what the encoder is to see.

    Attributes:
        row: everything of the row but the embedding.
        pixels: uint8 RGB (T, S, S, 3), or None when the window has no face.
        points: a mesh (478, 2) in crop pixels for each of the T frames, None where not seen.
        boxes: float64 (n, 5): time in seconds and x1, y1, x2, y2 in source pixels of the crops of
            this face in the window, those repeated to fill it left out.
    """

    row: WindowRow
    pixels: NDArray[np.uint8] | None = None
    points: list[NDArray[np.float32] | None] = field(default_factory=list)
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 5)))


@dataclass(slots=True)
class _Sample:
    """One tick of a window.

    Attributes:
        start_s: when it begins: the frame's own time on the first tick that shows it, so that
            times are the container's; the clock of the ticks where the frame is still standing.
        shown_since: the first tick that shows its frame.
        crops: the faces in it, by track; filled once the tracks are settled.
    """

    start_s: float
    shown_since: int
    crops: dict[int, FaceCrop] = field(default_factory=dict)


class ClipReader:
    """Iterate the face clips of one video in the order of time.

    Args:
        video: a file, or a row of a manifest, which may be a part of one.
        sampling: which frames and faces.
        landmarker: the face nets (shared by threads); None only with `precropped`.
        size: side of the crops in pixels.
        frames: frames a clip.
        look_s: see `face_stream`; 0 where meshes matter, not only crops.
        stopped: asked at every frame; once it says so, the iteration ends early.

    Attributes:
        problems: what was damaged in the file, known when the iteration ends.
        notes: what was unusual in it and lost nothing, as HDR; then, too.
        seconds: how much of the video has been read.
        fps: ticks a second, known when the iteration has begun.
    """

    def __init__(
        self,
        video: Row | Path,
        sampling: Sampling,
        landmarker: Landmarker | None,
        size: int = 224,
        frames: int = CLIP_FRAMES,
        *,
        look_s: float = 0.0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.row = video if isinstance(video, Row) else Row(video)
        self.sampling, self.landmarker, self.stopped = sampling, landmarker, stopped
        self.size, self.frames, self.look_s = size, frames, look_s
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.seconds = 0.0
        self.fps = 0.0
        self._n_ticks = 0

    def __iter__(self) -> Iterator[FaceClip]:
        with VideoReader(self.row.video) as reader:
            try:
                yield from self._clips(reader)
            finally:
                self.problems, self.notes = reader.problems, reader.notes

    def _clips(self, reader: VideoReader) -> Iterator[FaceClip]:
        """Join the two clocks: windows count every tick, faces are looked for on some of them."""
        self.fps = reader.info.fps
        seconds_a_tick = 1 / self.fps
        stream = self.sampling.windows(self.frames)
        samples: dict[int, _Sample] = {}
        counted = 0
        for tick, _, crops in self._faces(self._wanted_ticks(reader, samples), reader.info.fps):
            if tick in samples:
                samples[tick].crops = {crop.track: crop for crop in crops}
            for past in range(counted, tick + 1):
                for window in stream.push(past):
                    yield from self._window_clips(window, samples, seconds_a_tick)
            counted = tick + 1
            for old in [t for t in samples if t < stream.keep_from]:
                del samples[old]
        for past in range(counted, self._n_ticks):
            for window in stream.push(past):
                yield from self._window_clips(window, samples, seconds_a_tick)
        for window in stream.finish():
            yield from self._window_clips(window, samples, seconds_a_tick)

    def _wanted_ticks(
        self, reader: VideoReader, samples: dict[int, _Sample]
    ) -> Iterator[tuple[int, Frame]]:
        """The ticks in which faces are followed; those that windows hold are put into `samples`."""
        s, fps = self.sampling, reader.info.fps
        step = tracking_step(s.rate, fps)
        shown: Frame | None = None
        first_s, shown_since = 0.0, 0
        for tick, frame in ticks(self.row.frames(reader), fps):
            if self.stopped():
                return
            if shown is None:
                first_s = frame.time_s
            if frame is not shown:
                shown, shown_since = frame, tick
            start_s = frame.time_s if shown_since == tick else first_s + tick / fps
            self.seconds = start_s - first_s
            if s.limit_s is not None and self.seconds >= s.limit_s:
                return
            self._n_ticks = tick + 1
            needed = needs_tick(tick, length=self.frames, rate=s.rate, tail=s.tail)
            if needed:
                samples[tick] = _Sample(start_s, shown_since)
            if needed or tick % step == 0:
                yield tick, frame

    def _faces(
        self, frames: Iterator[tuple[int, Frame]], fps: float
    ) -> Iterator[tuple[int, float, list[FaceCrop]]]:
        if self.sampling.precropped:
            return precropped_stream(frames, size=self.size)
        if self.landmarker is None:
            raise TypeError("a landmarker is needed unless the video is precropped")
        align = self.sampling.align
        size, look_s = self.size, self.look_s
        return face_stream(frames, self.landmarker, size=size, align=align, look_s=look_s, fps=fps)

    def _window_clips(
        self, window: Window, samples: dict[int, _Sample], seconds_a_tick: float
    ) -> list[FaceClip]:
        """The clips of the faces chosen in one window, or one clip that says there is none."""
        real = {tick: samples[tick] for tick in window.ticks[: window.n_real]}
        first, last = samples[window.ticks[0]], samples[window.ticks[window.n_real - 1]]
        step = window.ticks[1] - window.ticks[0] if window.n_real > 1 else self.sampling.rate
        repeated = sum(sample.shown_since <= tick - step for tick, sample in real.items())
        span: dict[str, Any] = {
            "video": str(self.row.video),
            "window": window.index,
            "start_s": first.start_s,
            "end_s": last.start_s + seconds_a_tick,
            "n_frames": self.frames,
            "n_real": window.n_real,
            "n_repeated": repeated,
        }
        if repeated == window.n_real:  # the recording pauses: a still says nothing of this time
            return [FaceClip(WindowRow(**span))]
        clips = []
        for track in {track for sample in real.values() for track in sample.crops}:
            crops = {t: sample.crops[track] for t, sample in real.items() if track in sample.crops}
            seen = sum(not crop.interpolated for crop in crops.values())
            if seen >= MIN_SEEN * len(real):
                clips.append(_face_clip(span, track, window, crops))
        clips.sort(key=lambda clip: clip.row.x1 - clip.row.x2)  # crops are square: the widest first
        if self.sampling.faces != "all":
            clips = clips[: 1 if self.sampling.faces == "largest" else self.sampling.faces]
        clips.sort(key=lambda clip: clip.row.face)
        return clips or [FaceClip(WindowRow(**span))]


def first_clips(reader: ClipReader, most: int) -> list[FaceClip]:
    """The first clips that show a face, `most` of them at most; no more of the video is read.

    Raises:
        VideoError: there is none, or the file cannot be read.
    """
    clips = list(islice((clip for clip in reader if clip.pixels is not None), most))
    if not clips:
        raise VideoError(f"{reader.row.video}: no face found; choose a video that shows one")
    return clips


def clip_labels(clip: FaceClip, landmarker: Landmarker) -> NDArray[np.uint8] | None:
    """Which part of the face each pixel of a clip shows.

    A clip of a precropped video has no mesh yet; its frames are searched for one.

    Returns:
        (T, S, S) class ids of `openmarlin.regions.CLASSES`, or None where no mesh is found.
    """
    if clip.pixels is None:
        return None
    meshes = clip.points
    if all(mesh is None for mesh in meshes):
        faces = [landmarker.search(image)[:1] for image in clip.pixels]
        meshes = [face[0].points[:, :2] if face else None for face in faces]
    points = fill_gaps(meshes)
    return None if points is None else MeshParser(landmarker.nets)(clip.pixels, points)


def tracking_step(rate: int, fps: float) -> int:
    """Ticks from one look at the faces to the next.

    At a low sampling rate they are followed in between, or nobody could be told from another. It is
    the largest divisor of `rate` that is short.
    """
    longest = max(1, int(FOLLOW_S * fps))
    return max(step for step in range(1, min(rate, longest) + 1) if rate % step == 0)


def _face_clip(
    span: dict[str, Any], track: int, window: Window, crops: dict[int, FaceCrop]
) -> FaceClip:
    """Fill the frames of one face; where it is not there, the nearest crop is repeated.

    Both those frames and the ones whose box was interpolated count as `n_interpolated`.
    """
    ticks_seen = np.array(sorted(crops))
    chosen = [crops[int(ticks_seen[np.abs(ticks_seen - tick).argmin()])] for tick in window.ticks]
    real = chosen[: window.n_real]
    x1, y1, x2, y2 = np.mean([crop.box for crop in real], axis=0).tolist()
    seen = sum(not crop.interpolated for crop in crops.values())
    row = WindowRow(
        **span,
        face=track,
        n_interpolated=window.n_real - seen,
        face_score=float(np.mean([crop.score for crop in real])),
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
    )
    return FaceClip(
        row,
        np.stack([crop.image for crop in chosen]),
        [crop.points for crop in chosen],
        np.array([(crop.time_s, *crop.box) for _, crop in sorted(crops.items())]),
    )
