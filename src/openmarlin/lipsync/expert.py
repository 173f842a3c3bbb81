"""What a lip-sync expert is: it embeds short windows of a face and of sound in one space."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from openmarlin.video.audio import Sound

Floats = NDArray[np.float32]


class Expert(Protocol):
    """An expert. Its clock has 25 ticks a second; a window of a face covers `window` ticks.

    Attributes:
        name: of the kind, as `wav2lip_expert`.
        digest: the first 12 hex digits of the sha256 of its weights.
        framing: in a few words, which part of the face it sees; printed beside every number.
        window: ticks of a window.
        margin: of the picture around the face that `view` needs, in sides of MARLIN's square.
    """

    name: str
    digest: str
    framing: str
    window: int
    margin: float

    def view(self, image: NDArray[np.uint8], points: Floats) -> NDArray[np.generic]:
        """What is kept of a frame, always of one shape.

        Args:
            image: uint8 RGB (S, S, 3): MARLIN's square and at least `margin` around it.
            points: (478, 2) mesh points in pixels of the image.
        """

    def embed_faces(self, views: NDArray[np.generic]) -> Floats:
        """Embed all windows of a stretch of ticks.

        Args:
            views: (T, ...) of ticks in a row, T >= `window`.

        Returns:
            (T - `window` + 1, D). A window's embedding depends on its own ticks alone.
        """

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> Floats:
        """Embed the sound of windows.

        Args:
            sound: of the whole video; it is silent where it has nothing.
            start_s: presentation time at which the first window begins.
            count: windows, one a tick.

        Returns:
            (`count`, D).
        """
