"""Masks: exact counts, what each strategy promises, and the released Fasking against an oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.errors import InputError
from openmarlin.masking import STRATEGIES, make_mask, n_visible
from openmarlin.regions import CLASSES, COMPONENTS, REGIONS, pool_cells, region_bits, to_cells

GRIDS = {
    (8, 14, 14): (16, 28, 28),
    (4, 14, 14): (8, 28, 28),
    (8, 7, 7): (16, 28, 28),  # patch 32
    (16, 6, 8): (16, 12, 16),  # tubelet 1
    (2, 5, 5): (8, 5, 5),  # tubelet 4, patch 8
}
FEW = settings(max_examples=30, deadline=None)
ALL_PARTS = region_bits(COMPONENTS)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def any_cells(draw: st.DrawFn, shape: tuple[int, ...] = (16, 28, 28)) -> np.ndarray:
    """Class bits of every kind: none, one or many classes a cell, in any shares, fine or coarse."""
    kinds = draw(st.lists(st.integers(0, 2047), min_size=1, max_size=6))
    kinds += draw(st.lists(st.sampled_from([0, *(1 << c for c in range(11))]), max_size=6))
    shares = draw(st.lists(st.floats(0.001, 1), min_size=len(kinds), max_size=len(kinds)))
    rng = rng_of(draw(st.integers(0, 2**32)))
    grain = draw(st.sampled_from([1, 4, 32]))
    coarse = rng.choice(kinds, [-(-n // grain) for n in shape], p=np.array(shares) / sum(shares))
    fine = coarse.repeat(grain, 0).repeat(grain, 1).repeat(grain, 2)
    return fine[tuple(slice(n) for n in shape)].astype(np.uint16)


def blobs(seed: int, frames: int = 16, size: int = 224) -> np.ndarray:
    """Label maps (T, H, W): rectangles of random classes that drift, as face parts do."""
    rng = rng_of(seed)
    labels = np.full((frames, size, size), rng.choice([0, 0, 1, 10]), np.uint8)
    for _ in range(rng.integers(0, 16)):
        label = rng.integers(0, 11)
        y, x = rng.integers(-20, size, 2)
        high, wide = rng.integers(1, size // 2, 2)
        dy, dx = rng.integers(-3, 4, 2)
        for t in range(frames):
            top, left = max(y + dy * t, 0), max(x + dx * t, 0)
            labels[t, top : max(y + dy * t + high, 0), left : max(x + dx * t + wide, 0)] = label
    return labels


def face(seed: int = 0, shift: int = 2) -> np.ndarray:
    """Label maps (16, 224, 224) of a plain face that moves `shift` px a frame to the right."""
    labels = np.zeros((16, 224, 224), np.uint8)
    parts = [
        (10, 20, 40, 90, 100), (1, 50, 50, 120, 80), (2, 80, 55, 8, 25), (3, 80, 100, 8, 25),
        (4, 92, 58, 10, 20), (5, 92, 102, 10, 20), (6, 100, 82, 35, 16), (7, 145, 72, 6, 36),
        (8, 151, 76, 5, 28), (9, 156, 72, 7, 36),
    ]  # fmt: skip
    for t in range(16):
        for label, y, x, high, wide in parts:
            labels[t, y : y + high, x + shift * t : x + shift * t + wide] = label
    return labels


# The oracle: the released algorithm as it is told step by step, on pixels, by loops.


def max_pool_16(labels: np.ndarray) -> list[np.ndarray]:
    """For each class the patches (t, 14, 14) that hold a pixel of it in a tubelet's first frame."""
    steps, side = labels.shape[0] // 2, labels.shape[1] // 16
    pooled = [np.zeros((steps, side, side), bool) for _ in CLASSES]
    for t in range(steps):
        for y in range(side):
            for x in range(side):
                patch = labels[2 * t, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
                for label in set(patch.ravel().tolist()):
                    pooled[label][t, y, x] = True
    return pooled


def released_candidates(
    pooled: list[np.ndarray], order: list[str], ratio: float = 0.9
) -> np.ndarray:
    v = 1 - ratio
    maps = []
    for t in range(pooled[0].shape[0]):
        visible = np.zeros(pooled[0].shape[1:], bool)
        for label in [label for region in order for label in REGIONS[region]]:
            visible |= pooled[label][t]
            if visible.mean() >= v:
                break
        maps.append(visible)
    return np.array(maps).ravel()


def region_order(name: str, permutation: np.ndarray) -> list[str]:
    parts = [COMPONENTS[i] for i in permutation]
    if name == "fasking":
        return ["background", "skin", *parts]
    return [*parts, "skin", "background"]


def drop_candidates(candidates: np.ndarray, keys: np.ndarray, visible: int) -> np.ndarray:
    """Keep the candidates with the smallest keys; True = masked."""
    left = sorted(np.flatnonzero(candidates).tolist(), key=lambda i: keys[i])[:visible]
    return np.array([i not in set(left) for i in range(candidates.size)])


@FEW
@given(seed=st.integers(0, 2**32), ratio=st.sampled_from([0.9, 0.9, 0.9, 0.75, 0.5, 0.95]))
@pytest.mark.parametrize("name", ["fasking", "fasking_opposite"])
def test_released_fasking_is_the_oracle_draw_for_draw(name: str, seed: int, ratio: float) -> None:
    labels = blobs(seed)
    mask = make_mask(name, to_cells(labels), mask_ratio=ratio, rng=rng_of(seed))
    same = rng_of(seed)
    order = region_order(name, same.permutation(5))
    candidates = released_candidates(max_pool_16(labels), order, ratio)
    assert candidates[~mask].all()
    assert np.array_equal(
        mask, drop_candidates(candidates, same.random(1568), n_visible(1568, ratio))
    )


@pytest.mark.parametrize("name", ["fasking", "fasking_opposite"])
def test_candidates_are_the_oracles(name: str) -> None:
    """Over many draws of the same order, every candidate of the oracle is visible at some time."""
    for seed in range(4):
        labels = blobs(seed)
        cells = to_cells(labels)
        order = region_order(name, rng_of(seed).permutation(5))
        seen = np.zeros(1568, bool)
        for draw in range(200):
            seen |= ~make_mask(name, cells, rng=OneOrder(seed, draw))
        assert np.array_equal(seen, released_candidates(max_pool_16(labels), order))


class OneOrder(np.random.Generator):
    """Always the same permutation, but fresh random keys."""

    def __init__(self, order_seed: int, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.order_seed = order_seed

    def permutation(self, x: int, axis: int = 0) -> np.ndarray:
        return rng_of(self.order_seed).permutation(x)


@pytest.mark.parametrize("name", ["fasking", "fasking_opposite"])
@pytest.mark.parametrize("seed", [3, 7, None])
def test_each_class_is_seen_as_often_as_with_the_oracle(name: str, seed: int | None) -> None:
    """The oracle draws by its own means here: shuffles, and drops candidates one by one."""
    labels = face() if seed is None else blobs(seed)
    cells, pooled = to_cells(labels), max_pool_16(labels)
    classes = np.array([p.ravel() for p in pooled])
    ours, theirs = [], []
    rng = rng_of(1)
    for draw in range(300):
        ours.append(classes @ ~make_mask(name, cells, rng=rng_of(draw)))
        order = region_order(name, rng.permutation(5))
        visible = released_candidates(pooled, order)
        left = np.flatnonzero(visible)
        visible[rng.choice(left, left.size - 156, replace=False)] = False
        theirs.append(classes @ visible)
    a, b = np.array(ours), np.array(theirs)
    noise = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
    assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) <= 4.5 * noise + 1e-9)


# Counts


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("name", STRATEGIES)
def test_counts_are_exact_for_any_cells(name: str, data: st.DataObject, seed: int) -> None:
    grid = data.draw(st.sampled_from(list(GRIDS)))
    cells = data.draw(any_cells(GRIDS[grid]))
    ratio = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9, 0.95]) | st.floats(0, 0.96))
    regions = data.draw(st.lists(st.sampled_from(list(REGIONS))))
    mask = make_mask(name, cells, grid=grid, mask_ratio=ratio, rng=rng_of(seed), regions=regions)
    tokens = int(np.prod(grid))
    assert mask.dtype == bool
    assert mask.shape == (tokens,)
    assert int((~mask).sum()) == int(tokens * (1 - ratio))


@pytest.mark.parametrize("name", STRATEGIES)
def test_published_counts(name: str) -> None:
    mask = make_mask(name, to_cells(face()), rng=rng_of(0))
    assert (int((~mask).sum()), int(mask.sum())) == (156, 1412)


def test_visible_count_follows_the_float_arithmetic_of_the_reference() -> None:
    assert n_visible(1568, 0.9) == 156
    assert n_visible(400, 0.9) == 39
    assert n_visible(1568, 0.75) == 392
    assert n_visible(1568, 0) == 1568


# Promises


@FEW
@given(cells=any_cells(), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_generator_decides(name: str, cells: np.ndarray, seed: int) -> None:
    before = cells.copy()
    first = make_mask(name, cells, rng=rng_of(seed), regions=["nose"])
    assert np.array_equal(first, make_mask(name, cells, rng=rng_of(seed), regions=["nose"]))
    assert np.array_equal(cells, before)


@pytest.mark.parametrize("name", STRATEGIES)
def test_another_seed_is_another_mask(name: str) -> None:
    cells = to_cells(face())
    a, b = (make_mask(name, cells, rng=rng_of(seed)) for seed in (0, 1))
    assert not np.array_equal(a, b)


@FEW
@given(cells=any_cells(), seed=st.integers(0, 2**32))
def test_fasking_shows_only_background_where_it_suffices(cells: np.ndarray, seed: int) -> None:
    first = pool_cells(cells[::2]).reshape(8, 196)
    mask = make_mask("fasking", cells, rng=rng_of(seed)).reshape(8, 196)
    background = (first & 1) != 0
    for t in np.flatnonzero(background.mean(axis=1) >= 1 - 0.9):
        assert background[t][~mask[t]].all()


def test_fasking_hides_a_face_that_leaves_room() -> None:
    cells = to_cells(face())
    inside = (pool_cells(cells[::2]).ravel() & 1) == 0
    for seed in range(20):
        assert make_mask("fasking", cells, rng=rng_of(seed))[inside].all()


def test_fasking_reads_the_first_frame_of_a_tubelet() -> None:
    cells = to_cells(face())
    other = cells.copy()
    other[1::2] = 0
    a, b = (make_mask("fasking", c, rng=rng_of(0)) for c in (cells, other))
    assert np.array_equal(a, b)


def test_fasking_opposite_shows_face_parts() -> None:
    cells = to_cells(face())
    parts = (pool_cells(cells[::2]).ravel() & ALL_PARTS) != 0
    for seed in range(20):
        assert parts[~make_mask("fasking_opposite", cells, rng=rng_of(seed))].all()


@pytest.mark.parametrize("empty", [0, 1])
@pytest.mark.parametrize("name", ["fasking", "fasking_opposite", "fasking_paper"])
def test_without_a_face_every_patch_is_a_candidate(name: str, empty: int) -> None:
    cells = np.full((16, 28, 28), empty, np.uint16)
    seen = np.mean([~make_mask(name, cells, rng=rng_of(seed)) for seed in range(300)], axis=0)
    assert np.all(seen > 0.02)
    assert np.all(seen < 0.25)


@FEW
@given(cells=any_cells(), seed=st.integers(0, 2**32))
def test_paper_masks_parts_then_skin_then_background(cells: np.ndarray, seed: int) -> None:
    bits = np.bitwise_or.reduce(pool_cells(cells).reshape(8, 2, 196), axis=1).ravel()
    mask = make_mask("fasking_paper", cells, rng=rng_of(seed))
    part = (bits & ALL_PARTS) != 0
    skin = ~part & ((bits & region_bits(["skin"])) != 0)
    rest = ~part & ~skin
    if not mask[part].all():
        assert not mask[~part].any()
    if not mask[skin].all():
        assert not mask[rest].any()


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_paper_follows_every_part_through_time(shift: int) -> None:
    labels = face(shift=shift)
    part = np.isin(labels, [c for name in COMPONENTS for c in REGIONS[name]])
    patches = part.reshape(8, 2, 14, 16, 14, 16).any(axis=(1, 3, 5)).ravel()
    for seed in range(20):
        assert make_mask("fasking_paper", to_cells(labels), rng=rng_of(seed))[patches].all()


def test_paper_masks_whole_parts_in_random_order_where_not_all_fit() -> None:
    """Five bands of parts fill the picture: the first four of the order are hidden, one is cut."""
    labels = np.zeros((16, 224, 224), np.uint8)
    for i, name in enumerate(COMPONENTS):
        labels[:, 48 * i : 48 * i + 48] = REGIONS[name][0]
    cells = to_cells(labels)
    band = np.tile(np.repeat(np.arange(14) // 3, 14), 8)
    shown = set()
    for seed in range(40):
        mask = make_mask("fasking_paper", cells, rng=rng_of(seed))
        (cut,) = set(band[~mask].tolist())
        shown.add(cut)
    assert shown == set(range(5))


@FEW
@given(seed=st.integers(0, 2**32), ratio=st.floats(0.5, 0.96))
def test_tube_is_constant_in_time_up_to_one_tube(seed: int, ratio: float) -> None:
    mask = make_mask("tube", None, mask_ratio=ratio, rng=rng_of(seed)).reshape(8, 196)
    steps_seen = (~mask).sum(axis=0)
    whole, cut = divmod(n_visible(1568, ratio), 8)
    assert sorted(steps_seen[steps_seen > 0].tolist()) == sorted([8] * whole + [cut] * (cut > 0))


@FEW
@given(seed=st.integers(0, 2**32), ratio=st.floats(0.5, 0.96))
def test_frame_shows_as_few_steps_as_it_can(seed: int, ratio: float) -> None:
    mask = make_mask("frame", None, mask_ratio=ratio, rng=rng_of(seed)).reshape(8, 196)
    patches_seen = (~mask).sum(axis=1)
    whole, cut = divmod(n_visible(1568, ratio), 196)
    assert sorted(patches_seen[patches_seen > 0].tolist()) == sorted(
        [196] * whole + [cut] * (cut > 0)
    )


@pytest.mark.parametrize("name", ["tube", "random", "frame"])
def test_every_token_is_as_likely(name: str) -> None:
    seen = np.mean([~make_mask(name, None, rng=rng_of(seed)) for seed in range(2000)], axis=0)
    spread = np.sqrt(0.1 * 0.9 / 2000)
    assert np.all(np.abs(seen - 156 / 1568) < 6 * spread)


@FEW
@given(cells=any_cells(), seed=st.integers(0, 2**32), data=st.data())
@pytest.mark.parametrize("name", STRATEGIES)
def test_named_regions_are_hidden_when_they_fit(
    name: str, cells: np.ndarray, seed: int, data: st.DataObject
) -> None:
    regions = data.draw(st.lists(st.sampled_from(list(REGIONS)), min_size=1, unique=True))
    bits = np.bitwise_or.reduce(pool_cells(cells).reshape(8, 2, 196), axis=1).ravel()
    touched = (bits & region_bits(regions)) != 0
    mask = make_mask(name, cells, rng=rng_of(seed), regions=regions)
    if touched.sum() <= 1412:
        assert mask[touched].all()
    else:
        assert not mask[~touched].any()


def test_the_rest_of_the_ratio_is_drawn_at_random() -> None:
    cells = to_cells(face(shift=0))
    bits = np.bitwise_or.reduce(pool_cells(cells).reshape(8, 2, 196), axis=1).ravel()
    free = (bits & region_bits(["mouth", "nose"])) == 0
    seen = np.mean(
        [
            ~make_mask("random", cells, rng=rng_of(seed), regions=["mouth", "nose"])
            for seed in range(1000)
        ],
        axis=0,
    )
    assert not seen[~free].any()
    share = 156 / free.sum()
    assert np.all(np.abs(seen[free] - share) < 6 * np.sqrt(share / 1000))


def test_regions_and_strategy_combine() -> None:
    cells = to_cells(face(shift=0))
    mask = make_mask("tube", cells, rng=rng_of(0), regions=["hair"]).reshape(8, 196)
    steps_seen = (~mask).sum(axis=0)
    assert sorted(steps_seen[steps_seen > 0].tolist()) == [4] + [8] * 19


# What cannot be


def test_wrong_requests_say_what_to_do() -> None:
    cells, rng = np.ones((16, 28, 28), np.uint16), rng_of(0)
    with pytest.raises(InputError, match=r"'fask'.*choose from fasking, .*frame"):
        make_mask("fask", cells, rng=rng)
    with pytest.raises(InputError, match=r"'ear'.*left_eye"):
        make_mask("random", cells, rng=rng, regions=["ear"])
    with pytest.raises(InputError, match=r"needs the face regions.*tube, random, frame"):
        make_mask("fasking", None, rng=rng)
    with pytest.raises(InputError, match="needs the face regions"):
        make_mask("random", None, rng=rng, regions=["mouth"])


@pytest.mark.parametrize("ratio", [1.0, 1.5, -0.1, float("nan"), 0.9999])
def test_impossible_ratios(ratio: float) -> None:
    with pytest.raises(InputError, match="ratio"):
        make_mask("random", None, mask_ratio=ratio, rng=rng_of(0))


@pytest.mark.parametrize(
    "shape", [(15, 28, 28), (16, 27, 28), (16, 28, 42), (16, 7, 7), (4, 28, 28)]
)
def test_cells_that_do_not_fit_the_grid(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="do not fit a grid"):
        make_mask("fasking", np.ones(shape, np.uint16), rng=rng_of(0))
