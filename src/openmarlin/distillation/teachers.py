"""Nets that teach: how each is shown a face, and what it says of it.

Teachers are files of the user's, OpenVINO IR (`NAME.xml` and `NAME.bin` in one folder); none is a
part of this package. All take float32 RGB or grey pictures (B, S, S, C) of 0 to 255, cut as the
net was trained: from the points of the 478-point mesh onto a template, or as a level square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.face.crop import crop
from openmarlin.face.nets import Net
from openmarlin.native import openvino_core

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Points of the mesh in the picture's left eye, its right eye, and where templates want them.
_LEFT_EYE, _RIGHT_EYE = (33, 133), (362, 263)
_ARCFACE_POINTS = (_LEFT_EYE, _RIGHT_EYE, (1,), (61,), (291,))
_ARCFACE = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
_DLIB_POINTS = ((263,), (362,), (33,), (133,), (2,))
_DLIB = ((0.8596, 0.2135), (0.6461, 0.2290), (0.1206, 0.2137), (0.3341, 0.2291), (0.4901, 0.6278))
_DLIB_PADDING = 0.25  # of the face, on each side of the chip

Template = tuple[tuple[tuple[int, ...], ...], NDArray[np.float64]]
"""Groups of points of the mesh, and where the middle of each goes, in parts of the chip's side."""

ARCFACE: Template = (_ARCFACE_POINTS, np.array(_ARCFACE) / 112)
DLIB: Template = (
    _DLIB_POINTS,
    (np.array(_DLIB) + _DLIB_PADDING) / (1 + 2 * _DLIB_PADDING),
)


@dataclass(frozen=True)
class Teacher:
    """One that this project knows how to ask.

    Attributes:
        size: side of its picture.
        says: names of its outputs, in the order of the net's.
        template: where points of the mesh go; None for a level square about the mesh.
        scale: of that square, in longer sides of the mesh.
        grey: its picture has one channel.
    """

    size: int
    says: tuple[str, ...]
    template: Template | None = None
    scale: float = 1.0
    grey: bool = False

    def chip(self, image: Image, points: Floats) -> Floats:
        """The picture that it is shown: float32 (S, S, C).

        Args:
            image: uint8 RGB (H, W, 3).
            points: (478, 2+) mesh points in it.
        """
        if self.template is None:
            cut = _level_square(image, points, self.scale, self.size)
        else:
            cut = _on_template(image, points, self.template, self.size)
        if self.grey:
            cut = np.asarray(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None]
        return cut.astype(np.float32)


TEACHERS = {
    "dlib_face_recognition": Teacher(150, ("dlib",), DLIB),
    "mobileface": Teacher(112, ("mobileface",), ARCFACE),
    "face_expression": Teacher(112, ("expression_features", "expression"), scale=1.1),
    "mini_xception_emotion": Teacher(64, ("emotion",), scale=1.05, grey=True),
}
"""By the name of its file. What they are: docs/distil.md."""

PROBABILITIES = ("expression", "emotion")
"""Outputs that are probabilities of classes; the others are embeddings."""


class TeacherNets:
    """The teachers of a folder, loaded.

    Args:
        folder: holds the files of those that are to teach; None for nobody.

    Raises:
        InputError: no known teacher is there, or one cannot be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self.nets = {} if folder is None else {name: _net(path) for name, path in _files(folder)}

    def ask(self, images: list[Image], points: list[Floats]) -> dict[str, Floats]:
        """What all of them say of faces: arrays (B, values) by the name of the output."""
        answers: dict[str, Floats] = {}
        for name, net in self.nets.items():
            teacher = TEACHERS[name]
            pairs = zip(images, points, strict=True)
            outputs = net(np.stack([teacher.chip(*pair) for pair in pairs]))
            answers |= zip(teacher.says, outputs, strict=True)
        return answers


def teacher_files(folder: Path | None) -> list[Path]:
    """The files that a measurement with this folder depends on."""
    if folder is None:
        return []
    return [file for _, path in _files(folder) for file in (path, path.with_suffix(".bin"))]


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = [(name, folder / f"{name}.xml") for name in TEACHERS]
    found = [(name, path) for name, path in found if path.is_file()]
    if not found:
        raise InputError(
            f"{folder}: no teacher there; OpenVINO files of one of these names are needed: "
            f"{', '.join(f'{name}.xml' for name in TEACHERS)}"
        )
    return found


def _net(path: Path) -> Net:
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    try:
        return Net(openvino_core().compile_model(str(path), "CPU", options))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: not a network that OpenVINO reads ({reason})") from None


def _on_template(image: Image, points: Floats, template: Template, size: int) -> Image:
    """The similarity that brings points closest to their places (Umeyama 1991), applied."""
    groups, places = template
    source = np.stack([points[list(group), :2].mean(axis=0) for group in groups])
    # x' = a x - b y + c, y' = b x + a y + d
    rows = [[(x, -y, 1, 0), (y, x, 0, 1)] for x, y in source]
    a, b, c, d = np.linalg.lstsq(
        np.array(rows).reshape(-1, 4), (places * size).ravel(), rcond=None
    )[0]
    # Pixel centres lie at +0.5 in the mesh's coordinates, at whole numbers in OpenCV's.
    matrix = np.array([[a, -b, c], [b, a, d]])
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(cv2.warpAffine(image, matrix, (size, size)), np.uint8)


def _level_square(image: Image, points: Floats, scale: float, size: int) -> Image:
    """A square about the mesh, turned so that the eyes are level."""
    left, right = (points[list(eye), :2].mean(axis=0) for eye in (_LEFT_EYE, _RIGHT_EYE))
    angle = math.atan2(right[1] - left[1], right[0] - left[0])
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    cx, cy = (low + high) / 2
    return crop(image, float(cx), float(cy), scale * float((high - low).max()), angle, size)
