"""What is done with a clip before a model sees it: cropped, augmented, masked.

Every frame of a clip is treated alike, so that nothing moves that did not move in the video, and
the cells of its regions go along with the pictures. A transform takes a clip and the generator of
its sample; what it adds to `Clip.extras` becomes a part of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmarlin.data.store import Track
from openmarlin.errors import InputError, option
from openmarlin.masking import STRATEGIES, Grid, make_mask, n_visible
from openmarlin.regions import CELL_PX, CLASSES, Cells, region_bits

Images = NDArray[np.uint8]
Points = NDArray[np.float32]

_TWINS = [
    (CLASSES.index(name), CLASSES.index(name.replace("right", "left")))
    for name in CLASSES
    if name.startswith("right")
]
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Clip:
    """Some frames of a track.

    Attributes:
        track: of the store.
        frames: T frame numbers.
        images: (T, S, S, 3) uint8 RGB.
        cells: (T, S/8, S/8) uint16 class bits.
        extras: what else belongs to the sample, by name; "target" is the label, (1,) float32 where
            it is binary.
        points: (T, 478, 2) float32 mesh points in pixels of the images, NaN in frames without; None
            where no transform needs them or the store has none. In a mirrored clip they outline the
            mirrored face; which point is which is not renamed.
    """

    track: Track
    frames: Sequence[int]
    images: Images
    cells: Cells
    extras: dict[str, Tensor] = field(default_factory=dict)
    points: Points | None = None


Transform = Callable[[Clip, np.random.Generator], Clip]
"""One that has a true attribute `needs_points` gets clips with their mesh points."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The face as MARLIN frames it, or near it, in the size that the model takes.

    Attributes:
        stored: side of the stored pictures, pixels.
        margin: pixels around the face that they have, for this.
        size: side of what comes out, pixels.
        amount: random squares, 1 - amount to 1 + amount times the size of the face's; 0 for none.
    """

    stored: int
    margin: int
    size: int
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.size < CELL_PX:
            raise InputError(f"image_size {self.size} is too small: {CELL_PX} at least")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        view = face_view(self.stored, self.margin)
        if self.amount:
            view = random_view(self.stored, self.margin, self.amount, rng)
        images = crop_images(clip.images, view, self.size)
        cells = crop_cells(clip.cells, view, self.size)
        scale = self.size / view.side
        points = _moved(clip.points, (scale, scale), (-scale * view.x, -scale * view.y))
        return replace(clip, images=images, cells=cells, points=points)


def flip(clip: Clip, rng: np.random.Generator) -> Clip:
    """Mirror half of the clips."""
    if rng.random() >= 0.5:
        return clip
    images, cells = mirror(clip.images, clip.cells)
    points = _moved(clip.points, (-1, 1), (images.shape[2], 0))
    return replace(clip, images=images, cells=cells, points=points)


@dataclass(frozen=True, slots=True)
class Colour:
    """Brightness, contrast and saturation each times 1 - amount to 1 + amount."""

    amount: float

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        return replace(clip, images=random_colours(clip.images, self.amount, rng))


@dataclass(frozen=True, slots=True)
class Mask:
    """Adds `mask` and `targets`, bool (N,): the tokens that are masked, and those to predict.

    Attributes:
        strategy: a name in `openmarlin.masking.STRATEGIES`.
        grid: tokens along (time, height, width).
        patch: side of a token, pixels.
        mask_ratio: share of the tokens that is masked.
        regions: face regions that are always masked.
        decode_ratio: share of the masked tokens that the decoder predicts (1: all, as the paper;
            less: VideoMAE V2's dual masking, arXiv 2303.16727).

    Raises:
        InputError: a strategy, regions or sizes that do not exist or do not fit.
    """

    strategy: str
    grid: Grid
    patch: int
    mask_ratio: float
    regions: tuple[str, ...] = ()
    decode_ratio: float = 1.0

    def __post_init__(self) -> None:
        """What would otherwise fail in a loader worker, far from who can mend it."""
        if self.strategy not in STRATEGIES:
            raise InputError(
                f"unknown masking {self.strategy!r}: choose from {', '.join(STRATEGIES)}"
            )
        region_bits(self.regions)
        n_tokens = int(np.prod(self.grid))
        if n_visible(n_tokens, self.mask_ratio) == n_tokens:
            raise InputError(
                f"{option('mask_ratio', self.mask_ratio)} masks none of {n_tokens} tokens: nothing "
                "to predict"
            )
        needs_cells = STRATEGIES[self.strategy].needs_cells or self.regions
        if needs_cells and self.patch % CELL_PX:
            raise InputError(
                f"patch {self.patch} does not fit the regions, stored for every {CELL_PX} pixels: "
                "choose a multiple of it"
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        mask = make_mask(
            self.strategy,
            clip.cells,
            grid=self.grid,
            mask_ratio=self.mask_ratio,
            rng=rng,
            regions=self.regions,
        )
        masks = {"mask": mask, "targets": self._some(mask, rng)}
        extras = {name: torch.from_numpy(array) for name, array in masks.items()}
        return replace(clip, extras={**clip.extras, **extras})

    def _some(self, mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        if self.decode_ratio == 1:
            return mask
        places = np.flatnonzero(mask)
        some = np.zeros_like(mask)
        count = max(1, round(self.decode_ratio * len(places)))
        some[rng.choice(places, count, replace=False)] = True
        return some


@dataclass(frozen=True, slots=True)
class View:
    """A square of the stored picture, pixels: its upper left corner and its side."""

    x: int
    y: int
    side: int


def face_view(size: int, margin: int) -> View:
    """The crop as MARLIN frames a face: the stored picture without its margin."""
    return View(margin, margin, size - 2 * margin)


def random_view(size: int, margin: int, amount: float, rng: np.random.Generator) -> View:
    """A square of 1 - amount to 1 + amount times the face view's side, anywhere in the picture.

    Where the picture has no room for a larger one, it is as large as the picture.
    """
    scale = rng.uniform(1 - amount, 1 + amount)
    side = min(size, max(1, round(scale * face_view(size, margin).side)))
    x, y = rng.integers(0, size - side + 1, 2).tolist()
    return View(x, y, side)


def crop_images(images: Images, view: View, size: int) -> Images:
    """(T, S, S, 3) -> (T, size, size, 3); what need not be resized is not."""
    cut = images[:, view.y : view.y + view.side, view.x : view.x + view.side]
    if view.side == size:
        return cut
    how = cv2.INTER_AREA if view.side > size else cv2.INTER_LINEAR
    out = np.empty((len(images), size, size, 3), np.uint8)
    for frame, target in zip(cut, out, strict=True):
        cv2.resize(frame, (size, size), dst=target, interpolation=how)
    return out


def crop_cells(cells: Cells, view: View, size: int) -> Cells:
    """(T, S/8, S/8) -> (T, size/8, size/8): the classes of every cell that a new cell touches."""
    count = size // CELL_PX
    rows = _or_between(cells, *_touched(view.y, view.side, count), axis=1)
    return _or_between(rows, *_touched(view.x, view.side, count), axis=2)


def mirror(images: Images, cells: Cells) -> tuple[Images, Cells]:
    """Left and right exchanged, also in the names of eyes and brows."""
    swapped = cells[:, :, ::-1].copy()
    for right, left in _TWINS:
        differ = ((swapped >> right) ^ (swapped >> left)) & 1
        swapped ^= (differ << right) | (differ << left)
    return images[:, :, ::-1], swapped


def random_colours(images: Images, amount: float, rng: np.random.Generator) -> Images:
    """Brightness, contrast and saturation each times 1 - amount to 1 + amount."""
    return recolour(images, colour_matrix(images, *rng.uniform(1 - amount, 1 + amount, 3)))


def colour_matrix(
    images: Images, brightness: float, contrast: float, saturation: float
) -> NDArray[np.float64]:
    """The matrix (3, 4) that multiplies brightness, contrast and saturation, see `recolour`."""
    mix = saturation * np.eye(3) + (1 - saturation) * _LUMA
    middle = images[:, ::8, ::8].mean()
    matrix = np.empty((3, 4))
    matrix[:, :3] = brightness * contrast * mix
    matrix[:, 3] = brightness * (1 - contrast) * middle
    return matrix


def recolour(images: Images, matrix: NDArray[np.float64]) -> Images:
    """Every colour (r, g, b, 1) times a matrix (3, 4), cut off at 0 and 255."""
    flat = np.ascontiguousarray(images).reshape(-1, images.shape[2], 3)
    return np.asarray(cv2.transform(flat, matrix), np.uint8).reshape(images.shape)


def _moved(
    points: Points | None, scale: tuple[float, float], shift: tuple[float, float]
) -> Points | None:
    """Points (..., 2) scaled and then shifted, where there are any."""
    if points is None:
        return None
    return np.asarray(points * np.array(scale) + np.array(shift), np.float32)


def _touched(start: int, side: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last old cell under each of `count` new ones along one axis."""
    ends = [start * count + side * i for i in range(count + 1)]  # in pixels times count
    unit = CELL_PX * count
    first = np.array([end // unit for end in ends[:-1]])
    stop = np.array([-(-end // unit) for end in ends[1:]])
    return first, stop


def _or_between(
    cells: Cells, first: NDArray[np.int64], stop: NDArray[np.int64], axis: int
) -> Cells:
    """Cells first[i] .. stop[i] - 1 along the axis OR-ed to one, for every i."""
    if np.array_equal(stop - first, np.ones_like(first)):
        return cells.take(first, axis=axis)
    pad = [(0, int(dim == axis)) for dim in range(cells.ndim)]  # reduceat cannot name the end
    pairs = np.stack([first, stop], axis=1).ravel()
    reduced = np.bitwise_or.reduceat(np.pad(cells, pad), pairs, axis=axis)
    return reduced.take(np.arange(0, len(pairs), 2), axis=axis)
