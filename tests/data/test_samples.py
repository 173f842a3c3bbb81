"""Samples: a function of (seed, epoch, index), with exact counts, whoever loads them."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import TOY, toy_store

from openmarlin.data.samples import (
    ClipDataset,
    Key,
    SampleSettings,
    SampleStream,
    StepBatches,
    draw_frames,
    split_tracks,
)
from openmarlin.data.store import Store, Track
from openmarlin.errors import InputError
from openmarlin.masking import n_visible
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.regions import region_bits

CONFIG = PRESETS["tiny"].changed(**TOY["shape"])
ALL = {"flip": True, "crop": 0.2, "colour": 0.2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return toy_store(tmp_path_factory.mktemp("samples") / "store", margin=8)


def dataset(
    store: Store, config: ModelConfig = CONFIG, *, held_out: bool = False, **settings: Any
) -> ClipDataset:
    asked = SampleSettings(**{"mask_ratio": 0.75, **settings})
    return ClipDataset(store, range(len(store)), config, asked, held_out=held_out)


def equal(one: Any, other: Any) -> bool:
    same = all((one[name] == other[name]).all() for name in ("video", "mask", "wanted"))
    return same and one["id"] == other["id"]


# One clip


def test_what_a_sample_is(store: Store) -> None:
    sample = dataset(store)[0, 2]
    frames = [int(sample["id"].split(":")[1]) + 2 * i for i in range(4)]
    images, _ = store.read(2, frames)
    assert sample["id"].startswith("track-2:")
    np.testing.assert_array_equal(sample["video"], images[:, 8:40, 8:40])
    assert str(sample["mask"].dtype) == str(sample["wanted"].dtype) == "torch.bool"
    assert sample["video"].is_contiguous()


def test_fasking_sees_the_regions_of_this_very_crop(store: Store) -> None:
    """Where the eyes are, by the cells of the stored frames, nothing is visible."""
    sample = dataset(store, regions=["left_eye", "right_eye"])[0, 1]
    start = int(sample["id"].split(":")[1])
    _, cells = store.read(1, [start + 2 * i for i in range(4)])
    eyes = region_bits(["left_eye", "right_eye"])
    per_step = cells[:, 1:5, 1:5].reshape(2, 2, 4, 4)  # without the margin; two frames a tubelet
    hidden = (np.bitwise_or.reduce(per_step, axis=1) & eyes) != 0
    assert hidden.any()
    assert sample["mask"].numpy().reshape(2, 4, 4)[hidden].all()


def test_a_sample_is_a_function_of_seed_epoch_and_index(store: Store) -> None:
    one, other = dataset(store, **ALL), pickle.loads(pickle.dumps(dataset(store, **ALL)))
    keys = [(epoch, index) for epoch in range(3) for index in range(6)]
    first = {key: one[key] for key in keys}
    for key in reversed(keys):
        assert equal(other[key], first[key])
    assert not equal(dataset(store, seed=1, **ALL)[0, 0], first[0, 0])
    assert not equal(first[1, 0], first[0, 0])
    assert len({tuple(sample["mask"].tolist()) for sample in first.values()}) > 12


def test_augmentation_is_seen_in_the_pictures_alone_when_asked_for(store: Store) -> None:
    plain = dataset(store)[0, 0]["video"]
    for name in ("crop", "colour"):
        assert not (dataset(store, **{name: 0.3})[0, 0]["video"] == plain).all(), name
    flipped = [dataset(store, flip=True)[epoch, 0]["video"] for epoch in range(12)]
    as_they_are = [dataset(store)[epoch, 0]["video"] for epoch in range(12)]
    mirrored = [bool((a == b.flip(2)).all()) for a, b in zip(flipped, as_they_are, strict=True)]
    kept = [bool((a == b).all()) for a, b in zip(flipped, as_they_are, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert any(mirrored)
    assert any(kept)


def test_held_out_clips_are_the_same_in_every_epoch_and_as_they_are(store: Store) -> None:
    clips = dataset(store, held_out=True, decode_share=0.5, **ALL)
    other_seed = dataset(store, held_out=True, decode_share=1.0, seed=5)
    for index in (0, 3, 7):  # past the number of tracks: another clip of one
        assert equal(clips[0, index], clips[4, index])
        assert equal(clips[0, index], other_seed[0, index])
        assert (clips[0, index]["wanted"] == clips[0, index]["mask"]).all()
    assert clips[0, 7]["id"].startswith("track-1:")


@given(
    ratio=st.floats(0.05, 0.96),
    share=st.floats(0.001, 1),
    masking=st.sampled_from(["fasking", "fasking_paper", "tube", "random", "frame"]),
    index=st.integers(0, 5),
)
def test_counts_are_exact(
    store: Store, ratio: float, share: float, masking: str, index: int
) -> None:
    clips = dataset(store, mask_ratio=ratio, decode_share=share, masking=masking)
    sample = clips[0, index]
    masked = CONFIG.n_tokens - n_visible(CONFIG.n_tokens, ratio)
    assert int(sample["mask"].sum()) == masked
    assert int(sample["wanted"].sum()) == max(1, round(share * masked))
    assert not (sample["wanted"] & ~sample["mask"]).any()


def test_a_share_is_drawn_anew_each_time(store: Store) -> None:
    clips = dataset(store, decode_share=0.5, masking="tube")
    assert len({tuple(clips[epoch, 0]["wanted"].tolist()) for epoch in range(8)}) == 8


def test_another_size_than_stored(store: Store) -> None:
    config = CONFIG.changed(image_size=64, patch=16)
    assert dataset(store, config)[0, 0]["video"].shape == (4, 64, 64, 3)


def test_regions_may_not_fit_where_nobody_asks_for_them(store: Store) -> None:
    sample = dataset(store, CONFIG.changed(image_size=36, patch=6), masking="tube")[0, 0]
    assert sample["video"].shape == (4, 36, 36, 3)


@pytest.mark.parametrize(
    ("config", "settings", "told"),
    [
        ({}, {"masking": "faskin"}, "unknown masking 'faskin': choose from fasking,"),
        ({}, {"regions": ["ear"]}, "unknown face region 'ear': choose from background,"),
        ({}, {"mask_ratio": 0.99}, "leaves none of 32 tokens visible"),
        ({}, {"mask_ratio": 0.0}, "mask_ratio 0 masks none of 32 tokens"),
        ({"patch": 4}, {}, "image_size 32 and patch 4 do not fit the regions"),
        ({"image_size": 36, "patch": 12}, {"regions": ["nose"], "masking": "tube"}, "do not fit"),
        ({"image_size": 4, "patch": 2}, {"masking": "tube"}, "image_size 4 is too small"),
    ],
)
def test_what_does_not_fit_is_told_at_once(
    store: Store, config: dict[str, int], settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        dataset(store, CONFIG.changed(**config), **settings)
    assert "\n" not in str(caught.value)


@given(n=st.integers(1, 80), length=st.integers(1, 20), rate=st.integers(1, 4), seed=st.integers(0))
def test_frames_lie_in_the_track_and_keep_their_rate(
    n: int, length: int, rate: int, seed: int
) -> None:
    frames = draw_frames(n, length, rate, np.random.default_rng(seed))
    assert len(frames) == length
    assert 0 <= frames[0] <= max(0, n - 1 - (length - 1) * rate)
    expected = [min(frames[0] + rate * i, n - 1) for i in range(length)]
    assert frames == expected


def test_every_start_is_drawn() -> None:
    rng = np.random.default_rng(0)
    starts = Counter(draw_frames(12, 4, 2, rng)[0] for _ in range(600))
    assert set(starts) == set(range(6))
    assert min(starts.values()) > 60


# Which tracks


def tracks(groups: list[int]) -> list[Track]:
    return [Track(f"t{i}", "v.mp4", f"g{g}", 32, 25.0) for i, g in enumerate(groups)]


@given(groups=st.lists(st.integers(0, 9), min_size=1, max_size=40), share=st.floats(0, 0.99))
def test_no_group_is_on_both_sides(groups: list[int], share: float) -> None:
    train, held_out = split_tracks(tracks(groups), share)
    assert sorted(train + held_out) == list(range(len(groups)))
    assert not {groups[i] for i in train} & {groups[i] for i in held_out}
    assert train
    n = len(set(groups))
    wanted = min(max(1, round(share * n)), n - 1) if share else 0
    assert len({groups[i] for i in held_out}) == wanted
    first = [groups[i] for i in held_out[:wanted]]
    assert len(set(first)) == wanted  # one of each before a second of any


@given(groups=st.permutations([0, 0, 1, 2, 2, 2, 3, 4, 5]))
def test_who_is_held_out_depends_on_names_alone(groups: list[int]) -> None:
    _, held_out = split_tracks(tracks(groups), 0.4)
    _, reference = split_tracks(tracks(sorted(groups)), 0.4)
    assert {groups[i] for i in held_out} == {sorted(groups)[i] for i in reference}


@given(
    groups=st.lists(st.integers(0, 4), min_size=1, max_size=20),
    per_group=st.none() | st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_an_epoch_has_each_track_once(groups: list[int], per_group: int | None, seed: int) -> None:
    stream = SampleStream([str(g) for g in groups], seed, per_group)
    some = per_group or len(groups)
    assert len(stream) == sum(min(count, some) for count in Counter(groups).values())
    for epoch in range(3):
        keys = stream(epoch * len(stream), len(stream))
        assert {e for e, _ in keys} == {epoch}
        indices = [index for _, index in keys]
        assert len(set(indices)) == len(indices)
        counts = Counter(groups[index] for index in indices)
        assert counts == {g: min(count, some) for g, count in Counter(groups).items()}


def test_orders_differ_by_epoch_and_seed() -> None:
    stream = SampleStream(["g"] * 30, 0)
    orders = [[index for _, index in stream(epoch * 30, 30)] for epoch in range(3)]
    orders.append([index for _, index in SampleStream(["g"] * 30, 1)(0, 30)])
    assert len({tuple(order) for order in orders}) == 4


def test_in_time_each_track_of_a_large_group_is_drawn() -> None:
    stream = SampleStream(["a"] * 12 + ["b"], 0, per_group=2)
    seen = Counter(index for _, index in stream(0, 100 * len(stream)))
    assert len(stream) == 3
    assert set(seen) == set(range(13))
    assert seen[12] == 100
    assert max(seen[i] for i in range(12)) < 35


# Who loads what


def load(steps: range, *, n: int = 7, **how: int) -> list[list[Key]]:
    return list(StepBatches(SampleStream(["g"] * n, 3), steps, **how))


@given(
    batch=st.integers(1, 5),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 4),
    n=st.integers(1, 9),
)
def test_processes_see_together_what_one_with_a_larger_batch_sees(
    batch: int, accumulate: int, world: int, n: int
) -> None:
    steps = range(4)
    each = [
        load(steps, n=n, batch=batch, accumulate=accumulate, rank=rank, world=world)
        for rank in range(world)
    ]
    assert {len(batches) for batches in each} == {4 * accumulate}
    alone = load(steps, n=n, batch=batch * accumulate * world)
    for step in steps:
        now = slice(step * accumulate, (step + 1) * accumulate)
        together = [key for batches in each for part in batches[now] for key in part]
        assert together == alone[step]


@given(first=st.integers(0, 12), stop=st.integers(0, 12))
def test_from_any_step_on_the_keys_are_the_same(first: int, stop: int) -> None:
    how = {"batch": 3, "accumulate": 2, "rank": 1, "world": 2}
    resumed = load(range(first, stop), **how)
    assert resumed == load(range(12), **how)[2 * first : 2 * stop]
    assert len(resumed) == len(StepBatches(SampleStream(["g"], 0), range(first, stop), **how))
