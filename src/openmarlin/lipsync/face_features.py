"""Features of faces, between which `lipsync.fid` measures distances."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.data.manifest import Row
from openmarlin.errors import ModelError
from openmarlin.face.landmarker import Landmarker
from openmarlin.files import file_sha256
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.talkers import read_talkers
from openmarlin.model.io import load
from openmarlin.model.runner import EncoderRunner
from openmarlin.native import openvino_core
from openmarlin.video.picture import Image
from openmarlin.video.reader import VideoReader

Floats = NDArray[np.float32]

_ENCODER = "openmarlin_vit_tiny"  # whatever the default is: distances must stay comparable
_STRETCH = 160  # ticks
_INCEPTION_PX = 299
_EVERY = TICK_RATE // 5  # pictures that are looked at one by one: five a second


class FaceNet(Protocol):
    """What turns faces into features.

    Attributes:
        name: of the network, and what it sees.
        digest: the first 12 hex digits of the sha256 of its weights; empty for what ships.
    """

    name: str
    digest: str

    def __call__(self, faces: NDArray[np.uint8]) -> Floats:
        """uint8 RGB (T, 224, 224, 3), 25 a second, MARLIN's square -> (n, D)."""


class EncoderNet:
    """The encoder that ships: a vector for each 16 frames in a row."""

    def __init__(self) -> None:
        self._run = EncoderRunner(load(_ENCODER))
        self.digest = ""
        self.name = f"{_ENCODER}, clips of {self._run.config.frames} frames"

    def __call__(self, faces: NDArray[np.uint8]) -> Floats:
        length, side = self._run.config.frames, self._run.config.image_size
        count = len(faces) // length
        pictures = [_resized(face, side) for face in faces[: count * length]]
        clips = np.array(pictures, np.uint8).reshape(count, length, side, side, 3)
        return self._run(clips)


class OnnxNet:
    """A network of pictures (N, 3, H, W) in [-1, 1] -> features, such as Inception's pool3.

    Args:
        path: the .onnx file.

    Raises:
        ModelError: it is none, or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"{path.name}, 5 pictures a second"
        if path.suffix.lower() != ".onnx" or not path.is_file():
            raise ModelError(
                f"{path}: is no .onnx file; convert other weights with torch.onnx.export, with "
                "the pooled features as the output"
            )
        try:
            self.digest = file_sha256(path)[:12]
            model = openvino_core().read_model(str(path))
            shape = model.input().get_partial_shape()
            sides = [d for d in list(shape)[2:] if d.is_static]
            self._side = sides[0].get_length() if sides else _INCEPTION_PX
            model.reshape([1, 3, self._side, self._side])
            self._net = openvino_core().compile_model(
                model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"{path}: cannot be used ({reason}); it must map pictures (N, 3, H, W) to features"
            ) from None

    def __call__(self, faces: NDArray[np.uint8]) -> Floats:
        rows = [self._features(_resized(face, self._side)) for face in faces[::_EVERY]]
        return np.stack(rows)

    def _features(self, face: Image) -> Floats:
        picture = face.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        return np.asarray(self._net(picture)[0], np.float32).ravel()


def face_features(
    row: Row, net: FaceNet, landmarker: Landmarker, *, limit_s: float | None = None
) -> Floats:
    """Features (n, D) of all faces of a video, (0, 0) where there are none.

    Raises:
        VideoError: the video cannot be read.
    """
    with VideoReader(row.video) as reader:
        frames = row.frames(reader, limit_s)
        stretches = read_talkers(frames, landmarker, _whole, margin=0.0, longest=_STRETCH)
        parts = [net(stretch.views.astype(np.uint8, copy=False)) for stretch in stretches]
    parts = [part for part in parts if len(part)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _whole(image: Image, points: Floats) -> Image:
    del points
    return image


def _resized(face: Image, side: int) -> Image:
    if face.shape[0] == side:
        return face
    return np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
