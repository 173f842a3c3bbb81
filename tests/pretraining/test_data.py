"""Clips of pre-training: a function of (seed, epoch, index), with exact counts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import TOY, toy_store

from openmarlin.data.dataset import ClipDataset
from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.masking import n_visible
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.pretraining.data import pretraining_data
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.regions import region_bits

CONFIG = PRESETS["tiny"].changed(**TOY["shape"])
ALL = {"flip": True, "crop": 0.2, "colour": 0.2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return toy_store(tmp_path_factory.mktemp("samples") / "store", margin=8)


def dataset(
    store: Store, config: ModelConfig = CONFIG, *, held_out: bool = False, **values: Any
) -> ClipDataset:
    """All tracks, to learn from or to validate with."""
    where = {"data": store.path, "out": Path("run"), "steps": 1, "val_share": 0}
    settings = PretrainSettings.of({**where, "mask_ratio": 0.75, **values})
    data = pretraining_data(store, config, settings)
    return data.held_out if held_out else data.train  # type: ignore[return-value]


def equal(one: Any, other: Any) -> bool:
    same = all((one[name] == other[name]).all() for name in ("video", "mask", "targets"))
    return same and one["id"] == other["id"]


def test_what_a_sample_is(store: Store) -> None:
    sample = dataset(store)[0, 2]
    frames = [int(sample["id"].split(":")[1]) + 2 * i for i in range(4)]
    images, _ = store.read(2, frames)
    assert sample["id"].startswith("track-2:")
    np.testing.assert_array_equal(sample["video"], images[:, 8:40, 8:40])
    assert str(sample["mask"].dtype) == str(sample["targets"].dtype) == "torch.bool"
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


def test_augmentation_is_seen_in_the_pictures_alone_where_it_is_set(store: Store) -> None:
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
    clips = dataset(store, held_out=True, decode_ratio=0.5, **ALL)
    other_seed = dataset(store, held_out=True, decode_ratio=1.0, seed=5)
    for index in (0, 3, 7):  # past the number of tracks: another clip of one
        assert equal(clips[0, index], clips[4, index])
        assert equal(clips[0, index], other_seed[0, index])
        assert (clips[0, index]["targets"] == clips[0, index]["mask"]).all()
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
    clips = dataset(store, mask_ratio=ratio, decode_ratio=share, masking=masking)
    sample = clips[0, index]
    masked = CONFIG.n_tokens - n_visible(CONFIG.n_tokens, ratio)
    assert int(sample["mask"].sum()) == masked
    assert int(sample["targets"].sum()) == max(1, round(share * masked))
    assert not (sample["targets"] & ~sample["mask"]).any()


def test_a_share_is_drawn_anew_each_time(store: Store) -> None:
    clips = dataset(store, decode_ratio=0.5, masking="tube")
    assert len({tuple(clips[epoch, 0]["targets"].tolist()) for epoch in range(8)}) == 8


def test_another_size_than_stored(store: Store) -> None:
    config = CONFIG.changed(image_size=64, patch=16)
    assert dataset(store, config)[0, 0]["video"].shape == (4, 64, 64, 3)


def test_regions_may_not_fit_where_nothing_needs_them(store: Store) -> None:
    sample = dataset(store, CONFIG.changed(image_size=36, patch=6), masking="tube")[0, 0]
    assert sample["video"].shape == (4, 36, 36, 3)


@pytest.mark.parametrize(
    ("config", "settings", "line"),
    [
        ({}, {"masking": "faskin"}, "unknown masking 'faskin': choose from fasking,"),
        ({}, {"regions": ["ear"]}, "unknown face region 'ear': choose from background,"),
        ({}, {"mask_ratio": 0.99}, "leaves none of 32 tokens visible"),
        ({}, {"mask_ratio": 0.0}, "masks none of 32 tokens"),
        ({"patch": 4}, {}, "patch 4 does not fit the regions"),
        (
            {"image_size": 36, "patch": 12},
            {"regions": ["nose"], "masking": "tube"},
            "patch 12 does not fit",
        ),
        ({"image_size": 4, "patch": 2}, {"masking": "tube"}, "image_size 4 is too small"),
    ],
)
def test_what_does_not_fit_shows_at_once(
    store: Store, config: dict[str, int], settings: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=line) as caught:
        dataset(store, CONFIG.changed(**config), **settings)
    assert "\n" not in str(caught.value)
