"""Which tokens the encoder may not see: Fasking and its alternatives, as pure functions.

A strategy sorts the tokens of a clip into tiers; low tiers are visible first, and within a tier
chance decides. `make_mask` then leaves exactly `n_visible` tokens visible, so every strategy gives
exact counts for any face. Masks are bool (N,), True = masked, tokens in (t, h, w) order.

Source of the methods: MARLIN (arXiv 2211.06627) and, for tubes, VideoMAE (arXiv 2203.12602).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.regions import COMPONENTS, REGIONS, Cells, pool_cells, region_bits

Patches = NDArray[np.uint16]
"""(t, frames of a tubelet, h*w) class bits of each patch in each frame."""

Tiers = NDArray[np.int64]
"""(t, h*w) whole numbers: the token's place in the queue for being visible."""

Grid = tuple[int, int, int]


def n_visible(n_tokens: int, mask_ratio: float) -> int:
    """How many tokens a masking ratio leaves visible: 156 of 1568 at 0.9.

    The float arithmetic of the reference on purpose: 1 - 0.9 falls just short of 0.1, so 400 tokens
    leave 39. Ask this function instead of computing the number again.

    Raises:
        InputError: a ratio outside [0, 1), or one that leaves nothing visible.
    """
    visible = int(n_tokens * (1 - mask_ratio)) if 0 <= mask_ratio < 1 else 0
    if visible < 1:
        raise InputError(
            f"masking ratio {mask_ratio} leaves none of {n_tokens} tokens visible: choose one from "
            f"0 to {1 - 1 / n_tokens:.3g}"
        )
    return visible


def make_mask(
    strategy: str,
    cells: Cells | None,
    *,
    grid: Grid = (8, 14, 14),
    mask_ratio: float = 0.9,
    rng: np.random.Generator,
    regions: Iterable[str] = (),
) -> NDArray[np.bool_]:
    """Draw the mask of one clip.

    Args:
        strategy: a name in `STRATEGIES`.
        cells: (T, H/8, W/8) uint16 class bits; None will do where nothing asks for regions.
        grid: tokens along (time, height, width); must divide the cells.
        mask_ratio: share of tokens to mask; see `n_visible` for the exact count.
        rng: the only source of chance.
        regions: names in `openmarlin.regions.REGIONS` that are hidden first, in every frame. Where
            they cover more than the ratio masks, nothing else is masked and the strategy decides
            which of them stay visible.

    Returns:
        (N,) bool, True = masked.

    Raises:
        InputError: an unknown name, an impossible ratio, or cells that are missing or do not fit.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown masking {strategy!r}: choose from {', '.join(STRATEGIES)}")
    chosen = STRATEGIES[strategy]
    hidden = region_bits(regions)
    steps, height, width = grid
    visible = n_visible(steps * height * width, mask_ratio)
    if chosen.needs_cells or hidden:
        patches = _patches(strategy, cells, grid)
    else:
        patches = np.zeros((steps, 1, height * width), np.uint16)
    tiers = chosen.tiers(patches, mask_ratio, rng)
    if hidden:
        tiers = tiers + (tiers.max() + 1) * ((_over_time(patches) & hidden) != 0)
    queue = np.argpartition(tiers.ravel() + rng.random(tiers.size), visible - 1)
    mask = np.ones(tiers.size, bool)
    mask[queue[:visible]] = False
    return mask


def _patches(strategy: str, cells: Cells | None, grid: Grid) -> Patches:
    if cells is None:
        free = ", ".join(name for name, other in STRATEGIES.items() if not other.needs_cells)
        raise InputError(
            f"masking {strategy!r} needs the face regions of each clip and this clip has none: "
            f"prepare the videos with regions, or mask by {free}"
        )
    steps, height, width = grid
    frames, rows, columns = cells.shape
    factor = max(rows // height, 1)
    if frames % steps or (rows, columns) != (height * factor, width * factor):
        raise InputError(f"face regions of {cells.shape} cells do not fit a grid of {grid} tokens")
    return pool_cells(cells, factor).reshape(steps, frames // steps, height * width)


def _over_time(patches: Patches) -> NDArray[np.uint16]:
    """(t, h*w): the classes in any frame of the tubelet."""
    return np.asarray(np.bitwise_or.reduce(patches, axis=1))


def _first(bits: NDArray[np.uint16], order: Sequence[int]) -> NDArray[np.int64]:
    """Index of the first class set in `order` (each given as bits) that a patch touches.

    `len(order)` where it touches none of them.
    """
    hits = (bits[..., None] & np.array([*order, 0], np.uint16)) != 0
    hits[..., -1] = True
    return np.asarray(hits.argmax(axis=-1))


def _shuffled(rng: np.random.Generator) -> list[str]:
    return [COMPONENTS[i] for i in rng.permutation(len(COMPONENTS))]


def _walk(patches: Patches, mask_ratio: float, order: Sequence[str]) -> Tiers:
    """Tier 0: patches of the first classes that together cover 1 - mask_ratio of a step; 1: rest.

    The released algorithm, seen from its end: it uncovers class after class and stops once the
    uncovered share of the step reaches 1 - mask_ratio. So it stops at the class of the step's k-th
    patch in the order of classes, where k is the least number of patches that is share enough.
    """
    place = _first(patches[:, 0], [1 << label for name in order for label in REGIONS[name]])
    size = place.shape[1]
    k = int(np.searchsorted(np.arange(size + 1) / size, 1 - mask_ratio))
    last = np.partition(place, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray(place > last, np.int64)


def _fasking(patches: Patches, mask_ratio: float, rng: np.random.Generator) -> Tiers:
    return _walk(patches, mask_ratio, ["background", "skin", *_shuffled(rng)])


def _fasking_opposite(patches: Patches, mask_ratio: float, rng: np.random.Generator) -> Tiers:
    return _walk(patches, mask_ratio, [*_shuffled(rng), "skin", "background"])


def _fasking_paper(patches: Patches, mask_ratio: float, rng: np.random.Generator) -> Tiers:
    """The region masked last is visible first; within a region, tube by tube."""
    order = [*_shuffled(rng), "skin", "background"]
    region = _first(_over_time(patches), [region_bits([name]) for name in order])
    return np.asarray((len(order) - region) * patches.shape[2] + _tube(patches, mask_ratio, rng))


def _tube(patches: Patches, _ratio: float, rng: np.random.Generator) -> Tiers:
    steps, _, size = patches.shape
    return np.tile(rng.permutation(size), (steps, 1))


def _frame(patches: Patches, _ratio: float, rng: np.random.Generator) -> Tiers:
    steps, _, size = patches.shape
    return np.repeat(rng.permutation(steps)[:, None], size, axis=1)


def _random(patches: Patches, _ratio: float, _rng: np.random.Generator) -> Tiers:
    steps, _, size = patches.shape
    return np.zeros((steps, size), np.int64)


@dataclass(frozen=True)
class Strategy:
    """One way to mask: its tiers, and whether it has to know where the face is."""

    tiers: Callable[[Patches, float, np.random.Generator], Tiers]
    needs_cells: bool


STRATEGIES: dict[str, Strategy] = {
    "fasking": Strategy(_fasking, needs_cells=True),
    "fasking_paper": Strategy(_fasking_paper, needs_cells=True),
    "fasking_opposite": Strategy(_fasking_opposite, needs_cells=True),
    "tube": Strategy(_tube, needs_cells=False),
    "random": Strategy(_random, needs_cells=False),
    "frame": Strategy(_frame, needs_cells=False),
}
