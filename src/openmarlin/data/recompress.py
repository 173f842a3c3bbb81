"""Clips as if the crop had been compressed once more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmarlin.data.transforms import Clip
from openmarlin.errors import InputError
from openmarlin.video.recompress import check_crf, recompress_clip


@dataclass(frozen=True, slots=True)
class Recompress:
    """Compresses some clips by libx264, at a crf drawn once a clip; see `video.recompress`.

    It compresses the crop: not the same as a crop of a compressed video.

    Attributes:
        crfs: to draw from; 23 and 40 are FaceForensics++'s c23 and c40.
        probability: share of the clips that are compressed.

    Raises:
        InputError: there is no such crf or share.
    """

    crfs: tuple[int, ...] = (23, 40)
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not self.crfs:
            raise InputError("crfs is empty; give one or more, such as 23, 40")
        for crf in self.crfs:
            check_crf(crf)
        if not 0 <= self.probability <= 1:
            raise InputError(f"probability is {self.probability}; give a number from 0 to 1")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        chosen, crf = rng.random() < self.probability, int(rng.choice(self.crfs))
        if not chosen:
            return clip
        return replace(clip, images=recompress_clip(clip.images, crf, clip.track.fps))
