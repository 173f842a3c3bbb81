"""YouTube Faces (Wolf, Hassner, Maoz, CVPR 2011): folders of frames, with a box in every frame.

    ROOT/frame_images_DB/SUBJECT/VIDEO/VIDEO.FRAME.jpg   frame numbers are not padded
    ROOT/frame_images_DB/SUBJECT.labeled_faces.txt       path,_,centre x,centre y,width,height,_,_

The boxes (Viola-Jones, checked by hand) say which face of a frame is the subject's. The mesh is
therefore looked for around them only, and where it is not found the box itself gives the crop, so
no labelled frame is lost. Videos without boxes are treated as any other video.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.layouts.source import Faces
from openmarlin.data.manifest import Row, natural_key
from openmarlin.errors import InputError, VideoError
from openmarlin.face.crop import crop, marlin_square, to_crop
from openmarlin.face.landmarker import Face, Landmarker
from openmarlin.face.smooth import Floats, smooth
from openmarlin.face.stream import FaceCrop, face_stream
from openmarlin.video.reader import Frame

FRAMES_FOLDER, LABELS_SUFFIX = "frame_images_DB", ".labeled_faces.txt"
FPS = 24.0
"""Frames a second at which the authors cut the videos into pictures."""

_BOX_SIDE, _BOX_DROP = 1.11, 0.012
"""MARLIN square over a Viola-Jones box: its side (sd 0.08), and how many box heights it lies lower
(sd 0.02); measured with OpenCV's haarcascade_frontalface_default on 62 faces of 62 videos."""

_STRAY, _ZOOM = 0.5, math.log(1.6)  # a mesh further from the box is another face: sides, log sides
_BATCH = 16


def is_root(path: Path) -> bool:
    """Whether `path` is YouTube Faces: the folder above frame_images_DB, or that folder."""
    return path.is_dir() and (path.name == FRAMES_FOLDER or (path / FRAMES_FOLDER).is_dir())


def list_videos(root: Path) -> list[FrameFolder]:
    """All videos in natural order, grouped by subject.

    Raises:
        InputError: there are none.
    """
    frames = root if root.name == FRAMES_FOLDER else root / FRAMES_FOLDER
    videos = [
        FrameFolder(Row(video, group=subject.name), frames / f"{subject.name}{LABELS_SUFFIX}")
        for subject in sorted(filter(Path.is_dir, frames.iterdir()), key=natural_key)
        for video in sorted(filter(Path.is_dir, subject.iterdir()), key=natural_key)
    ]
    if not videos:
        raise InputError(f"{frames}: no SUBJECT/VIDEO folders in it; unpack the data set there")
    return videos


def read_labels(file: Path, video: str) -> dict[str, Floats]:
    """The boxes of one video: file name of a frame -> centre x, centre y, width, height.

    Raises:
        VideoError: a line that is not as the data set writes it.
    """
    boxes = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            try:
                *_, folder, name = row[0].split("\\")
                box = np.array([float(value) for value in row[2:6]])
                if len(box) != 4 or not (box[2:] > 0).all():
                    raise ValueError
            except (ValueError, IndexError):
                raise VideoError(
                    f"{file}, line {number}: not path,_,centre x,centre y,width,height,...; unpack "
                    "the data set again"
                ) from None
            if folder == video:
                boxes[name] = box
    return boxes


@dataclass(frozen=True)
class FrameFolder:
    """A video of the data set: a folder of frames."""

    row: Row
    boxes: Path

    @property
    def name(self) -> str:
        return f"{self.row.group}_{self.row.video.name}"

    @contextmanager
    def open(
        self, landmarker: Landmarker, *, size: int, margin: int, limit_s: float | None
    ) -> Iterator[Faces]:
        """See `data.layouts.source.Source.open`."""
        folder = self.row.video
        files = sorted(folder.glob("*.jpg"), key=natural_key)
        if limit_s is not None:
            files = files[: math.ceil(limit_s * FPS)]
        if not files:
            raise VideoError(f"{folder}: no frames (*.jpg) in this folder")
        boxes = read_labels(self.boxes, folder.name) if self.boxes.is_file() else {}
        bad: list[str] = []
        if boxes:
            labelled = [file for file in files if file.name in boxes]
            sightings = _look(labelled, boxes, landmarker, bad)
            ticks = _crops(sightings, size, margin)
        else:
            frames = ((tick, _frame(tick, image)) for _, tick, image in _images(files, bad))
            ticks = face_stream(frames, landmarker, size=size, margin=margin, fps=FPS)
        yield Faces(FPS, ticks, lambda: bad)


@dataclass(slots=True)
class _Sighting:
    """A labelled face: the square of its box, and its mesh where that was found."""

    file: Path
    tick: int
    square: Floats  # cx, cy, log side, angle
    face: Face | None


def _images(files: Iterable[Path], bad: list[str]) -> Iterator[tuple[Path, int, NDArray[np.uint8]]]:
    """File, tick and picture; ticks count from the first frame, as the names do."""
    first: int | None = None
    for index, file in enumerate(files):
        number = file.stem.rpartition(".")[2]
        tick = int(number) if number.isdigit() else index
        first = tick if first is None else first
        image = _picture(file)
        if image is None:
            bad.append(f"{file.name} cannot be read")
        else:
            yield file, tick - first, image


def _picture(file: Path) -> NDArray[np.uint8] | None:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    return None if image is None else np.asarray(image, np.uint8)


def _frame(tick: int, image: NDArray[np.uint8]) -> Frame:
    return Frame(tick, tick / FPS, image.shape[1], image.shape[0], lambda: image)


def _look(
    files: list[Path], boxes: dict[str, Floats], landmarker: Landmarker, bad: list[str]
) -> list[_Sighting]:
    """Look for the mesh at every box."""
    sightings: list[_Sighting] = []
    batch: list[tuple[Path, int, NDArray[np.uint8]]] = []

    def flush() -> None:
        labels = [boxes[file.name] for file, _, _ in batch]
        corners = [np.concatenate([b[:2] - b[2:] / 2, b[:2] + b[2:] / 2]) for b in labels]
        places = [[corner.astype(np.float32)] for corner in corners]
        faces = landmarker.follow([image for _, _, image in batch], places)
        for (file, tick, _), (cx, cy, width, height), (face,) in zip(
            batch, labels, faces, strict=True
        ):
            side = math.log(_BOX_SIDE * max(width, height))
            square = np.array([cx, cy + _BOX_DROP * height, side, 0.0])
            near = face if face is not None and _is_near(face, square) else None
            sightings.append(_Sighting(file, tick, square, near))
        batch.clear()

    for item in _images(files, bad):
        batch.append(item)
        if len(batch) == _BATCH:
            flush()
    if batch:
        flush()
    return sightings


def _measured(face: Face) -> Floats:
    cx, cy, side = marlin_square(face.box)
    return np.array([cx, cy, math.log(side), 0.0])


def _is_near(face: Face, square: Floats) -> bool:
    off = _measured(face) - square
    stray: float = np.hypot(off[0], off[1]) / math.exp(square[2])
    return stray < _STRAY and abs(off[2]) < _ZOOM


def _squares(sightings: list[_Sighting]) -> Floats:
    """Smoothed squares (n, 4): of the meshes, and of the boxes corrected by what those differ."""
    boxes = np.stack([s.square for s in sightings])
    squares = np.stack([s.square if s.face is None else _measured(s.face) for s in sightings])
    meshed = np.array([s.face is not None for s in sightings])
    if meshed.any():
        scale = np.exp(boxes[:, 2:3]) * [1, 1, 0, 0] + [0, 0, 1, 1]
        bias = np.median(((squares - boxes) / scale)[meshed], axis=0)
        squares[~meshed] += bias * scale[~meshed]
    ticks = np.array([s.tick for s in sightings])
    stretches = np.split(np.arange(len(ticks)), np.flatnonzero(np.diff(ticks) != 1) + 1)
    return np.concatenate(
        [
            np.stack([smooth(ticks[part] / FPS, squares[part], ticks[i] / FPS) for i in part])
            for part in stretches
        ]
    )


def _crops(
    sightings: list[_Sighting], size: int, margin: int
) -> Iterator[tuple[int, float, list[FaceCrop]]]:
    """Cut what was seen; pictures are read a second time, so that none has to be kept."""
    if not sightings:
        return
    whole = size + 2 * margin
    for sighting, (cx, cy, log_side, _) in zip(sightings, _squares(sightings), strict=True):
        (_, _, image), *_ = _images([sighting.file], [])
        side, face = math.exp(log_side), sighting.face
        wide, time_s = side * whole / size, sighting.tick / FPS
        half = side / 2
        one = FaceCrop(
            track=0,
            tick=sighting.tick,
            time_s=time_s,
            image=crop(image, cx, cy, wide, size=whole),
            box=np.array([cx - half, cy - half, cx + half, cy + half], np.float32),
            score=0.0 if face is None else face.score,
            interpolated=face is None,
            points=None if face is None else to_crop(face.points, cx, cy, wide, 0.0, whole),
        )
        yield sighting.tick, time_s, [one]
