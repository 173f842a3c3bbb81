"""Augmentation: pictures and regions stay together, whatever is cut, mirrored or coloured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openmarlin.data.store import Track
from openmarlin.data.transforms import (
    Clip,
    Crop,
    View,
    crop_cells,
    crop_images,
    face_view,
    flip,
    mirror,
    random_colours,
    random_view,
)
from openmarlin.regions import CELL_PX, CLASSES, to_cells

EIGHT = st.integers(1, 5).map(lambda n: n * CELL_PX)


def random_cells(rng: np.random.Generator, side: int, frames: int = 2) -> np.ndarray:
    return rng.integers(0, 1 << len(CLASSES), (frames, side, side)).astype(np.uint16)


def touched_by_brute_force(cells: np.ndarray, view: View, size: int) -> np.ndarray:
    """For each new cell: the classes of every old pixel that its area overlaps."""
    count, old = size // CELL_PX, np.repeat(np.repeat(cells, CELL_PX, 1), CELL_PX, 2)
    found = np.zeros((len(cells), count, count), np.uint16)
    for row in range(count):
        for column in range(count):
            for y in range(view.y, view.y + view.side):
                for x in range(view.x, view.x + view.side):
                    # in units of 1/count pixel, a new cell is view.side wide
                    inside = all(
                        (p - start) * count < (n + 1) * view.side
                        and (p + 1 - start) * count > n * view.side
                        for p, start, n in ((y, view.y, row), (x, view.x, column))
                    )
                    if inside:
                        found[:, row, column] |= old[:, y, x]
    return found


@given(stored=EIGHT, size=EIGHT, data=st.data())
def test_cells_of_a_crop_are_those_of_its_pixels(
    stored: int, size: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, stored))
    view = View(*(data.draw(st.integers(0, stored - side)) for _ in "xy"), side)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    cells = random_cells(rng, stored // CELL_PX)
    got = crop_cells(cells, view, size)
    np.testing.assert_array_equal(got, touched_by_brute_force(cells, view, size))


def test_a_crop_without_scaling_is_the_picture_itself() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    np.testing.assert_array_equal(crop_images(images, View(3, 11, 32), 32), images[:, 11:43, 3:35])


@pytest.mark.parametrize("size", [16, 48])
def test_a_scaled_crop_shows_the_same_place(size: int) -> None:
    """A bright square in the middle of the view stays in its middle."""
    images = np.zeros((1, 64, 64, 3), np.uint8)
    view = View(20, 4, 32)
    images[:, view.y + 8 : view.y + 24, view.x + 8 : view.x + 24] = 255
    out = crop_images(images, view, size)[0, ..., 0].astype(float)
    assert out.shape == (size, size)
    ys, xs = np.indices(out.shape)
    middle = (size - 1) / 2
    assert (ys * out).sum() / out.sum() == pytest.approx(middle, abs=0.01)
    assert (xs * out).sum() / out.sum() == pytest.approx(middle, abs=0.01)
    assert out.mean() / 255 == pytest.approx(0.25, abs=0.02)


@given(
    size=st.integers(8, 256),
    margin=st.integers(0, 3),
    amount=st.floats(0, 0.999),
    seed=st.integers(0, 99),
)
@example(size=8, margin=3, amount=0.999, seed=3)
def test_random_views_lie_in_the_picture(size: int, margin: int, amount: float, seed: int) -> None:
    view = random_view(size, margin, amount, np.random.default_rng(seed))
    face = face_view(size, margin).side
    assert 0 <= view.x <= size - view.side
    assert 0 <= view.y <= size - view.side
    assert max(1, round(face * (1 - amount))) <= view.side <= min(size, round(face * (1 + amount)))


def test_random_views_differ_in_size_and_place() -> None:
    rng = np.random.default_rng(0)
    views = [random_view(64, 8, 0.2, rng) for _ in range(200)]
    assert min(v.side for v in views) == pytest.approx(0.8 * 48, abs=2)
    assert max(v.side for v in views) == pytest.approx(1.2 * 48, abs=2)
    assert len({(v.x, v.y) for v in views}) > 100


@given(seed=st.integers(0, 999))
def test_mirrored_twice_is_as_before(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, 24, 24, 3), np.uint8)
    cells = random_cells(rng, 3)
    again = mirror(*mirror(images, cells))
    np.testing.assert_array_equal(again[0], images)
    np.testing.assert_array_equal(again[1], cells)


@given(seed=st.integers(0, 999))
def test_mirrored_labels_and_mirrored_cells_agree(seed: int) -> None:
    """As if the label map were mirrored and its eyes and brows renamed before it became cells."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), (1, 24, 24))
    renamed = np.arange(len(CLASSES))
    renamed[[2, 3, 4, 5]] = [3, 2, 5, 4]  # right and left brow, right and left eye
    _, cells = mirror(np.zeros((1, 24, 24, 3), np.uint8), to_cells(labels))
    np.testing.assert_array_equal(cells, to_cells(renamed[labels][:, :, ::-1]))


def test_colours_of_no_amount_change_nothing() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(random_colours(images, 0.0, rng), images)


def test_colours_change_a_clip_as_one() -> None:
    """The same pixel in every frame stays the same pixel in every frame."""
    frame = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    out = random_colours(np.stack([frame] * 3), 0.5, np.random.default_rng(2))
    assert not np.array_equal(out[0], frame)
    np.testing.assert_array_equal(out[0], out[1])
    np.testing.assert_array_equal(out[0], out[2])


@given(grey=st.integers(0, 255), amount=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_grey_keeps_its_hue_and_only_brightness_moves_it(
    grey: int, amount: float, seed: int
) -> None:
    """Contrast leaves the mean alone, saturation leaves grey alone: what remains is brightness."""
    images = np.full((1, 8, 8, 3), grey, np.uint8)
    out = random_colours(images, amount, np.random.default_rng(seed))
    brightness = np.random.default_rng(seed).uniform(1 - amount, 1 + amount, 3)[0]
    assert np.ptp(out.astype(int)) <= 1  # rounded on its own in each channel
    assert abs(int(out[0, 0, 0, 0]) - min(255.0, grey * brightness)) <= 1


def _clip(images: np.ndarray, points: np.ndarray | None) -> Clip:
    side = images.shape[1] // CELL_PX
    cells = np.zeros((len(images), side, side), np.uint16)
    track = Track("t", "v.mp4", "g", len(images), 25.0)
    return Clip(track, range(len(images)), images, cells, points=points)


@given(seed=st.integers(0, 99), size=st.sampled_from([16, 32, 48]))
def test_points_go_along_with_the_picture(seed: int, size: int) -> None:
    """A bright square stays where its point is, whatever is cut, scaled and mirrored."""
    rng = np.random.default_rng(seed)
    images = np.zeros((2, 64, 64, 3), np.uint8)
    x, y = rng.integers(26, 38, 2)
    images[:, y - 2 : y + 2, x - 2 : x + 2] = 255
    points = np.broadcast_to(np.float32((x, y)), (2, 478, 2)).copy()
    points[1] = np.nan
    clip = flip(Crop(64, 8, size, 0.1)(_clip(images, points), rng), rng)
    bright = clip.images[0, ..., 0].astype(float)
    ys, xs = np.indices(bright.shape) + 0.5
    centre = np.array([(xs * bright).sum(), (ys * bright).sum()]) / bright.sum()
    np.testing.assert_allclose(clip.points[0, 7], centre, atol=0.3)
    assert np.isnan(clip.points[1]).all()
    bare = flip(Crop(64, 8, size, 0.1)(_clip(images, None), rng), rng)
    assert bare.points is None
