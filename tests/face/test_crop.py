"""Crops: framing, one affine, padding, anti-aliasing, and patches that equal the whole picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.face.crop import Patch, crop, marlin_square, shrink_for, to_crop


def smooth_picture(height: int, width: int) -> np.ndarray:
    """A picture without fine detail, so that sampling errors stay below a grey level or two."""
    y, x = np.mgrid[:height, :width] + 0.5
    waves = [100 * np.sin(x / 40), 100 * np.cos(y / 30), 60 * np.sin((x + y) / 50)]
    return (127 + np.stack(waves, -1)).round().astype(np.uint8)


def test_marlin_square_follows_the_measured_framing() -> None:
    cx, cy, side = marlin_square(np.array([100.0, 200.0, 180.0, 300.0]))
    assert (cx, cy, side) == pytest.approx((140.0, 250.0 - 6.8, 113.5))
    assert marlin_square(np.array([0.0, 0.0, 100.0, 50.0]))[2] == pytest.approx(113.5)


def test_identity_crop_returns_the_pixels_themselves() -> None:
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert np.array_equal(crop(image, 112, 112, 224), image)
    assert np.array_equal(crop(image, 100, 60, 64, size=64), image[28:92, 68:132])


def test_a_quarter_turn_is_exact() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    turned = crop(image, 32, 32, 64, angle=math.pi / 2, size=64)
    assert np.array_equal(turned, np.rot90(image, 1))


def test_beyond_the_picture_lie_zeros() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    out = crop(image, 0, 0, 100, size=100)
    assert (out[:49, :] == 0).all()
    assert (out[:, :49] == 0).all()
    assert (out[51:, 51:] == 200).all()
    assert not crop(image, -500, 50, 100).any()
    assert not crop(image, 50, 9000, 1000).any()


@pytest.mark.parametrize("side", [100.0, 300.0, 447.0, 449.0, 900.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
def test_crop_samples_the_right_places(side: float, angle: float) -> None:
    image = smooth_picture(1000, 1000)
    out = crop(image, 500.3, 480.6, side, angle)
    columns, rows = np.meshgrid(np.arange(20, 224, 30), np.arange(20, 224, 30))
    u = np.stack([columns.ravel(), rows.ravel()], 1) + 0.5
    offset = (u - 112) * side / 224
    cos, sin = math.cos(angle), math.sin(angle)
    x = 500.3 + cos * offset[:, 0] - sin * offset[:, 1]
    y = 480.6 + sin * offset[:, 0] + cos * offset[:, 1]
    inside = (x > 5) & (x < 995) & (y > 5) & (y < 995)
    expected = np.stack([127 + 100 * np.sin(x / 40), 127 + 100 * np.cos(y / 30)], 1)[inside]
    got = out[rows.ravel(), columns.ravel(), :2][inside]
    assert np.abs(got - expected).max() < 4
    # The same map takes points of the source to the crop.
    back = to_crop(np.stack([x, y], 1), 500.3, 480.6, side, angle, 224)
    assert np.abs(back - u).max() < 1e-3


def test_strong_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    out = crop(stripes, 1000, 1000, 1800)
    assert out.std() < 3
    assert abs(float(out.mean()) - 127.5) < 3


@given(
    side=st.floats(1, 700),
    cx=st.floats(-100, 500),
    cy=st.floats(-100, 400),
    angle=st.floats(-math.pi, math.pi),
)
def test_a_patch_with_margin_gives_the_crop_of_the_whole_picture(
    side: float, cx: float, cy: float, angle: float
) -> None:
    image = smooth_picture(300, 400)
    whole = Patch.cut(image, (-1000, -1000, 2000, 2000), shrink_for(side, 64))
    direct = crop(image, cx, cy, side, angle, size=64)
    assert direct.shape == (64, 64, 3)
    difference = whole.crop(cx, cy, side, angle, 64).astype(int) - direct
    assert np.abs(difference).max() <= 8  # 1/32 pixel at a black border, the warp's resolution


def test_tiny_pictures() -> None:
    image = np.full((8, 8, 3), 77, np.uint8)
    assert (crop(image, 4, 4, 4) == 77).all()
    assert crop(image, 4, 4, 0.01).shape == (224, 224, 3)
    assert crop(image[:1, :1], 0.5, 0.5, 1).shape == (224, 224, 3)


def test_patches_copy_and_stay_small() -> None:
    image = np.zeros((4320, 7680, 3), np.uint8)
    patch = Patch.cut(image, (3000, 1000, 6000, 4000), shrink_for(2000, 224))
    assert patch.pixels.base is None or patch.pixels.base is not image
    assert patch.pixels.nbytes < 1_000_000


def test_agrees_with_plain_opencv_resizing() -> None:
    image = smooth_picture(400, 400)
    ours = crop(image, 200, 200, 400)
    theirs = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours.astype(int) - theirs).max() <= 3
