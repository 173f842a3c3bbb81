"""Faces that exist only as meshes, and a landmarker that sees them: for tests of arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from openmarlin.face.landmarker import Face
from openmarlin.video.reader import Frame


def _template() -> np.ndarray:
    """478 points in [-0.5, 0.5]: width 0.8, height 1, with eyes, forehead and chin in place."""
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 478), np.sqrt(rng.uniform(0, 1, 478))
    points = np.stack([0.4 * radius * np.cos(angle), 0.5 * radius * np.sin(angle)], axis=1)
    points[[33, 263, 10, 152]] = [[-0.3, -0.1], [0.3, -0.1], [0, -0.5], [0, 0.5]]
    points[[234, 454]] = [[-0.4, 0], [0.4, 0]]
    return np.concatenate([points, np.zeros((478, 1))], axis=1)


TEMPLATE = _template()


def make_face(
    cx: float, cy: float, height: float, *, roll: float = 0.0, score: float = 0.99, noise: float = 0
) -> Face:
    """An upright or rolled face whose mesh is centred at (cx, cy); noise in pixels."""
    cos, sin = np.cos(roll), np.sin(roll)
    points = TEMPLATE * height @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    points[:, :2] += (cx, cy)
    if noise:
        rng = np.random.default_rng(int(abs(cx * 7919 + cy * 104729) * 100) % 2**32)
        points += rng.normal(0, noise, points.shape)
    return Face(points.astype(np.float32), score)


class Scene:
    """A video whose faces are known. Frame n shows `faces[n]`; it is its own landmarker.

    Args:
        faces: for every frame its faces.
        times_s: when frames are shown.
        backdrop: n -> seed of the picture behind (another seed is another shot).
        size: width, height.

    Attributes:
        searched, followed: how many frames were searched, how many faces followed.
    """

    def __init__(
        self,
        faces: Sequence[list[Face]],
        *,
        fps: float = 15.0,
        backdrop: Callable[[int], int] = lambda n: 0,
        size: tuple[int, int] = (320, 180),
    ) -> None:
        self.faces, self.fps, self.backdrop, self.size = faces, fps, backdrop, size
        self.searched = self.followed = self.given = 0

    def frames(self) -> list[Frame]:
        return [self.frame(n) for n in range(len(self.faces))]

    def frame(self, n: int) -> Frame:
        return Frame(n, n / self.fps, *self.size, lambda: self._picture(n))

    def ticks(self):
        for n in range(len(self.faces)):
            self.given += 1
            yield n, self.frame(n)

    def search(self, image: np.ndarray) -> list[Face]:
        self.searched += 1
        return list(self.faces[_number(image)])

    def follow(self, images, boxes) -> list[list[Face | None]]:
        result = []
        for image, row in zip(images, boxes, strict=True):
            self.followed += len(row)
            result.append([self._nearest(self.faces[_number(image)], box) for box in row])
        return result

    @staticmethod
    def _nearest(faces: list[Face], box) -> Face | None:
        """The face nearest to a box, if it lies within a width of it."""
        centre, width = (box[:2] + box[2:]) / 2, box[2] - box[0]
        far = [np.abs((f.box[:2] + f.box[2:]) / 2 - centre).max() / width for f in faces]
        return faces[int(np.argmin(far))] if faces and min(far) < 1 else None

    def _picture(self, n: int) -> np.ndarray:
        rng = np.random.default_rng(self.backdrop(n))
        coarse = rng.integers(30, 226, (6, 8, 3), dtype=np.uint8)
        image = np.kron(
            coarse, np.ones((-(-self.size[1] // 6), -(-self.size[0] // 8), 1), np.uint8)
        )
        image = np.ascontiguousarray(image[: self.size[1], : self.size[0]])
        image[0, 0] = (n >> 8, n & 255, 7)
        return image


def _number(image: np.ndarray) -> int:
    return int(image[0, 0, 0]) << 8 | int(image[0, 0, 1])
