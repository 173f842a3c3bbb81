"""Faces as 478-point meshes: search a frame for all of them, or follow those of the frame before.

Both ways go detector -> square turned so that the eyes are level -> mesh; the mesh also says how
sure it is that it looks at a face, which decides what is returned. MediaPipe Face Landmarker's
geometry (mediapipe/tasks/cc/vision/face_landmarker, Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.face.blendshapes import blendshapes
from openmarlin.face.crop import crop
from openmarlin.face.detector import Detections, detect, detect_batch, overlaps
from openmarlin.face.nets import DETECTOR_PX, MESH_PX, FaceNets
from openmarlin.video.picture import Image

Box = NDArray[np.float32]

MIN_SCORE, MIN_FOLLOWED = 0.5, 0.2
"""Least score of a new face, and of one that was there before and is followed."""

_MIN_DETECTED, _MIN_REDETECTED = 0.5, 0.3  # the same for the detector's own score
_ROI_SCALE = 1.5  # square of the mesh crop / longer side of the detector's box
_ROI_LIFT = 0.05  # the square's centre lies this much higher, in sides of the box
_ZOOM = 3.5  # window shown to the detector / longer side of the last box
_SAME_FACE = 0.5
"""Meshes are one face when their boxes share more of the smaller one: a mouth that was taken for a
face lies within the face."""

_STILL = 0.15  # sides, or radians, that a face may move and yet be taken to lie in between

_BATCH = 16

DETECT_EVERY = 2
"""Where every frame is looked at, the detector is shown every second one: a tenth of the time less,
and meshes as steady (docs/lab/speed.md)."""


@dataclass
class Face:
    """One face in one frame.

    Attributes:
        points: (478, 3) float32 mesh points in source pixels; z, depth, on the same scale.
        score: how sure detector and mesh net are that this is a face, in [0, 1].
        blendshapes: (52,) float32 coefficients named `BLENDSHAPE_NAMES`, if asked for.
    """

    points: NDArray[np.float32]
    score: float
    blendshapes: NDArray[np.float32] | None = None

    @property
    def box(self) -> Box:
        """x1, y1, x2, y2 (4,) float32: the bounding box of the points, source pixels."""
        xy = self.points[:, :2]
        return np.concatenate([xy.min(axis=0), xy.max(axis=0)])


class _Square(NamedTuple):
    """A turned square of a frame: what the mesh net is shown, and how sure the detector is."""

    cx: float
    cy: float
    side: float
    angle: float
    score: float


class Landmarker:
    """Finds and follows faces. One instance may serve many threads.

    Args:
        threads: CPU threads a call may use, see `FaceNets`.
        blendshapes: also compute the 52 expression coefficients, about 1 ms a face.
        precise: meshes in float32; bfloat16 takes two thirds of the time and is 0.3 px off (rms, of
            256), which is nothing to a smoothed crop.
        detect_every: of consecutive frames the detector is shown every so-many-th; between two in
            which a face keeps still, the mesh net is given the square in between.
    """

    def __init__(
        self,
        threads: int = 1,
        *,
        blendshapes: bool = False,
        precise: bool = True,
        detect_every: int = 1,
    ) -> None:
        self.nets = FaceNets(threads, precise=precise)
        self._blendshapes, self._every = blendshapes, detect_every

    def search(self, image: Image) -> list[Face]:
        """All faces of a frame (uint8 RGB (H, W, 3)), those the detector is surest of first.

        Faces down to 1/32 of the frame's longer side are found: 40 px, brow to chin, in 1280x720.
        """
        detections = detect(image, self.nets, min_score=_MIN_DETECTED)
        squares = [_square(detections, i) for i in range(len(detections))]
        faces = self._meshes([image] * len(squares), squares, MIN_SCORE)
        return distinct([face for face in faces if face is not None])

    def follow(
        self, images: Sequence[Image], boxes: Sequence[Sequence[Box | None]]
    ) -> list[list[Face | None]]:
        """Find faces again, over several frames at once.

        Each face is looked for in a window of 3.5 times its last box, so it may move by a
        whole width between the frame that box comes from and the one looked at.

        Args:
            images: frames, uint8 RGB (H, W, 3).
            boxes: for every frame, the last mesh box of each face (x1, y1, x2, y2, source
                pixels), None for those that are not to be looked for.

        Returns:
            For every frame and box the face, or None where it is lost. Two boxes never get the
            same face: it goes to the box it overlaps most.
        """
        requests = {
            (i, j): np.asarray(box, np.float32)
            for i, row in enumerate(boxes)
            for j, box in enumerate(row)
            if box is not None
        }
        squares = self._squares(images, requests)
        places = list(requests)
        faces = self._meshes(
            [images[i] for i, _ in places], [squares[p] for p in places], MIN_FOLLOWED
        )
        result: list[list[Face | None]] = [[None] * len(row) for row in boxes]
        for (i, j), face in zip(places, faces, strict=True):
            result[i][j] = face
        return [_one_owner(row, row_boxes) for row, row_boxes in zip(result, boxes, strict=True)]

    def _squares(
        self, images: Sequence[Image], requests: dict[tuple[int, int], Box]
    ) -> dict[tuple[int, int], _Square | None]:
        """The square of each face (frame, number), from the detector or from those around it."""
        last, every = len(images) - 1, self._every
        squares: dict[tuple[int, int], _Square | None] = {}

        def detect_in(places: list[tuple[int, int]]) -> None:
            boxes = [requests[place] for place in places]
            found = self._recentre([images[i] for i, _ in places], boxes)
            squares.update(zip(places, found, strict=True))

        detect_in([place for place in requests if place[0] % every == 0 or place[0] == last])
        moving = []
        for i, j in [place for place in requests if place not in squares]:
            start = i - i % every
            stop = min(start + every, last)
            first, second = squares.get((start, j)), squares.get((stop, j))
            if first is None or second is None or not _alike(first, second):
                moving.append((i, j))
            else:
                squares[i, j] = _square_between(first, second, (i - start) / (stop - start))
        detect_in(moving)
        return squares

    def _recentre(self, images: list[Image], boxes: list[Box]) -> list[_Square | None]:
        """Where the detector sees the face of each box now."""
        squares: list[_Square | None] = []
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            windows = [_window(box) for box in boxes[part]]
            pictures = [
                _view(image, *window) for image, window in zip(images[part], windows, strict=True)
            ]
            detections = detect_batch(np.stack(pictures), self.nets, min_score=_MIN_REDETECTED)
            for faces, (cx, cy, side), box in zip(detections, windows, boxes[part], strict=True):
                faces = faces.moved(side / DETECTOR_PX, cx - side / 2, cy - side / 2)
                squares.append(_nearest(faces, box))
        return squares

    def _meshes(
        self, images: Sequence[Image], squares: Sequence[_Square | None], min_score: float
    ) -> list[Face | None]:
        """The mesh of each square, None where there is no face (or no square)."""
        faces: list[Face | None] = [None] * len(squares)
        occupied = [(i, square) for i, square in enumerate(squares) if square is not None]
        for start in range(0, len(occupied), _BATCH):
            part = occupied[start : start + _BATCH]
            crops = np.stack([crop(images[i], *square[:4], MESH_PX) for i, square in part])
            points, presence, _ = self.nets.mesh(crops)
            for (i, square), mesh, logit in zip(part, points, presence.ravel(), strict=True):
                score = _score(square.score, float(logit))
                if score >= min_score:
                    faces[i] = self._face(mesh.reshape(478, 3), score, square)
        return faces

    def _face(self, mesh: NDArray[np.float32], score: float, square: _Square) -> Face:
        points = _to_source(mesh, square)
        values = blendshapes(points[None], self.nets)[0] if self._blendshapes else None
        return Face(points, score, values)


def _score(detected: float, presence_logit: float) -> float:
    """Weigh both nets' opinions into one score.

    Neither is enough: hands and prints on clothes reach a presence of 9 with a detector score
    below 0.7, profiles a detector score of 0.9 with a presence around 0. The line between them was
    drawn by eye on 1,800 detections of 500 frames.
    """
    detected = min(detected, 0.999)
    evidence = 2 * math.log(detected / (1 - detected)) + presence_logit / 4 - 3.5
    return 1 / (1 + math.exp(-evidence))


def _square(detections: Detections, index: int) -> _Square:
    """Square around a detection, turned by the line through its eyes."""
    x1, y1, x2, y2 = (float(v) for v in detections.boxes[index])
    dx, dy = (float(v) for v in detections.keypoints[index, 1] - detections.keypoints[index, 0])
    side, angle = max(x2 - x1, y2 - y1), math.atan2(dy, dx)
    cx = (x1 + x2) / 2 + math.sin(angle) * _ROI_LIFT * side
    cy = (y1 + y2) / 2 - math.cos(angle) * _ROI_LIFT * side
    return _Square(cx, cy, _ROI_SCALE * side, angle, float(detections.scores[index]))


def _alike(first: _Square, second: _Square) -> bool:
    """Whether a face kept so still between two frames that it lies in between in those between."""
    side = min(first.side, second.side)
    moved = math.hypot(first.cx - second.cx, first.cy - second.cy)
    turned = abs(math.remainder(first.angle - second.angle, 2 * math.pi))
    return (
        moved < _STILL * side and abs(first.side - second.side) < _STILL * side and turned < _STILL
    )


def _square_between(first: _Square, second: _Square, part: float) -> _Square:
    turn = math.remainder(second.angle - first.angle, 2 * math.pi)
    cx, cy, side = (a + part * (b - a) for a, b in zip(first[:3], second[:3], strict=True))
    return _Square(cx, cy, side, first.angle + part * turn, min(first.score, second.score))


def _window(box: Box) -> tuple[float, float, float]:
    """Centre and side of the square in which a face is looked for."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return (x1 + x2) / 2, (y1 + y2) / 2, max(_ZOOM * max(x2 - x1, y2 - y1), 8.0)


def _view(image: Image, cx: float, cy: float, side: float) -> Image:
    """A window of the frame at the detector's size.

    A large window is halved until bilinear sampling reads all of it: several times cheaper than
    one exact average, and all the detector needs.
    """
    left, top = (max(0, math.floor(centre - side / 2)) for centre in (cx, cy))
    right, bottom = (max(0, math.ceil(centre + side / 2)) for centre in (cx, cy))
    image = image[top:bottom, left:right]
    cx, cy = cx - left, cy - top
    while side > 2 * DETECTOR_PX and min(image.shape[:2]) > 1:
        height, width = (length // 2 for length in image.shape[:2])
        even = image[: 2 * height, : 2 * width]
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
        cx, cy, side = cx / 2, cy / 2, side / 2
    return crop(image, cx, cy, side, 0.0, DETECTOR_PX)


def _nearest(detections: Detections, box: Box) -> _Square | None:
    """The detection that is the face of `box`: the one that overlaps it most, else the nearest."""
    if not len(detections):
        return None
    overlap = overlaps(box, detections.boxes)
    centres = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    side = max(float(np.ptp(box[[0, 2]])), 1.0)
    far = np.linalg.norm(centres - (box[:2] + box[2:]) / 2, axis=1) / side
    return _square(detections, int(np.argmax(overlap - far)))


def _to_source(mesh: NDArray[np.float32], square: _Square) -> NDArray[np.float32]:
    """Mesh points (478, 3) from crop pixels to source pixels."""
    scale = square.side / MESH_PX
    cos, sin = math.cos(square.angle) * scale, math.sin(square.angle) * scale
    x, y = mesh[:, 0] - MESH_PX / 2, mesh[:, 1] - MESH_PX / 2
    source = (square.cx + cos * x - sin * y, square.cy + sin * x + cos * y, mesh[:, 2] * scale)
    return np.stack(source, axis=1).astype(np.float32)


def distinct(faces: list[Face]) -> list[Face]:
    """Drop faces whose mesh lies on an earlier one's: one face, detected or followed twice."""
    result: list[Face] = []
    for face in faces:
        if not any(_same(face, other) for other in result):
            result.append(face)
    return result


def _one_owner(faces: list[Face | None], boxes: Sequence[Box | None]) -> list[Face | None]:
    """Where two boxes ended on one face, leave it to the box that overlaps it most."""
    claims = [
        (float(overlaps(face.box, np.asarray(box, np.float32)[None])[0]), j, face)
        for j, (face, box) in enumerate(zip(faces, boxes, strict=True))
        if face is not None and box is not None
    ]
    owned: list[Face | None] = [None] * len(faces)
    for _, j, face in sorted(claims, key=lambda claim: (-claim[0], claim[1])):
        if not any(other is not None and _same(face, other) for other in owned):
            owned[j] = face
    return owned


def _same(face: Face, other: Face) -> bool:
    """Whether two meshes are one face."""
    a, b = face.box, other.box
    common = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return bool(common >= _SAME_FACE * smaller)


@cache
def shared_landmarker() -> Landmarker:
    """The fast face nets of this process, loaded once (it takes a second or two)."""
    return Landmarker(precise=False)
