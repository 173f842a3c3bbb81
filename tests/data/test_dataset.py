"""Clips of a store, the order in which they are seen, and who loads which."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_store

from openmarlin.data.dataset import (
    ClipDataset,
    Key,
    SampleStream,
    StepBatches,
    draw_frames,
    split_tracks,
)
from openmarlin.data.store import Store, StoreWriter, Track
from openmarlin.data.transforms import Clip


def test_a_clip_goes_through_its_transforms_in_order(tmp_path: Path) -> None:
    store = toy_store(tmp_path / "store", tracks=2)

    def darker(clip: Clip, rng: np.random.Generator) -> Clip:
        clip.extras["order"] = torch.tensor([1])
        return clip

    def labelled(clip: Clip, rng: np.random.Generator) -> Clip:
        clip.extras["order"] = torch.cat([clip.extras["order"], torch.tensor([2])])
        clip.extras["chance"] = torch.tensor(rng.random())
        return clip

    def clips(seed: int | None) -> ClipDataset:
        return ClipDataset(store, [1], frames=4, rate=2, transforms=[darker, labelled], seed=seed)

    sample = clips(0)[3, 0]
    name, start = sample["id"].split(":")
    frames, _ = store.read(1, range(int(start), int(start) + 8, 2))
    assert name == "track-1"
    np.testing.assert_array_equal(sample["video"], frames)
    assert sample["order"].tolist() == [1, 2]
    chances = {clips(seed)[epoch, 0]["chance"].item() for seed in (0, 1) for epoch in (0, 1)}
    assert len(chances) == 4
    assert len({clips(None)[epoch, 0]["chance"].item() for epoch in (0, 1)}) == 1


def test_points_are_read_where_a_transform_needs_them(tmp_path: Path) -> None:
    images, cells = np.zeros((6, 16, 16, 3), np.uint8), np.zeros((6, 2, 2), np.uint16)
    points = np.arange(6, dtype=np.float32)[:, None, None] + np.zeros((6, 478, 2), np.float32)
    with StoreWriter(tmp_path / "s", size=16) as writer:
        writer.add("a", images, cells, points=points)
    seen = []

    class Look:
        def __init__(self, *, needs_points: bool) -> None:
            self.needs_points = needs_points

        def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
            seen.append((clip.frames, clip.points))
            return clip

    for needed in (False, True):
        transforms = [Look(needs_points=False), Look(needs_points=needed)]
        store = Store(tmp_path / "s")
        how = {"frames": 3, "rate": 2, "transforms": transforms, "seed": 0}
        _ = ClipDataset(store, [0], **how)[0, 0]
    assert [points is None for _, points in seen] == [True, True, False, False]
    frames, got = seen[-1]
    np.testing.assert_array_equal(got[:, 5, 1], np.float32(frames))


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
