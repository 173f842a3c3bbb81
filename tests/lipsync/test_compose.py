"""A drawn mouth in its frame: nothing outside the mask, no seam along it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from openmarlin.face.crop import crop, to_crop
from openmarlin.lipsync.compose import Placement, lower_face, match_colours, paste

SIZE = 96
PLACE = Placement(200.0, 150.0, 140.0, 0.3)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """A mesh that is nowhere but along the lower face."""
    mesh = np.full((478, 2), SIZE / 2, np.float32)
    jaw = [397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172]
    for i, point in enumerate(jaw):
        angle = math.pi * i / (len(jaw) - 1)
        mesh[point] = (SIZE / 2 + 34 * math.cos(angle), 58 + 30 * math.sin(angle))
    return mesh


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 6)


def face_of(image: np.ndarray) -> np.ndarray:
    return crop(image, PLACE.cx, PLACE.cy, PLACE.side, PLACE.angle, SIZE)


def test_a_placement_undoes_the_crop() -> None:
    source = np.random.default_rng(0).uniform(0, 300, (20, 2))
    inside = to_crop(source, PLACE.cx, PLACE.cy, PLACE.side, PLACE.angle, SIZE)
    np.testing.assert_allclose(PLACE.to_frame(inside, SIZE), source, atol=1e-3)


def test_outside_the_mask_every_bit_is_kept(image: np.ndarray, points: np.ndarray) -> None:
    before = image.copy()
    drawn = np.full((SIZE, SIZE, 3), 255, np.uint8)
    result = paste(image, drawn, face_of(image), points, PLACE)
    np.testing.assert_array_equal(image, before)
    changed = (result != image).any(axis=2)
    assert 1000 < changed.sum() < 10_000
    ys, xs = np.nonzero(changed)
    inside = to_crop(np.stack([xs, ys], axis=1) + 0.5, *vars_of(PLACE), SIZE)
    outline = lower_face(points, SIZE)
    distance = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in inside]
    assert min(distance) > -0.1 * SIZE


def vars_of(place: Placement) -> tuple[float, float, float, float]:
    return place.cx, place.cy, place.side, place.angle


def test_the_face_itself_changes_hardly_anything(image: np.ndarray, points: np.ndarray) -> None:
    result = paste(image, face_of(image), face_of(image), points, PLACE)
    assert np.abs(result.astype(int) - image).max() <= 6


def test_another_exposure_is_matched(image: np.ndarray, points: np.ndarray) -> None:
    """A face that is drawn too bright, and tinted, leaves no trace."""
    view = face_of(image)
    drawn = np.clip(view.astype(int) + np.array([20, 5, -15]), 0, 255).astype(np.uint8)
    result = paste(image, drawn, view, points, PLACE)
    assert np.abs(result.astype(int) - image).max() <= 8


def test_what_is_drawn_inside_stays(points: np.ndarray) -> None:
    """Only low frequencies move: a dark mouth in the middle stays dark."""
    view = np.full((SIZE, SIZE, 3), 150, np.uint8)
    drawn = view + np.uint8(20)
    cv2.ellipse(drawn, (48, 70), (12, 6), 0, 0, 360, (20, 20, 20), -1)
    matched = match_colours(drawn, view, lower_face(points, SIZE))
    assert matched[70, 48].max() < 10
    assert np.abs(matched[62, 75] - 150).max() < 3


def test_strength_and_borders_of_the_picture(image: np.ndarray, points: np.ndarray) -> None:
    view, drawn = face_of(image), np.zeros((SIZE, SIZE, 3), np.uint8)
    drawn[::2] = 255
    none = paste(image, drawn, view, points, PLACE, strength=0.0)
    np.testing.assert_array_equal(none, image)
    whole, half = (paste(image, drawn, view, points, PLACE, strength=s) for s in (1.0, 0.5))
    middle = (whole.astype(int) + image) / 2
    assert np.abs(half - middle).max() <= 1
    for cx, cy in ((0.0, 0.0), (400.0, 300.0), (1000.0, 150.0), (200.0, -90.0)):
        place = Placement(cx, cy, 140.0, 0.3)
        assert paste(image, drawn, view, points, place).shape == image.shape
