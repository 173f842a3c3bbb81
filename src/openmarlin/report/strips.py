"""Crops of a window as one small picture, with its mesh as a path that can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openmarlin.face.mesh import N_POINTS
from openmarlin.report.page import data_address, jpeg

_JPEG_QUALITY = 80
_MARGIN = 0.05  # of the crop: a chin just below its edge is drawn on the edge
_UNITS = 2  # path units a pixel: half-pixel steps, in whole numbers

# Outlines among MediaPipe's 478 points (face_mesh_connections.py, Apache-2.0); True: closed.
_OUTLINES: tuple[tuple[bool, tuple[int, ...]], ...] = (
    (True, (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
            152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)),
    (True, (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40,
            185)),
    (True, (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80,
            191)),
    (True, (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)),
    (True, (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)),
    (True, (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)),
    (True, (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)),
    (False, (168, 6, 197, 195, 5, 4)),
    (False, (98, 97, 2, 326, 327)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strip:
    """Crops side by side: a data address, its size in pixels, the crops in it, the mesh paths."""

    src: str
    width: int
    height: int
    count: int
    dots: str
    lines: str
    units: int = _UNITS


def make_strip(
    images: npt.NDArray[np.uint8], points: npt.NDArray[np.float32] | None, limit: int
) -> Strip:
    """A strip of at most `limit` of the images (k, S, S, 3), with their points (k, P, 2)."""
    chosen = spread(len(images), limit)
    images = images[chosen]
    count, height, width = images.shape[:3]
    dots, lines = ("", "") if points is None else _mesh_paths(points[chosen], width, height)
    src = data_address(jpeg(np.hstack(list(images)), _JPEG_QUALITY))
    return Strip(src, width * count, height, count, dots, lines)


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of the indices 0 .. count-1, first and last included, evenly spread."""
    if count <= limit:
        return list(range(count))
    return sorted({int(i) for i in np.linspace(0, count - 1, limit).round()})


def _mesh_paths(points: npt.NDArray[np.float32], width: int, height: int) -> tuple[str, str]:
    """The points inside their crops as dots (strokes of no length), and the outlines they draw."""
    dots, lines = [], []
    size = np.array([width, height])
    for i, crop in enumerate(points):
        if not np.isfinite(crop).all():
            continue  # a frame without a mesh of its own
        seen = (np.abs(crop - size / 2) <= (0.5 + _MARGIN) * size).all(axis=1)
        shifted = np.clip(crop, 0, size) + np.array([i * width, 0])
        units = (shifted * _UNITS).round().astype(int)
        dots += [f"M{x} {y}h0" for x, y in np.unique(units[seen], axis=0)]
        if len(crop) == N_POINTS:
            kept = [(closed, list(line)) for closed, line in _OUTLINES if seen[list(line)].all()]
            lines += [_path(units[line], closed) for closed, line in kept]
    return "".join(dots), "".join(lines)


def _path(corners: npt.NDArray[np.int_], closed: bool) -> str:
    """A line through `corners` (n, 2) in relative steps."""
    (x, y), steps = corners[0], np.diff(corners, axis=0)
    return f"M{x} {y}l" + " ".join(f"{dx} {dy}" for dx, dy in steps) + ("z" if closed else "")
