"""Corruptions of clips, to measure how much of a detector is left when videos are not clean.

Seven kinds at five levels, in the manner of DeeperForensics-1.0 (Jiang et al., CVPR 2020): changes
of saturation and contrast, local blocks, white noise, Gaussian blur, pixelation, video compression.
The values are set here (some agree with that project's, as a set they do not), so numbers compare
with each other and not with that paper's:

    kind         level 1 .. 5
    saturation   factor of it                      0.8    0.6    0.4    0.2    0
    contrast     factor of it                      0.85   0.7    0.55   0.4    0.25
    block        share of the picture that         0.05   0.1    0.15   0.2    0.25
                 blocks of 1/16 of a side hide
    noise        deviation, levels of 255          5      10     15     22     30
    blur         sigma, share of the side in %     0.5    0.75   1      1.5    2
    pixelation   pixels of 224 a side that become  2      3      4      5      6
                 one
    compression  crf of libx264                    30     33     36     39     42

What is random (blocks, noise) is drawn once a clip: blocks stand still; noise is another in every
frame, as that of a sensor is, and equally strong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from openmarlin.data.transforms import Images, colour_matrix, recolour
from openmarlin.errors import InputError
from openmarlin.video.recompress import recompress_clip

LEVELS = 5
_BLOCKS = 16  # a side
_SIDE_PX = 224


@dataclass(frozen=True, slots=True)
class Corruption:
    """A kind of corruption: one parameter a level, and what it does to a clip."""

    levels: tuple[float, float, float, float, float]
    apply: Callable[[Images, float, np.random.Generator], Images]


def corrupt(images: Images, name: str, level: int, rng: np.random.Generator) -> Images:
    """Corrupt a clip; the input is left alone.

    Args:
        images: uint8 RGB (T, H, W, 3).
        name: of `CORRUPTIONS`.
        level: 1 to 5.
        rng: of the blocks and the noise.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        InputError: there is no such corruption or level.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"unknown corruption {name!r}: choose from {', '.join(CORRUPTIONS)}")
    if level not in range(1, LEVELS + 1):
        raise InputError(f"level is {level}; give 1 to {LEVELS}")
    kind = CORRUPTIONS[name]
    return kind.apply(images, kind.levels[level - 1], rng)


def _saturation(images: Images, factor: float, _: np.random.Generator) -> Images:
    return recolour(images, colour_matrix(images, 1, 1, factor))


def _contrast(images: Images, factor: float, _: np.random.Generator) -> Images:
    return recolour(images, colour_matrix(images, 1, factor, 1))


def _block(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Squares of one colour each, at the same places in all frames."""
    cells = rng.permutation(_BLOCKS**2)[: round(share * _BLOCKS**2)]
    colours = rng.integers(0, 256, (len(cells), 3))
    height, width = images.shape[1:3]
    out = images.copy()
    for cell, colour in zip(cells.tolist(), colours, strict=True):
        row, column = divmod(cell, _BLOCKS)
        y, y_end = row * height // _BLOCKS, (row + 1) * height // _BLOCKS
        x, x_end = column * width // _BLOCKS, (column + 1) * width // _BLOCKS
        out[:, y:y_end, x:x_end] = colour
    return out


def _noise(images: Images, deviation: float, rng: np.random.Generator) -> Images:
    out = np.empty_like(images)
    for image, target in zip(images, out, strict=True):  # all at once would be large
        noisy = image + deviation * rng.standard_normal(image.shape, np.float32)
        target[:] = np.rint(np.clip(noisy, 0, 255))
    return out


def _blur(images: Images, percent: float, _: np.random.Generator) -> Images:
    sigma = percent / 100 * images.shape[2]
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def _pixelation(images: Images, pixels: float, _: np.random.Generator) -> Images:
    height, width = images.shape[1:3]
    factor = max(1.0, pixels * width / _SIDE_PX)
    few = max(1, round(width / factor)), max(1, round(height / factor))
    small = (cv2.resize(image, few, interpolation=cv2.INTER_AREA) for image in images)
    size = (width, height)
    return np.stack([cv2.resize(s, size, interpolation=cv2.INTER_NEAREST) for s in small])


def _compression(images: Images, crf: float, _: np.random.Generator) -> Images:
    return recompress_clip(images, int(crf))


CORRUPTIONS = MappingProxyType(
    {
        "saturation": Corruption((0.8, 0.6, 0.4, 0.2, 0.0), _saturation),
        "contrast": Corruption((0.85, 0.7, 0.55, 0.4, 0.25), _contrast),
        "block": Corruption((0.05, 0.1, 0.15, 0.2, 0.25), _block),
        "noise": Corruption((5, 10, 15, 22, 30), _noise),
        "blur": Corruption((0.5, 0.75, 1, 1.5, 2), _blur),
        "pixelation": Corruption((2, 3, 4, 5, 6), _pixelation),
        "compression": Corruption((30, 33, 36, 39, 42), _compression),
    }
)
