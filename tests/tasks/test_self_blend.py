"""Self-blended clips: what is pasted, what stays, and that nothing but the border tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.data.dataset import ClipDataset
from openmarlin.data.store import Store, StoreWriter, Track
from openmarlin.data.transforms import Clip, Transform, flip
from openmarlin.errors import InputError
from openmarlin.face.mesh import FOREHEAD
from openmarlin.report.self_blend import BlendedClip, self_blend_sheet
from openmarlin.tasks.self_blend import SelfBlend, alike, draw_blend, face_masks, self_blend

SIDE, FRAMES = 64, 4
SEEDS = st.integers(0, 10_000)


def some_points(frames: int = FRAMES, side: int = SIDE, drift: float = 0.0) -> np.ndarray:
    """Meshes that fill an ellipse in the middle; their foreheads lie on top."""
    rng = np.random.default_rng(1)
    angle, radius = rng.uniform(0, 2 * np.pi, 478), np.sqrt(rng.uniform(0, 1, 478))
    mesh = np.stack([0.3 * radius * np.cos(angle), 0.35 * radius * np.sin(angle)], 1)
    mesh[list(FOREHEAD)] = [0.0, -0.45]
    moved = mesh[None] + drift * np.arange(frames)[:, None, None]
    return np.float32((0.5 + moved) * side)


def some_images(frames: int = FRAMES, side: int = SIDE) -> np.ndarray:
    """Smooth colours."""
    noise = np.random.default_rng(2).integers(0, 256, (frames, 8, 8, 3), np.uint8)
    return np.stack([cv2.resize(frame, (side, side)) for frame in noise])


def some_clip(points: np.ndarray | None, images: np.ndarray | None = None) -> Clip:
    images = some_images() if images is None else images
    cells = np.zeros((len(images), SIDE // 8, SIDE // 8), np.uint16)
    track = Track("anna", "v.mp4", "g", len(images), 25.0)
    return Clip(track, range(len(images)), images, cells, points=points)


def small_store(path: Path, *, points: bool = True) -> Store:
    with StoreWriter(path, size=SIDE) as writer:
        for number in range(3):
            clip = some_clip(some_points() if points else None)
            writer.add(f"t{number}", clip.images, clip.cells, points=clip.points)
    return Store(path)


# What is pasted


@given(seed=SEEDS)
def test_outside_the_mask_the_clip_is_the_one_below(seed: int) -> None:
    images, rng = some_images(), np.random.default_rng(seed)
    blend = replace(draw_blend(SIDE, rng), pasted_changes=True)
    fakes, masks = self_blend(images, some_points(), blend)
    assert fakes.shape == images.shape
    assert fakes.dtype == np.uint8
    assert masks.min() >= 0
    assert blend.ratio * 0.5 < masks.max() <= blend.ratio + 1e-4
    np.testing.assert_array_equal(fakes[masks == 0], images[masks == 0])
    assert np.abs(fakes.astype(int) - images)[masks > 0.5 * blend.ratio].mean() > 0.3


@given(seed=SEEDS)
def test_within_the_mask_the_clip_is_the_one_that_was_pasted(seed: int) -> None:
    """The face stays and all around it changes; pasted in place, what is opaque is the original."""
    blend = draw_blend(SIDE, np.random.default_rng(seed))
    blend = replace(blend, pasted_changes=False, ratio=1.0, place=np.eye(2, 3))
    images = some_images()
    fakes, masks = self_blend(images, some_points(), blend)
    opaque = masks > 0.9999
    assert opaque.any()
    assert np.abs(fakes.astype(int) - images)[opaque].max() <= 1


@given(seed=SEEDS)
def test_a_clip_that_stands_still_gives_a_fake_that_stands_still(seed: int) -> None:
    """All parameters are drawn once a clip: nothing flickers."""
    images = np.repeat(some_images(1), 3, axis=0)
    fakes, masks = self_blend(images, some_points(3), draw_blend(SIDE, np.random.default_rng(seed)))
    np.testing.assert_array_equal(fakes[0], fakes[1])
    np.testing.assert_array_equal(fakes[0], fakes[2])
    np.testing.assert_array_equal(masks[0], masks[2])


@given(seed=SEEDS, drift=st.floats(-0.03, 0.03))
def test_the_mask_follows_the_face(seed: int, drift: float) -> None:
    blend = replace(draw_blend(SIDE, np.random.default_rng(seed)), forehead=False)
    still = np.stack(np.meshgrid(*[np.arange(SIDE // 2, dtype=np.float32)] * 2))
    masks = face_masks(some_points(drift=drift), SIDE, replace(blend, warp=still))
    y, x = np.indices((SIDE, SIDE)) + 0.5
    weights = masks / masks.sum(axis=(1, 2), keepdims=True)
    centres = np.stack([(weights * x).sum((1, 2)), (weights * y).sum((1, 2))], axis=1)
    steps = np.diff(centres, axis=0)
    np.testing.assert_allclose(steps, drift * SIDE * blend.place[0, 0], atol=0.15)


def test_masks_with_forehead_reach_higher() -> None:
    blends = [draw_blend(SIDE, np.random.default_rng(seed)) for seed in range(400)]
    tops = []
    for forehead in (False, True):
        masks = face_masks(some_points(), SIDE, replace(blends[0], forehead=forehead))
        tops.append(np.flatnonzero(masks.max(axis=(0, 2)) > 0.1).min())
    assert tops[1] < tops[0] - 0.05 * SIDE
    assert np.mean([blend.forehead for blend in blends]) == pytest.approx(0.75, abs=0.06)
    assert np.mean([blend.pasted_changes for blend in blends]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("side", [32, 63, 224])
def test_masks_are_alike_in_any_size(side: int) -> None:
    """What is drawn in pixels of 224 is a share of the side."""
    blend = draw_blend(side, np.random.default_rng(3))
    masks = face_masks(some_points(1, side), side, blend)
    assert masks.shape == (1, side, side)
    area = float((masks > blend.ratio / 2).mean())
    assert area == pytest.approx(0.35, abs=0.06)
    large = draw_blend(224, np.random.default_rng(3))
    assert blend.ratio == large.ratio
    small = blend.warp.shape[1]
    own = np.stack(np.meshgrid(*[np.arange(small)] * 2))
    large_own = np.stack(np.meshgrid(*[np.arange(112)] * 2))
    strength = np.std(blend.warp - own) / small
    assert strength == pytest.approx(np.std(large.warp - large_own) / 112, rel=0.4)


# The transform


@settings(max_examples=25)
@given(seed=SEEDS)
def test_real_clips_are_as_without_the_transform_but_for_what_fakes_get_too(seed: int) -> None:
    """Bit by bit; and what other transforms draw before and after does not change."""

    def chance(clip: Clip, rng: np.random.Generator) -> Clip:
        return replace(clip, extras={**clip.extras, "chance": torch.tensor(rng.random())})

    def run(*transforms: Transform) -> Clip:
        clip, rng = some_clip(some_points()), np.random.default_rng([1, 0, seed])
        for transform in transforms:
            clip = transform(clip, rng)
        return clip

    def both(clip: Clip, rng: np.random.Generator) -> Clip:
        return replace(clip, images=alike(clip.images, rng.spawn(2)[1]))

    result, bare = run(flip, SelfBlend(0.5), chance), run(flip, both, chance)
    assert result.extras["chance"] == bare.extras["chance"]
    np.testing.assert_array_equal(result.cells, bare.cells)
    np.testing.assert_array_equal(result.points, bare.points)
    same = np.array_equal(result.images, bare.images)
    assert result.extras["target"].tolist() == [0.0 if same else 1.0]


def test_half_of_the_clips_become_fakes_and_say_so(tmp_path: Path) -> None:
    store = small_store(tmp_path / "s")
    how = {"frames": 3, "rate": 1, "seed": 0}
    for probability, low, high in ((0.5, 0.35, 0.65), (0.0, 0, 0), (1.0, 1, 1)):
        clips = ClipDataset(store, [0, 1, 2], transforms=[SelfBlend(probability)], **how)
        samples = [clips[0, index] for index in range(100 if probability == 0.5 else 6)]
        targets = torch.stack([sample["target"] for sample in samples])
        assert targets.shape[1:] == (1,)
        assert targets.dtype == torch.float32
        assert low <= targets.mean() <= high
        again = clips[0, 5]
        assert torch.equal(again["video"], samples[5]["video"])


def test_frames_without_a_mesh_lie_between_those_with() -> None:
    points = some_points(drift=0.05)
    gaps = points.copy()
    gaps[1:3] = np.nan
    clips = [some_clip(p) for p in (points, gaps)]
    results = [SelfBlend(1.0)(clip, np.random.default_rng(4)) for clip in clips]
    error = np.abs(results[0].images.astype(int) - results[1].images)
    assert error.mean() < 0.1  # corners of the mask are rounded


def test_clips_without_a_face_and_real_fakes_are_not_blended() -> None:
    nothing = np.full((FRAMES, 478, 2), np.nan, np.float32)
    faceless = SelfBlend(1.0)(some_clip(nothing), np.random.default_rng(0))
    assert faceless.extras["target"].tolist() == [0]
    fake = replace(some_clip(some_points()), extras={"target": torch.ones(1)})
    kept = SelfBlend(1.0)(fake, np.random.default_rng(0))
    assert kept.extras["target"].tolist() == [1]
    np.testing.assert_array_equal(kept.images, faceless.images)


def test_a_store_without_points_is_told_at_once(tmp_path: Path) -> None:
    store = small_store(tmp_path / "s", points=False)
    transforms = [SelfBlend(0.01)]
    clips = ClipDataset(store, [0], frames=3, rate=1, transforms=transforms, seed=0)
    with pytest.raises(InputError, match=r"t0: .*points=True") as caught:
        _ = clips[0, 0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(probability: float) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        SelfBlend(probability)


def test_the_sheet(tmp_path: Path) -> None:
    images = some_images()
    fakes, masks = self_blend(images, some_points(), draw_blend(SIDE, np.random.default_rng(0)))
    self_blend_sheet(tmp_path / "a.png", [BlendedClip(images, fakes, masks, "anna")], title="All")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture.shape[1] > 5 * 224
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000
