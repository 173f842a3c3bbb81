"""Cuts: found between shots; not at motion, pans, flashes, noise or repeated pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from openmarlin.face.cuts import starts_of_shots, thumbnail


def world(seed: int, height: int = 400, width: int = 1600) -> np.ndarray:
    """A wide random landscape with structure at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 60), (12, 40), (40, 25)):
        coarse = rng.normal(0, 1, (cells, cells * 4, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def starts(pictures: list[np.ndarray]) -> list[int]:
    marked = list(starts_of_shots(range(len(pictures)), lambda n: pictures[n]))
    assert [n for n, _ in marked] == list(range(len(pictures)))  # every item once, in order
    return [n for n, first in marked if first]


def view(scene: np.ndarray, x: int) -> np.ndarray:
    return scene[:, x : x + 640]


def test_the_first_frame_starts_a_shot_and_nothing_else_in_a_still_one() -> None:
    assert starts([]) == []
    assert starts([world(0)]) == [0]
    noise = np.random.default_rng(0)
    still = [
        cv2.add(view(world(0), 0), noise.integers(0, 20, (400, 640, 3), dtype=np.uint8))
        for _ in range(8)
    ]
    assert starts(still) == [0]


@pytest.mark.parametrize("at", [1, 2, 5, 7])
def test_another_scene_is_a_cut(at: int) -> None:
    pictures = [view(world(0), 0)] * at + [view(world(1), 0)] * (8 - at)
    assert starts([p.copy() for p in pictures]) == [0, at]


def test_another_size_is_a_cut_even_of_the_same_scene() -> None:
    """Boxes before and after it are in different pixels."""
    large = view(world(0), 0)
    small = cv2.resize(large, (320, 200), interpolation=cv2.INTER_AREA)
    pictures = [small] * 3 + [large] * 3 + [small] + [large] * 2
    assert starts([p.copy() for p in pictures]) == [0, 3, 6, 7]


def test_pans_are_no_cuts() -> None:
    scene = world(2)
    for speed in (5, 20, 45):  # up to 7 % of the width between two frames
        assert starts([view(scene, 30 + speed * n) for n in range(15)]) == [0]


def test_something_that_moves_across_is_no_cut() -> None:
    pictures = []
    for n in range(15):
        picture = view(world(3), 0).copy()
        cv2.circle(picture, (40 * n, 200), 120, (230, 190, 160), -1)
        pictures.append(picture)
    assert starts(pictures) == [0]


def test_a_flash_is_no_cut_but_a_cut_to_white_is() -> None:
    scene, white = view(world(4), 0), np.full((400, 640, 3), 255, np.uint8)
    assert starts(
        [scene.copy() for _ in range(5)] + [white] + [scene.copy() for _ in range(5)]
    ) == [0]
    assert starts([scene.copy() for _ in range(5)] + [white.copy() for _ in range(5)]) == [0, 5]


def test_motion_goes_on_across_a_flash() -> None:
    scene, white = world(9), np.full((400, 640, 3), 255, np.uint8)
    pictures = [view(scene, 30 + 30 * n) for n in range(14)]
    pictures[7] = white
    assert starts(pictures) == [0]


def test_a_sudden_change_of_the_same_colours_is_a_cut() -> None:
    scene = view(world(5), 0)
    pictures = [scene.copy() for _ in range(6)] + [scene[:, ::-1].copy() for _ in range(6)]
    assert starts(pictures) == [0, 6]


def test_repeated_pictures_are_looked_at_once_and_bounded() -> None:
    first, second = view(world(6), 0), view(world(7), 0)
    pictures = [first] * 300 + [second] * 300
    assert starts(pictures) == [0, 300]
    taken = 0

    def counted():
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield n

    stream = starts_of_shots(counted(), lambda n: first)
    next(stream)
    assert taken < 300  # a picture that stands still does not stop the stream


def test_another_size_is_a_cut_and_tiny_pictures_are_fine() -> None:
    wide, tall = view(world(8), 0), np.ascontiguousarray(view(world(8), 0).transpose(1, 0, 2))
    assert starts([wide, wide.copy(), tall, tall.copy()]) == [0, 2]
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert starts([tiny, tiny.copy(), tiny.copy()]) == [0]
    assert thumbnail(np.zeros((4320, 7680, 3), np.uint8)).shape == (36, 64, 3)
    assert thumbnail(np.zeros((1, 3000, 3), np.uint8)).shape == (8, 64, 3)
