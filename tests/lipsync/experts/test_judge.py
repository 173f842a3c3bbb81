"""Judging experts: offsets and seconds of clips that are in sync."""

from __future__ import annotations

import numpy as np
import pytest

from openmarlin.lipsync.experts.judge import is_judged, judge, measures
from openmarlin.lipsync.experts.mouth_view import POINTS


def _embeddings(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_an_expert_that_knows() -> None:
    clips = [judge(_embeddings(90, seed), _embeddings(90, seed)) for seed in range(4)]
    assert measures(clips) == {
        "within_0": 1, "within_1": 1, "within_2": 1, "within_1_surest_third": 1, "auc": 1,
    }  # fmt: skip
    assert clips[0].in_place.shape == (5,)  # seconds of 12 windows among 60 that have all shifts
    assert clips[0].shifted.shape == (5, 26)


def test_an_expert_that_does_not() -> None:
    clips = [judge(_embeddings(90, i), _embeddings(90, 1000 + i)) for i in range(40)]
    found = measures(clips)
    assert found["auc"] == pytest.approx(0.5, abs=0.1)
    assert found["within_1"] < 0.35


def test_a_clip_late_by_two_ticks_is_not_within_one() -> None:
    faces = _embeddings(90)
    clip = judge(faces, np.roll(faces, 2, axis=0))
    assert clip.ticks == -2
    assert measures([clip])["within_1"] == 0
    assert measures([clip])["within_2"] == 1


def _talk(ticks: int, movement: float) -> np.ndarray:
    points = np.zeros((ticks, len(POINTS), 2), np.float32)
    points[:, POINTS.index(14), 1] = movement * np.sin(np.arange(ticks))
    return points


@pytest.mark.parametrize(
    ("ticks", "movement", "level", "seen", "expected"),
    [
        (80, 0.1, 0.0, 1.0, True),
        (74, 0.1, 0.0, 1.0, False),
        (80, 0.001, 0.0, 1.0, False),
        (80, 0.1, -4.0, 1.0, False),
        (80, 0.1, 0.0, 0.9, False),
    ],
)
def test_which_clips_are_judged(
    ticks: int, movement: float, level: float, seen: float, expected: bool
) -> None:
    mel = np.full((80, 4 * ticks + 1), level, np.float32)
    assert is_judged(_talk(ticks, movement), mel, seen) is expected
