"""A few small crops of some windows of every video, kept so that a report can be made later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from openmarlin.files import atomic

THUMB_PX = 112
THUMBS_A_WINDOW = 4
WINDOWS_A_VIDEO = 12
_JPEG_QUALITY = 85


@dataclass(slots=True)
class WindowThumb:
    """Crops of one face in one window.

    Attributes:
        video: its path; in a report with the part (`Row.title`).
        images: uint8 RGB (k, 112, 112, 3), spread over the window.
        points: mesh (k, P, 2) in thumb pixels, NaN in frames without one; None for no mesh at all.
    """

    video: str
    face: int
    window: int
    images: NDArray[np.uint8]
    points: NDArray[np.float32] | None = None


def make_thumb(
    video: str,
    face: int,
    window: int,
    pixels: NDArray[np.uint8],
    points: Sequence[NDArray[np.float32] | None],
) -> WindowThumb:
    """Thumbs of a clip (T, S, S, 3) and the meshes (P, 2) known for its frames."""
    chosen = np.linspace(0, len(pixels) - 1, THUMBS_A_WINDOW).round().astype(int)
    size = (THUMB_PX, THUMB_PX)
    images = np.stack([cv2.resize(pixels[i], size, interpolation=cv2.INTER_AREA) for i in chosen])
    meshes: list[NDArray[np.float32] | None] = [points[i] if points else None for i in chosen]
    shape = next((mesh.shape for mesh in meshes if mesh is not None), None)
    if shape is None:
        return WindowThumb(video, face, window, images)
    scale = THUMB_PX / pixels.shape[1]
    gap = np.full(shape, np.nan, np.float32)
    scaled = np.stack([gap if mesh is None else mesh * scale for mesh in meshes])
    return WindowThumb(video, face, window, images, scaled.astype(np.float32))


class ThumbKeeper:
    """Thumbs of at most `WINDOWS_A_VIDEO` rows of one video, evenly spread whatever its length.

    Keeps every `step`-th row; when too many are held, every other one goes and the step doubles.
    """

    def __init__(self) -> None:
        self.thumbs: list[WindowThumb] = []
        self._step, self._seen = 1, 0

    def wants_next(self) -> bool:
        """Count one more row, and say whether its thumb is to be offered to `keep`."""
        due = self._seen % self._step == 0
        self._seen += 1
        return due

    def keep(self, thumb: WindowThumb) -> None:
        self.thumbs.append(thumb)
        if len(self.thumbs) > WINDOWS_A_VIDEO:
            self.thumbs = self.thumbs[::2]
            self._step *= 2


def save_thumbs(path: Path, thumbs: Sequence[WindowThumb]) -> None:
    """Write the thumbs of one video as one .npz of JPEG strips (atomically)."""
    strips = [_encode(thumb.images) for thumb in thumbs]
    arrays: dict[str, np.ndarray] = {
        "video": np.array([thumb.video for thumb in thumbs], dtype=np.str_),
        "face": np.array([thumb.face for thumb in thumbs], dtype=np.int32),
        "window": np.array([thumb.window for thumb in thumbs], dtype=np.int32),
        "jpeg": np.concatenate(strips) if strips else np.zeros(0, np.uint8),
        "jpeg_bytes": np.array([len(strip) for strip in strips], dtype=np.int64),
    }
    for i, thumb in enumerate(thumbs):
        if thumb.points is not None:
            arrays[f"points_{i}"] = thumb.points.astype(np.float16)
    with atomic(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_thumbs(path: Path) -> list[WindowThumb]:
    """Read what `save_thumbs` wrote (JPEG is lossy, points are rounded to half precision)."""
    with np.load(path, allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["jpeg_bytes"])
        strips = np.split(arrays["jpeg"], ends[:-1]) if len(ends) else []
        return [
            WindowThumb(
                str(arrays["video"][i]),
                int(arrays["face"][i]),
                int(arrays["window"][i]),
                _decode(strip),
                arrays[f"points_{i}"].astype(np.float32) if f"points_{i}" in arrays else None,
            )
            for i, strip in enumerate(strips)
        ]


def _encode(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(k, 112, 112, 3) RGB -> the bytes of one JPEG with the images side by side."""
    strip = cv2.cvtColor(np.hstack(list(images)), cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return np.asarray(cv2.imencode(".jpg", strip, quality)[1], np.uint8).reshape(-1)


def _decode(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = cv2.imdecode(strip, cv2.IMREAD_COLOR)
    assert image is not None, "a strip that `_encode` wrote"
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return np.stack(np.split(rgb, rgb.shape[1] // THUMB_PX, axis=1))
