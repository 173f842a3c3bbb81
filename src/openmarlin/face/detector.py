"""Find faces of any size in a frame: BlazeFace over a pyramid, everything after it pure numpy.

BlazeFace (short range; Bazarevsky et al., arXiv 1907.05047) answers on a grid of anchors of two
strides. It finds faces of about 20 to 110 of its own pixels, so a frame is shown to it at three
scales. As it is fully convolutional, each scale is one call on the whole picture: no tiles, no
seams, no face cut in two. The canvases come in few shapes, because each is compiled by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.face.nets import FaceNets

LEVELS_PX = {128: (128,), 256: (256,), 768: (448, 576, 768)}
"""Longer side of the frame at each scale -> what its shorter side is padded to (16:9, 4:3, 1:1).
Faces of 24 px are found safely, so 40 px in 1280x720 (1/32 of the longer side)."""

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3

_STRIDES = ((8, 2), (16, 6))  # stride in pixels, anchors a cell
_MAX_ENLARGED = 2.4  # a scale that enlarges the frame more would show nothing new


@dataclass(frozen=True, slots=True)
class Detections:
    """N detections.

    Attributes:
        scores: (N,) in [0, 1].
        boxes: (N, 4) x1, y1, x2, y2, from brow to chin, pixels.
        keypoints: (N, 6, 2) right eye, left eye, nose tip, mouth, right ear, left ear of the
            person, pixels.
    """

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Detections:
        return Detections(self.scores[index], self.boxes[index], self.keypoints[index])

    def moved(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Detections:
        """The same detections in other coordinates: pixels * scale + (dx, dy)."""
        shift = np.array([dx, dy], np.float32)
        return Detections(
            self.scores,
            (self.boxes * scale + np.tile(shift, 2)).astype(np.float32),
            (self.keypoints * scale + shift).astype(np.float32),
        )


def detect(image: NDArray[np.uint8], nets: FaceNets, *, min_score: float = MIN_SCORE) -> Detections:
    """All faces of a frame, best first, each once.

    Args:
        image: uint8 RGB (H, W, 3).
    """
    detections = []
    height, width = image.shape[:2]
    for level in reversed(levels(max(height, width))):  # each scale is made from the finer one
        scale = level / max(height, width)
        image = _resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = _canvas(image, level)
        detections += [
            d.moved(1 / scale) for d in detect_batch(canvas[None], nets, min_score=min_score)
        ]
    return suppress(join(detections))


def detect_batch(
    pictures: NDArray[np.uint8], nets: FaceNets, *, min_score: float = MIN_SCORE
) -> list[Detections]:
    """Faces of about 20 to 120 px in each of (B, H, W, 3) pictures, sides multiples of 16."""
    count, height, width = pictures.shape[:3]
    regressors, logits = nets.detector(height, width)(pictures)
    centres = anchors(height, width)
    return [
        suppress(decode(rows, scores, centres, min_score))
        for rows, scores in zip(
            _unbatch(regressors, count, height, width),
            _unbatch(logits, count, height, width),
            strict=True,
        )
    ]


def levels(long_side: int) -> list[int]:
    """The scales at which a frame is worth looking at: the first, and those with more detail."""
    first, *finer = LEVELS_PX
    return [first, *(level for level in finer if level <= _MAX_ENLARGED * long_side)]


@lru_cache(maxsize=32)
def anchors(height: int, width: int) -> NDArray[np.float32]:
    """Centres (A, 2) of the anchors of a picture, in the order of the network's outputs."""
    grids = []
    for stride, repeats in _STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        grids.append(np.repeat(cells, repeats, axis=0))
    return np.concatenate(grids).astype(np.float32)


def decode(
    regressors: NDArray[np.float32],
    logits: NDArray[np.float32],
    centres: NDArray[np.float32],
    min_score: float = MIN_SCORE,
) -> Detections:
    """Network outputs -> detections that reach `min_score`.

    Args:
        regressors: (A, 16) offsets in pixels from the anchor: box centre, then box width and
            height, then six key points.
        logits: (A, 1).
        centres: (A, 2) from `anchors`.
    """
    keep = logits[:, 0] >= np.log(min_score / (1 - min_score))
    pairs = regressors[keep].reshape(-1, 8, 2)
    scores = 1 / (1 + np.exp(-logits[keep, 0]))
    middle, half = pairs[:, 0] + centres[keep], pairs[:, 1] / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    return Detections(scores, boxes, pairs[:, 2:] + centres[keep, None])


def suppress(detections: Detections, max_overlap: float = MAX_OVERLAP) -> Detections:
    """Weighted non-maximum suppression: overlapping detections become their weighted mean.

    The mean over the many anchors that see a face is steadier than the best of them (BlazeFace,
    section 3.4). The result is sorted, best first.
    """
    rest = np.argsort(-detections.scores, kind="stable")
    merged = []
    while len(rest):
        same = overlaps(detections.boxes[rest[0]], detections.boxes[rest]) > max_overlap
        same[0] = True
        group = detections[rest[same]]
        weights = group.scores / group.scores.sum()
        merged.append(
            Detections(
                group.scores[:1],
                np.einsum("n,nk->k", weights, group.boxes)[None],
                np.einsum("n,nkc->kc", weights, group.keypoints)[None],
            )
        )
        rest = rest[~same]
    return join(merged)


def overlaps(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Intersection over union of one box (4,) with boxes (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    own = np.prod(np.clip(box[2:] - box[:2], 0, None))
    return np.asarray(common / np.maximum(own + area - common, 1e-9), dtype=np.float32)


def join(parts: list[Detections]) -> Detections:
    """Concatenate; no parts, no detections."""
    return Detections(
        np.concatenate([np.zeros(0, np.float32), *(p.scores for p in parts)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(p.boxes for p in parts)]),
        np.concatenate([np.zeros((0, 6, 2), np.float32), *(p.keypoints for p in parts)]),
    )


def _unbatch(
    output: NDArray[np.float32], count: int, height: int, width: int
) -> list[NDArray[np.float32]]:
    """(1, B*A, k) -> B arrays (A, k).

    The graph flattens the two strides with a fixed leading 1, so a batch comes out as all
    pictures' fine anchors followed by all pictures' coarse ones.
    """
    rows = output.reshape(-1, output.shape[-1])
    (fine, per_fine), _ = _STRIDES
    split = count * (height // fine) * (width // fine) * per_fine
    parts = (rows[:split].reshape(count, -1, rows.shape[1]), rows[split:])
    return list(np.concatenate([parts[0], parts[1].reshape(count, -1, rows.shape[1])], axis=1))


def _resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    # Bilinear sampling reads every pixel up to a shrinking of 2; averaging takes 5 times longer.
    how = cv2.INTER_AREA if image.shape[1] > 2 * width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _canvas(image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Pad a picture with black, on the right and below, to a canvas of that level."""
    height, width = image.shape[:2]
    short = next(side for side in LEVELS_PX[level] if side >= min(height, width))
    canvas = np.zeros((level, short, 3) if height > width else (short, level, 3), np.uint8)
    canvas[:height, :width] = image
    return canvas
