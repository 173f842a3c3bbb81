"""Labels, regions and cells against per-pixel loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from openmarlin.errors import InputError
from openmarlin.regions import (
    CLASSES,
    COLORS,
    COMPONENTS,
    REGIONS,
    pool_cells,
    region_bits,
    to_cells,
)


def classes_of(cell: int) -> set[int]:
    return {c for c in range(16) if cell >> c & 1}


def test_every_class_belongs_to_exactly_one_region() -> None:
    assert sorted(c for classes in REGIONS.values() for c in classes) == list(range(11))
    assert len(CLASSES) == 11
    assert set(COMPONENTS) == set(REGIONS) - {"skin", "background"}


def test_region_names_agree_with_their_classes() -> None:
    assert [CLASSES[c] for c in REGIONS["right_eye"]] == ["right_brow", "right_eye"]
    assert [CLASSES[c] for c in REGIONS["left_eye"]] == ["left_brow", "left_eye"]
    assert [CLASSES[c] for c in REGIONS["mouth"]] == ["upper_lip", "inner_mouth", "lower_lip"]
    for name in ("background", "skin", "nose", "hair"):
        assert [CLASSES[c] for c in REGIONS[name]] == [name]


def test_colors_can_be_told_apart() -> None:
    assert COLORS.shape == (11, 3)
    for a, b in combinations(COLORS.astype(int), 2):
        assert np.linalg.norm(a - b) > 60


def test_region_bits() -> None:
    assert region_bits([]) == 0
    assert region_bits(["background"]) == 1
    assert region_bits(["mouth", "nose"]) == 0b11_1100_0000
    with pytest.raises(InputError, match=r"'ear'.*left_eye"):
        region_bits(["ear"])


@settings(deadline=None)
@given(arrays(np.uint8, (2, 32, 48), elements=st.integers(0, 10)))
def test_cells_hold_the_classes_of_their_pixels(labels: np.ndarray) -> None:
    cells = to_cells(labels)
    assert cells.dtype == np.uint16
    assert cells.shape == (2, 4, 6)
    for t, y, x in np.ndindex(cells.shape):
        pixels = labels[t, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        assert classes_of(cells[t, y, x]) == set(pixels.ravel())


@settings(deadline=None)
@given(arrays(np.uint8, (32, 32), elements=st.integers(0, 10)))
def test_pooled_cells_are_cells_of_larger_patches(labels: np.ndarray) -> None:
    assert np.array_equal(pool_cells(to_cells(labels)), to_cells(labels, 16))
    assert np.array_equal(pool_cells(to_cells(labels), 4), to_cells(labels, 32))


def test_wrong_labels_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.10"):
        to_cells(np.full((8, 8), 11))
    with pytest.raises(ValueError, match=r"0\.\.10"):
        to_cells(np.full((8, 8), -1))
    with pytest.raises(ValueError, match="do not divide"):
        to_cells(np.zeros((12, 8), np.uint8))
    with pytest.raises(ValueError, match="do not divide"):
        pool_cells(np.zeros((27, 28), np.uint16))
