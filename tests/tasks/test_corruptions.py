"""Corruptions: more of them is worse, and what is random is drawn once a clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.errors import InputError
from openmarlin.tasks.corruptions import CORRUPTIONS, LEVELS, corrupt
from openmarlin.video.reader import VideoReader

NAMES = list(CORRUPTIONS)


@pytest.fixture(scope="module")
def face(clips: Path) -> np.ndarray:
    with VideoReader(clips / "single_face.mp4") as reader:
        images = [frame.image for frame, _ in zip(reader, range(4), strict=False)]
    return np.stack(images)[:, 40:264, 200:424]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_the_set_is_that_of_the_field() -> None:
    kinds = {"saturation", "contrast", "block", "noise", "blur", "pixelation", "compression"}
    assert set(NAMES) == kinds
    assert {len(kind.levels) for kind in CORRUPTIONS.values()} == {LEVELS}


@pytest.mark.parametrize("name", NAMES)
def test_each_level_is_worse_than_the_one_before(face: np.ndarray, name: str) -> None:
    before = face.copy()
    for size in (224, 160):
        images = np.stack([cv2.resize(image, (size, size)) for image in face])
        results = [corrupt(images, name, level, np.random.default_rng(7)) for level in range(1, 6)]
        distances = [distance(result, images) for result in results]
        assert distances == sorted(distances)
        assert distances[0] > 0.2
        assert distances[-1] > 1.3 * distances[0]
        for result in results:
            assert result.shape == images.shape
            assert result.dtype == np.uint8
    np.testing.assert_array_equal(face, before)


@settings(max_examples=20)
@given(
    name=st.sampled_from(NAMES),
    level=st.integers(1, 5),
    shape=st.tuples(st.integers(1, 3), st.integers(16, 50), st.integers(16, 50)),
    seed=st.integers(0, 99),
)
def test_any_shape_and_the_same_from_the_same_seed(
    name: str, level: int, shape: tuple[int, int, int], seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    first, second = (corrupt(images, name, level, np.random.default_rng(seed)) for _ in "ab")
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("noise", "compression")])
def test_a_clip_that_stands_still_still_does(face: np.ndarray, name: str) -> None:
    images = np.repeat(face[:1], 3, axis=0)
    out = corrupt(images, name, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(out[0], out[1])
    np.testing.assert_array_equal(out[0], out[2])


def test_what_each_does(face: np.ndarray) -> None:
    def worst(name: str) -> np.ndarray:
        return corrupt(face, name, 5, np.random.default_rng(1)).astype(float)

    assert np.ptp(worst("saturation"), axis=-1).max() <= 1  # grey
    assert worst("contrast").std() == pytest.approx(0.25 * face.std(), rel=0.05)
    hidden = (worst("block") != face).any(axis=(0, 3)).mean()
    assert hidden == pytest.approx(0.25, abs=0.02)
    noise = worst("noise")[:, 60:160, 60:160] - face[:, 60:160, 60:160]
    assert noise.std() == pytest.approx(30, rel=0.15)
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] < 0.1  # another in every frame
    steps = np.abs(np.diff(worst("pixelation")[0], axis=1)).sum(axis=(0, 2))
    assert (steps == 0).mean() > 0.7
    assert (
        np.abs(np.diff(worst("blur"), axis=2)).mean()
        < 0.5 * np.abs(np.diff(face.astype(float), axis=2)).mean()
    )


@pytest.mark.parametrize(("name", "level"), [("fog", 1), ("blur", 0), ("blur", 6)])
def test_what_there_is_not(name: str, level: int) -> None:
    with pytest.raises(InputError, match=r"choose from|give 1 to 5") as caught:
        corrupt(np.zeros((1, 16, 16, 3), np.uint8), name, level, np.random.default_rng(0))
    assert "\n" not in str(caught.value)
