"""Offsets: a shift of k is found as k, with the sign of a sound that is early."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.lipsync.offsets import (
    MAX_SHIFT,
    distances_around,
    distances_to_silence,
    measure_offset,
    shift_distances,
)


def embeddings(n: int, seed: int = 0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


@given(
    shift=st.integers(-MAX_SHIFT, MAX_SHIFT),
    n=st.integers(45, 90),
    variant=st.sampled_from(["valid", "compat"]),
)
def test_a_shift_is_found(shift: int, n: int, variant: str) -> None:
    """What is heard at tick t + k is seen at tick t + k + `shift`: the sound is early."""
    whole = embeddings(n + 2 * MAX_SHIFT)
    faces = whole[MAX_SHIFT : MAX_SHIFT + n]
    sounds = whole[MAX_SHIFT + shift : MAX_SHIFT + shift + n]
    offset = measure_offset(faces, sounds, variant=variant)
    assert offset.ticks == shift
    assert offset.curve.shape == (2 * MAX_SHIFT + 1,)
    assert offset.lse_c == pytest.approx(np.median(offset.curve) - offset.curve.min(), abs=1e-6)
    if variant == "valid":
        assert offset.lse_d < 1e-4


@given(n=st.integers(16, 60), shift=st.integers(0, 2 * MAX_SHIFT), tick=st.integers(0, 59))
def test_each_distance_is_of_the_pair_it_names(n: int, shift: int, tick: int) -> None:
    tick %= n
    faces, sounds = embeddings(n), embeddings(n, seed=1)
    other = tick + shift - MAX_SHIFT
    inside = 0 <= other < n
    valid = shift_distances(faces, sounds)[tick, shift]
    compat = shift_distances(faces, sounds, variant="compat")[tick, shift]
    pair = sounds[other] if inside else np.zeros(8)
    expected = np.linalg.norm(faces[tick] - pair + 1e-6)
    assert np.isnan(valid) != inside
    assert compat == pytest.approx(expected, rel=1e-5)
    if inside:
        assert valid == pytest.approx(expected, rel=1e-5)


def test_a_clip_of_25_windows_has_60_percent_of_zeros_at_the_last_shift() -> None:
    faces, sounds = embeddings(25), embeddings(25, seed=1)
    last = shift_distances(faces, sounds, variant="compat")[:, -1]
    of_zeros = np.isclose(last, distances_to_silence(faces), rtol=1e-6)
    assert of_zeros.mean() == pytest.approx(0.6)
    assert np.isnan(shift_distances(faces, sounds)[:, -1]).mean() == pytest.approx(0.6)


def test_sound_from_around_a_stretch_counts_where_it_is_given() -> None:
    sounds = embeddings(30 + 2 * MAX_SHIFT)
    distances = distances_around(sounds[MAX_SHIFT:-MAX_SHIFT], sounds)
    assert distances.shape == (30, 2 * MAX_SHIFT + 1)
    assert (distances.argmin(axis=1) == MAX_SHIFT).all()
    assert np.isfinite(distances).all()


def test_too_few_windows_for_a_shift() -> None:
    with pytest.raises(ValueError, match="15 windows"):
        measure_offset(embeddings(15), embeddings(15))
    assert measure_offset(embeddings(16), embeddings(16)).ticks == 0
    assert measure_offset(embeddings(3), embeddings(3), variant="compat").curve.shape == (31,)
