"""Thumbs: spread over a video of any length, and read back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.data.thumbs import (
    THUMB_PX,
    THUMBS_A_WINDOW,
    WINDOWS_A_VIDEO,
    ThumbKeeper,
    WindowThumb,
    load_thumbs,
    make_thumb,
    save_thumbs,
)


def _clip(level: int = 100) -> np.ndarray:
    ramp = np.linspace(0, 100, 224)[None, None, :, None] + level
    return np.broadcast_to(ramp, (16, 224, 224, 3)).astype(np.uint8)


def test_round_trip_keeps_pictures_and_meshes(tmp_path: Path) -> None:
    mesh = np.random.default_rng(0).uniform(0, 224, (478, 2)).astype(np.float32)
    seen = make_thumb("a.mp4", 0, 3, _clip(), [mesh] * 8 + [None] * 8)
    unseen = make_thumb("a.mp4", 1, 4, _clip(20), [None] * 16)
    save_thumbs(tmp_path / "t.npz", [seen, unseen])
    first, second = load_thumbs(tmp_path / "t.npz")
    assert (first.video, first.face, first.window) == ("a.mp4", 0, 3)
    assert first.images.shape == (THUMBS_A_WINDOW, THUMB_PX, THUMB_PX, 3)
    assert np.abs(first.images.astype(int) - seen.images.astype(int)).mean() < 2
    assert first.points is not None
    np.testing.assert_allclose(first.points[0], mesh / 2, atol=0.1)
    assert np.isnan(first.points[-1]).all()
    assert second.points is None


def test_no_thumbs(tmp_path: Path) -> None:
    save_thumbs(tmp_path / "t.npz", [])
    assert load_thumbs(tmp_path / "t.npz") == []


@given(st.integers(0, 3000))
def test_keeper_holds_few_and_spreads_them(n_rows: int) -> None:
    keeper = ThumbKeeper()
    picture = np.zeros((1, 1, 1, 3), np.uint8)
    for row in range(n_rows):
        if keeper.wants_next():
            keeper.keep(WindowThumb("v", 0, row, picture))
    kept = [thumb.window for thumb in keeper.thumbs]
    assert len(kept) <= WINDOWS_A_VIDEO
    assert len(kept) == n_rows or len(kept) >= WINDOWS_A_VIDEO // 2
    assert kept == sorted(set(kept))
    if len(kept) > 2:
        assert len(set(np.diff(kept))) == 1


@pytest.mark.parametrize("level", [0, 120])
def test_thumb_looks_like_the_clip(level: int) -> None:
    thumb = make_thumb("a", 0, 0, _clip(level), [None] * 16)
    assert abs(float(thumb.images.mean()) - float(_clip(level).mean())) < 1
