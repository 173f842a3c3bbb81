"""Which part of the face each pixel of a crop shows: the 11 LaPa classes (`openmarlin.regions`).

The paper's masks come from FaRL, a parser trained on LaPa. The default here needs no further
weights: polygons of the face mesh, and a person mask for the hair. `OnnxParser` puts any trained
parser in its place. Left and right are the person's own: class 2, the right brow, is on the left
of a picture that is not mirrored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import FaceError
from openmarlin.face.nets import PERSON_PX, FaceNets, Net, compile_model
from openmarlin.native import openvino_core
from openmarlin.regions import CLASSES

if TYPE_CHECKING:
    import openvino as ov
else:
    from openmarlin.native import ov  # silent: see there

Labels = NDArray[np.uint8]

# Rings of mesh points. Oval, eyes, brows and lips: mediapipe's face_mesh_connections.py
# (Apache-2.0); the nose: from the root along its sides around the nostrils.
# fmt: off
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
         152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_INNER_LIP_TOP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_INNER_LIP_BOTTOM = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_PARTS = {
    "nose": (168, 193, 245, 188, 217, 209, 49, 129, 64, 98, 97, 2,
             326, 327, 294, 358, 279, 429, 437, 412, 465, 417),
    "inner_mouth": _INNER_LIP_TOP + _INNER_LIP_BOTTOM[-2:0:-1],
    "upper_lip": (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, *_INNER_LIP_TOP[::-1]),
    "lower_lip": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, *_INNER_LIP_BOTTOM[::-1]),
    "right_brow": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "left_brow": (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "right_eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "left_eye": (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
}
"""In drawing order: later ones lie on top, so closed lips leave no inner mouth."""
# fmt: on

_FOREHEAD, _CHIN = 10, 152
_HAIR_FROM = 0.3  # of the way from chin to forehead: beside the face, hair begins here
_PERSON = 0.5
_SHIFT = 4  # fractional bits of polygon corners
_BATCH = 16


class RegionParser(Protocol):
    """Anything that tells the parts of a face apart."""

    def __call__(self, crops: NDArray[np.uint8], points: NDArray[np.float32]) -> Labels:
        """Label face crops.

        Args:
            crops: uint8 RGB (T, S, S, 3), S = 224 everywhere in this project.
            points: (T, 478, 2) mesh points in crop pixels; NaN where there is none.

        Returns:
            (T, S, S) uint8, class ids of `openmarlin.regions.CLASSES`.
        """
        ...


class MeshParser:
    """Regions from the mesh; hair is the person mask above and beside the oval of the face.

    A frame without points is background all over.

    Args:
        nets: where the person mask comes from; share a landmarker's to compile it once.
    """

    def __init__(self, nets: FaceNets | None = None) -> None:
        self._nets = nets or FaceNets()

    def __call__(self, crops: NDArray[np.uint8], points: NDArray[np.float32]) -> Labels:
        labels = np.zeros(crops.shape[:3], np.uint8)
        meshed = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
        for start in range(0, len(meshed), _BATCH):
            part = meshed[start : start + _BATCH]
            for i, person in zip(part, person_masks(crops[part], self._nets), strict=True):
                labels[i] = mesh_labels(points[i], person)
        return labels


def person_masks(crops: NDArray[np.uint8], nets: FaceNets) -> NDArray[np.float32]:
    """Probability that a pixel belongs to a person: crops (T, S, S, 3) -> (T, S, S)."""
    size = crops.shape[1]
    pictures = np.stack([cv2.resize(crop, (PERSON_PX, PERSON_PX)) for crop in crops])
    masks = nets.person(pictures.astype(np.uint8, copy=False))[0][..., 0]
    return np.stack([cv2.resize(mask, (size, size)) for mask in masks]).astype(np.float32)


def mesh_labels(points: NDArray[np.float32], person: NDArray[np.float32]) -> Labels:
    """Draw one face: mesh points (478, 2) in pixels over a person mask (S, S) in [0, 1]."""
    labels = np.zeros(person.shape, np.uint8)
    labels[(person > _PERSON) & (_height(points, person.shape) > _HAIR_FROM)] = CLASSES.index(
        "hair"
    )
    _fill(labels, points, _OVAL, CLASSES.index("skin"))
    for name, ring in _PARTS.items():
        _fill(labels, points, ring, CLASSES.index(name))
    return labels


def _height(points: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """How high in the face each pixel lies, along the face's own axis: chin 0, forehead 1."""
    axis = points[_FOREHEAD] - points[_CHIN]
    axis = axis / max(float(axis @ axis), 1.0)
    y, x = np.ogrid[: shape[0], : shape[1]]
    chin = points[_CHIN]
    return np.asarray((x + 0.5 - chin[0]) * axis[0] + (y + 0.5 - chin[1]) * axis[1], np.float32)


def _fill(labels: Labels, points: NDArray[np.float32], ring: tuple[int, ...], label: int) -> None:
    # OpenCV counts from pixel centres; pixel i of a crop covers [i, i + 1).
    corners = np.round((points[list(ring)] - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(labels, [corners], label, cv2.LINE_8, _SHIFT)


class OnnxParser:
    """A trained parser from an ONNX file, run by OpenVINO.

    It must map pictures (N, 3, H, W) to scores (N, 11, H', W') of the LaPa classes in the order of
    `openmarlin.regions.CLASSES`. Crops are resized to H x W, scaled as (x / 255 - mean) / std, and
    the scores are resized back before the best class is taken. Points are not used.

    Args:
        path: the .onnx file.
        mean, std: per channel, for colours in [0, 1]; the defaults leave them there.
        size: side of the network's input where the file leaves it open.
        threads: CPU threads a call may use.

    Raises:
        FaceError: the file cannot be read, or is not such a network.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
        size: int = 448,
        threads: int = 1,
    ) -> None:
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
        if not Path(path).is_file():
            raise FaceError(f"region parser {path} does not exist: give the path of an .onnx file")
        try:
            model = openvino_core().read_model(str(path))
            self._output = _scores_index(model)
            self._size, self._fixed = _settle_input(model, size)
            self._net = Net(compile_model(model, "f32", threads))
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise FaceError(
                f"region parser {path} cannot be used ({reason}): it must map (N, 3, H, W) to "
                f"(N, {len(CLASSES)}, H, W)"
            ) from None

    def __call__(self, crops: NDArray[np.uint8], points: NDArray[np.float32]) -> Labels:
        del points
        size = crops.shape[1]
        labels = np.zeros(crops.shape[:3], np.uint8)
        step = self._fixed or _BATCH
        for start in range(0, len(crops), step):
            part = [self._picture(crop) for crop in crops[start : start + step]]
            filled = part + part[-1:] * (self._fixed - len(part))  # no more where batches are free
            scores = self._net(np.stack(filled))[self._output]
            for i, planes in enumerate(scores[: len(part)], start):
                full = cv2.resize(planes.transpose(1, 2, 0), (size, size))
                labels[i] = full.argmax(axis=-1)
        return labels

    def _picture(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = self._size
        resized = cv2.resize(crop, (width, height)).astype(np.float32) / 255
        return np.ascontiguousarray(((resized - self._mean) / self._std).transpose(2, 0, 1))


def _scores_index(model: ov.Model) -> int:
    """Which output holds the class scores: the first with 4 dimensions and 11 channels."""
    for index, output in enumerate(model.outputs):
        shape = output.get_partial_shape()
        if shape.rank.is_static and len(shape) == 4:
            channels = shape[1]
            if channels.is_dynamic or channels.get_length() == len(CLASSES):
                return index
    raise ValueError(f"no output has {len(CLASSES)} channels")


def _settle_input(model: ov.Model, size: int) -> tuple[tuple[int, int], int]:
    """Fix the input's height and width where they are open; tell them and the batch (0: free)."""
    if len(model.inputs) != 1:
        raise ValueError(f"it has {len(model.inputs)} inputs")
    shape = model.input().get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4 or shape[1] not in (ov.Dimension(3), -1):
        raise ValueError(f"its input is {shape}")
    height, width = (size if d.is_dynamic else d.get_length() for d in (shape[2], shape[3]))
    batch = 0 if shape[0].is_dynamic else shape[0].get_length()
    model.reshape([batch or -1, 3, height, width])
    return (height, width), batch
