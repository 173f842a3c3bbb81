"""The second pass of `lipsync generate`: frames read again, mouths drawn and pasted.

dubber = Dubber(source, meshes, faces, model, sound, schedule, speech)
for image in dubber.images(0, 100):
    ...
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from openmarlin.face.crop import crop, to_crop
from openmarlin.face.mesh import fill_gaps
from openmarlin.lipsync.compose import Placement, paste
from openmarlin.lipsync.driven_face import DrivenFace
from openmarlin.lipsync.meshes import Meshes
from openmarlin.lipsync.mouth_model import MouthModel, Reference
from openmarlin.lipsync.schedule import Schedule
from openmarlin.video.audio import Sound
from openmarlin.video.frame_source import FrameSource
from openmarlin.video.picture import Image

CONTEXT_S = 1.0
"""The model is told of the sound of so much before and after a stretch."""

_BATCH, _BATCH_BYTES = 16, 100_000_000  # frames held at a time
_MASK_SIGMA, _MASK_REACH = 1.5, 5  # frames over which the outline of the mask is made steady
_REFERENCES = 8
_LIKE_MOST = 0.5  # share of the frames, those nearest to the usual pose, that references are of


@dataclass
class Dubber:
    """What is needed to draw any stretch of a result.

    Attributes:
        source: the frames of the video.
        meshes: the points of its faces.
        faces: those that are driven.
        model: draws the mouths.
        sound: what the model hears, on the clock of the result.
        schedule: which frame is shown when.
        speech: (M,) how strongly frames are drawn for what the sound says.
        took_s: seconds spent on "read", "model" and "paste".
    """

    source: FrameSource
    meshes: Meshes
    faces: Sequence[DrivenFace]
    model: MouthModel
    sound: Sound
    schedule: Schedule
    speech: NDArray[np.float64]
    took_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._references = {
            face.track: [self._reference(face, frame) for frame in reference_frames(face)]
            for face in self.faces
        }

    def images(self, start: int, stop: int) -> Iterator[Image]:
        """Frames `start` to `stop` - 1 of the result.

        A frame does not depend on the stretch with which it is asked for, as long as the model does
        not hear further than `CONTEXT_S`.
        """
        times_s = self.schedule.times_s
        first = int(np.searchsorted(times_s, times_s[start] - CONTEXT_S))
        last = int(np.searchsorted(times_s, times_s[stop - 1] + CONTEXT_S, side="right"))
        began = time.perf_counter()
        heard = self.model.hear(self.sound, times_s[first:last])
        self._spent("model", began)
        at = start
        while at < stop:
            images = self._read(at, stop)
            numbers = range(at, at + len(images))
            for face in self.faces:
                for run in self._runs(face, numbers):
                    pictures = [images[number - at] for number in run]
                    pasted = self._driven(face, run, pictures, heard, run[0] - first)
                    images[run[0] - at : run[-1] + 1 - at] = pasted
            yield from images
            at += len(images)

    def look(self, face: DrivenFace, number: int, size: int) -> tuple[Image, Image, Image]:
        """A face in a frame of the result: in the source, as it is drawn, and in the result.

        Returns:
            Three pictures (size, size, 3), upright.
        """
        times_s = self.schedule.times_s
        near = np.abs(times_s - times_s[number]) <= CONTEXT_S
        first = int(np.flatnonzero(near)[0])
        heard = self.model.hear(self.sound, times_s[near])
        frames = self.schedule.frames[number : number + 1]
        (image,) = self.source.images(int(frames[0]), int(frames[0]) + 1)
        place = place_of(face, int(frames[0]))
        view = crop(image, place.cx, place.cy, place.side, place.angle, self.model.size)
        points, _ = self._points(face, frames)
        references = self._references[face.track]
        drawn = self.model.draw(heard, number - first, view[None], points, references)[0]
        (result,) = self._driven(face, [number], [image], heard, number - first)
        before, after = (
            crop(picture, place.cx, place.cy, place.side, place.angle, size)
            for picture in (image, result)
        )
        enlarged = cv2.resize(drawn, (size, size), interpolation=cv2.INTER_CUBIC)
        return before, np.asarray(enlarged, np.uint8), after

    def strength(self, face: DrivenFace, number: int) -> float:
        """How strongly a face is drawn in a frame of the result, 0 to 1."""
        frame = int(self.schedule.frames[number]) - face.first
        inside = 0 <= frame < len(face.strength)
        return float(face.strength[frame] * self.speech[number]) if inside else 0.0

    def _read(self, at: int, stop: int) -> list[Image]:
        """The next few frames of the source, in the order of the result."""
        began = time.perf_counter()
        head = self.source.size[0] * self.source.size[1] * 3
        most = max(1, min(_BATCH, _BATCH_BYTES // head))
        frames = self.schedule.frames[at : min(stop, at + most)]
        low = int(frames.min())
        images = self.source.images(low, int(frames.max()) + 1)
        self._spent("read", began)
        return [images[int(frame) - low] for frame in frames]

    def _runs(self, face: DrivenFace, numbers: range) -> Iterator[list[int]]:
        """Frames in a row in which a face is drawn."""
        run: list[int] = []
        for number in numbers:
            if self.strength(face, number) > 0:
                run.append(number)
            elif run:
                yield run
                run = []
        if run:
            yield run

    def _driven(
        self, face: DrivenFace, run: list[int], images: list[Image], heard: object, start: int
    ) -> list[Image]:
        """Frames in a row with another mouth."""
        began = time.perf_counter()
        size = self.model.size
        frames = self.schedule.frames[run]
        places = [place_of(face, int(frame)) for frame in frames]
        crops = np.stack(
            [
                crop(image, p.cx, p.cy, p.side, p.angle, size)
                for image, p in zip(images, places, strict=True)
            ]
        )
        points, outlines = self._points(face, frames)
        self._spent("paste", began)
        began = time.perf_counter()
        drawn = self.model.draw(heard, start, crops, points, self._references[face.track])
        self._spent("model", began)
        began = time.perf_counter()
        result = [
            paste(image, mouth, view, outline, place, self.strength(face, number))
            for image, mouth, view, outline, place, number in zip(
                images, drawn, crops, outlines, places, run, strict=True
            )
        ]
        self._spent("paste", began)
        return result

    def _points(
        self, face: DrivenFace, frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points (T, 478, 2) of frames in crop pixels: as measured, and steady over time."""
        low = max(face.first, int(frames.min()) - _MASK_REACH)
        stop = min(face.stop, int(frames.max()) + 1 + _MASK_REACH)
        measured = self.meshes.points(face.track, low, stop)
        seen = np.isfinite(measured[:, 0, 0])
        in_crop = [
            _in_crop(face, low + i, mesh, self.model.size) if seen[i] else None
            for i, mesh in enumerate(measured)
        ]
        points = fill_gaps(in_crop)
        assert points is not None, "a face is drawn only near frames in which it was seen"
        reach = (_MASK_REACH - 0.5) / _MASK_SIGMA
        steady = gaussian_filter1d(points, _MASK_SIGMA, axis=0, mode="nearest", truncate=reach)
        return points[frames - low], steady[frames - low]

    def _reference(self, face: DrivenFace, frame: int) -> Reference:
        (image,) = self.source.images(frame, frame + 1)
        place, size = place_of(face, frame), self.model.size
        (mesh,) = self.meshes.points(face.track, frame, frame + 1)
        picture = crop(image, place.cx, place.cy, place.side, place.angle, size)
        return picture, _in_crop(face, frame, mesh, size)

    def _spent(self, what: str, began: float) -> None:
        self.took_s[what] += time.perf_counter() - began


def reference_frames(face: DrivenFace) -> list[int]:
    """Frames that show the model the person: with the mouth closed, with it open, and some more.

    The first two are among the half of the frames in which the head is turned most nearly as it
    usually is; the others are spread over time.
    """
    may = np.flatnonzero((face.strength == 1) & np.isfinite(face.opening))
    if not len(may):
        may = np.flatnonzero((face.strength > 0) & np.isfinite(face.opening))
    if not len(may):
        return []
    turned = np.linalg.norm(face.pose[may] - np.median(face.pose[may], axis=0), axis=1)
    usual = may[turned <= np.quantile(turned, _LIKE_MOST) + 1e-9]
    opening = face.opening[usual]
    chosen = [usual[opening.argmin()], usual[opening.argmax()]]
    chosen += may[np.linspace(0, len(may) - 1, _REFERENCES - 2).round().astype(int)].tolist()
    return [face.first + int(frame) for frame in dict.fromkeys(chosen)]


def place_of(face: DrivenFace, frame: int) -> Placement:
    """Where the upright crop of a face lies in a frame of the source."""
    cx, cy, log_side, angle = (float(value) for value in face.squares[frame - face.first])
    return Placement(cx, cy, math.exp(log_side), angle)


def _in_crop(
    face: DrivenFace, frame: int, mesh: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    place = place_of(face, frame)
    return to_crop(mesh, place.cx, place.cy, place.side, place.angle, size)
