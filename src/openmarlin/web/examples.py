"""Clips for those who have none at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from openmarlin.video.reader import VideoReader

_INSIDE = Path(__file__).parent / "clips"  # of a wheel
_CHECKOUT = Path(__file__).parents[3] / "examples" / "clips"
_CLIPS = {
    "single_face.mp4": "One face",
    "two_people.mp4": "Two people",
    "face_then_none.mp4": "Face leaves",
}


@dataclass(frozen=True)
class Example:
    """A clip that comes with the package."""

    path: Path
    caption: str

    def save_picture(self, folder: Path) -> Path:
        """Its first frame as a JPEG."""
        with VideoReader(self.path) as video:
            image = next(iter(video)).image
        path = folder / f"{self.path.stem}.jpg"
        small = cv2.resize(image, (240, 240 * image.shape[0] // image.shape[1]))
        cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return path


def examples() -> list[Example]:
    """Those that are there."""
    folder = _INSIDE if _INSIDE.is_dir() else _CHECKOUT
    found = [Example(folder / name, caption) for name, caption in _CLIPS.items()]
    return [example for example in found if example.path.is_file()]
