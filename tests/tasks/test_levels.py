"""Scores of windows, videos and subjects: against loops that say the same slowly."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.errors import InputError
from openmarlin.tasks.levels import group_scores, video_scores, with_prior

Over = Literal["mean", "max"]

some_places = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)), max_size=30, unique=True
)


def some_scores(n: int, seed: int, without: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (n, 2))
    scores[rng.random(n) < without] = np.nan
    return scores


@given(places=some_places, seed=st.integers(0, 99), over=st.sampled_from(["mean", "max"]))
def test_as_by_hand(places: list[tuple[int, int, int]], seed: int, over: Over) -> None:
    scores = some_scores(len(places), seed)
    names = [f"v{video}" for video, _, _ in places]
    windows, faces = [w for _, w, _ in places], [f for _, _, f in places]
    ids, got = video_scores(names, windows, faces, scores, over_faces=over)
    assert list(ids) == list(dict.fromkeys(names))
    assert got.shape == (len(ids), 2)
    for name, row in zip(ids, got, strict=True):
        of_windows = []
        for window in dict.fromkeys(windows):
            rows = [i for i, p in enumerate(places) if (names[i], p[1]) == (name, window)]
            seen = [scores[i] for i in rows if np.isfinite(scores[i]).all()]
            if seen:
                of_windows.append(getattr(np, over)(seen, axis=0))
        expected = np.mean(of_windows, axis=0) if of_windows else [np.nan, np.nan]
        np.testing.assert_allclose(row, expected)


@given(places=some_places, seed=st.integers(0, 99), over=st.sampled_from(["mean", "max"]))
def test_the_order_of_rows_does_not_matter(
    places: list[tuple[int, int, int]], seed: int, over: Over
) -> None:
    scores = some_scores(len(places), seed)
    table = np.array(places, np.int64).reshape(-1, 3)
    ids, got = video_scores(*table.T, scores, over_faces=over)
    order = np.random.default_rng(seed).permutation(len(places))
    again, mixed = video_scores(*table[order].T, scores[order], over_faces=over)
    assert sorted(ids) == sorted(again)
    np.testing.assert_allclose(mixed[np.argsort(again)], got[np.argsort(ids)])


@given(places=some_places, seed=st.integers(0, 99))
def test_scores_stay_between_those_of_the_windows(
    places: list[tuple[int, int, int]], seed: int
) -> None:
    scores, table = some_scores(len(places), seed, 0), np.array(places, np.int64).reshape(-1, 3)
    ids, mean = video_scores(*table.T, scores, over_faces="mean")
    _, most = video_scores(*table.T, scores, over_faces="max")
    assert (most >= mean - 1e-12).all()
    for i, video in enumerate(ids):
        own = scores[table[:, 0] == video]
        assert (mean[i] >= own.min(axis=0) - 1e-12).all()
        assert (most[i] <= own.max(axis=0) + 1e-12).all()


def test_one_face_that_is_forged_in_a_crowd() -> None:
    """Three faces in each of two windows: the mean hides what the maximum shows."""
    scores = [[0.1], [0.9], [0.1], [0.1], [0.8], [0.1]]
    how = (["a"] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], scores)
    assert video_scores(*how, over_faces="max")[1][0, 0] == pytest.approx(0.85)
    assert video_scores(*how, over_faces="mean")[1][0, 0] == pytest.approx(0.35)


def test_windows_count_alike_however_many_faces_they_show() -> None:
    how = (["a"] * 4, [0, 0, 0, 1], [0, 1, 2, 0], [[0.0], [0.0], [0.0], [1.0]])
    assert video_scores(*how, over_faces="mean")[1][0, 0] == pytest.approx(0.5)


def test_a_face_with_two_scores_is_told() -> None:
    with pytest.raises(InputError, match="b: face 1 has two scores in window 7") as caught:
        video_scores(["a", "b", "b"], [7, 7, 7], [1, 1, 1], [[0.1], [0.2], [0.3]], over_faces="max")
    assert "\n" not in str(caught.value)


def test_videos_without_a_face_get_the_prior_and_are_flagged() -> None:
    ids, scores = video_scores(
        ["a", "b", "c"], [0, 0, 0], [0, 0, 0], [[0.9], [np.nan], [0.2]], over_faces="max"
    )
    filled, without = with_prior(["c", "b", "gone", "a"], ids, scores, 0.5)
    np.testing.assert_array_equal(filled, [[0.2], [0.5], [0.5], [0.9]])
    np.testing.assert_array_equal(without, [False, True, True, False])
    several, _ = with_prior(["x"], ids, np.zeros((3, 2)), [0.7, 0.3])
    np.testing.assert_array_equal(several, [[0.7, 0.3]])


@given(groups=st.lists(st.integers(0, 4), max_size=20), seed=st.integers(0, 99))
def test_subjects_are_means_of_their_videos(groups: list[int], seed: int) -> None:
    scores = some_scores(len(groups), seed)
    ids, got = group_scores([f"g{group}" for group in groups], scores)
    assert list(ids) == [f"g{group}" for group in dict.fromkeys(groups)]
    for name, row in zip(ids, got, strict=True):
        own = scores[[f"g{group}" == name for group in groups]]
        seen = own[np.isfinite(own).all(axis=1)]
        np.testing.assert_allclose(row, seen.mean(axis=0) if len(seen) else [np.nan, np.nan])


def test_videos_may_be_numbers() -> None:
    rng = np.random.default_rng(0)
    place = np.unique(rng.integers(0, 200, (50_000, 3)), axis=0)
    ids, got = video_scores(*place.T, rng.random((len(place), 3)), over_faces="max")
    assert ids.dtype.kind == "i"
    assert got.shape == (200, 3)
