"""Pairs of fake and real: found in a table, and never parted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_store

from openmarlin.data.dataset import ClipDataset, StepBatches
from openmarlin.errors import InputError
from openmarlin.tasks.pairs import PairStream, pairs_by_group, pairs_by_original

some_pairs = st.lists(st.integers(0, 5), min_size=1, max_size=20).map(
    lambda reals: [(100 + i, real) for i, real in enumerate(reals)]
)


@given(pairs=some_pairs, seed=st.integers(0, 99))
def test_every_epoch_has_each_fake_once_and_its_real_behind_it(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    stream, real_of = PairStream(pairs, seed), dict(pairs)
    assert len(stream) == 2 * len(pairs)
    keys = [stream(epoch * len(stream), len(stream)) for epoch in range(3)]
    for epoch in keys:
        fakes, reals = [index for _, index in epoch[::2]], [index for _, index in epoch[1::2]]
        assert sorted(fakes) == sorted(real_of)
        assert reals == [real_of[fake] for fake in fakes]
    every = [key for epoch in keys for key in epoch]
    assert len(set(every)) == len(every)  # no sample comes twice


@given(pairs=some_pairs, seed=st.integers(0, 99), first=st.integers(0, 200), n=st.integers(0, 50))
def test_from_any_position_on_the_keys_are_the_same(
    pairs: list[tuple[int, int]], seed: int, first: int, n: int
) -> None:
    assert PairStream(pairs, seed)(first, n) == PairStream(pairs, seed)(0, 250)[first : first + n]


def test_orders_differ_by_epoch_and_seed() -> None:
    pairs = [(i + 30, i) for i in range(30)]
    orders = {
        tuple(index for _, index in PairStream(pairs, seed)(60 * epoch, 60))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


@given(
    half=st.integers(1, 4), accumulate=st.integers(1, 3), world=st.integers(1, 3), pairs=some_pairs
)
def test_every_batch_has_as_many_reals_as_fakes(
    half: int, accumulate: int, world: int, pairs: list[tuple[int, int]]
) -> None:
    real_of = dict(pairs)
    for rank in range(world):
        how = {"batch": 2 * half, "accumulate": accumulate, "rank": rank, "world": world}
        for batch in StepBatches(PairStream(pairs, 3), range(5), **how):
            indices = [index for _, index in batch]
            assert len(indices) == 2 * half
            assert [real_of[fake] for fake in indices[::2]] == indices[1::2]


@pytest.mark.parametrize("batch", [1, 3])
def test_odd_batches_are_refused(batch: int) -> None:
    with pytest.raises(InputError, match=rf"batch={batch} .*multiple of 2"):
        StepBatches(PairStream([(1, 0)], 0), range(2), batch=batch, accumulate=2)


def test_pairs_there_must_be() -> None:
    with pytest.raises(InputError, match="nothing to pair"):
        PairStream([], 0)
    with pytest.raises(ValueError, match="two pairs"):
        PairStream([(1, 0), (1, 2)], 0)


def test_a_real_of_several_fakes_shows_other_clips(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "s", tracks=4, n_frames=40)
    clips = ClipDataset(store, range(4), frames=2, rate=1, transforms=[], seed=0)
    keys = PairStream([(1, 0), (2, 0), (3, 0)], 0)(0, 60)
    reals = Counter(clips[key]["id"] for key in keys[1::2])
    assert all(name.startswith("track-0") for name in reals)
    assert len(reals) > 12  # of 30 draws out of 39 starts


# In a table


def test_by_the_column_that_names_the_original() -> None:
    videos = ["/d/r/1.mp4", "/d/f/1_2.mp4", "/d/r/2.mp4", "/d/f/2_1.mp4", "/d/f/9_1.mp4"]
    originals = ["", "/d/r/1.mp4", None, "../r/2.mp4", "r/9.mp4"]
    assert pairs_by_original(videos, originals) == ([(1, 0), (3, 2)], [4])


def test_a_name_that_two_videos_have_is_not_guessed() -> None:
    videos = ["/a/1.mp4", "/b/1.mp4", "/f/1.mp4"]
    assert pairs_by_original(videos, ["", "", "1.mp4"]) == ([], [2])
    assert pairs_by_original(videos, ["", "", "b/1.mp4"]) == ([(2, 1)], [])


def test_of_a_video_of_several_tracks_the_nearest_is_taken() -> None:
    videos = ["real", "real", "real", "fake", "fake"]
    originals = ["", "", "", "real", "real"]
    start_s = [0.0, 12.0, 24.0, 11.0, 30.0]
    assert pairs_by_original(videos, originals, start_s)[0] == [(3, 1), (4, 2)]


def test_by_a_column_that_a_real_and_its_fakes_share() -> None:
    videos = ["a", "a1", "a2", "b", "b", "b1", "c1", "d", "e", "d1"]
    groups = ["A", "A", "A", "B", "B", "B", "C", "D", "D", "D"]
    fakes = [False, True, True, False, False, True, True, False, False, True]
    pairs, alone = pairs_by_group(videos, groups, fakes)
    assert pairs == [(1, 0), (2, 0), (5, 3)]
    assert alone == [6, 9]  # no real; two reals


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0, 9)), max_size=25),
)
def test_both_ways_agree_and_pair_fakes_with_reals(rows: list[tuple[int, bool, float]]) -> None:
    videos = [f"/v/{'fake' if fake else 'real'}{group}.mp4" for group, fake, _ in rows]
    groups, fakes = [str(group) for group, _, _ in rows], [fake for _, fake, _ in rows]
    originals = [f"/v/real{group}.mp4" if fake else "" for group, fake, _ in rows]
    start_s = [start for _, _, start in rows]
    pairs, alone = pairs_by_group(videos, groups, fakes, start_s)
    assert (pairs, alone) == pairs_by_original(videos, originals, start_s)
    assert sorted([fake for fake, _ in pairs] + alone) == list(np.flatnonzero(fakes))
    for fake, real in pairs:
        assert not fakes[real]
        assert groups[fake] == groups[real]
        others = [i for i, video in enumerate(videos) if video == videos[real]]
        best = min(abs(start_s[i] - start_s[fake]) for i in others)
        assert abs(start_s[real] - start_s[fake]) == best
