"""Which frames of a face are drawn, and how strongly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.lipsync.driven_face import FADE, DrivenFace, ScannedFace, fade, untouched
from openmarlin.lipsync.dub import reference_frames
from openmarlin.lipsync.schedule import Schedule, make_schedule

TIMES = np.arange(100) / 25


def scanned(
    frames: np.ndarray, *, unseen: set[int] = frozenset(), side: float = 100.0, yaw: float = 0.0
) -> ScannedFace:
    """A face that stands still; frames in `unseen` were bridged by the tracker."""
    n = len(frames)
    seen = np.array([frame not in unseen for frame in frames])
    values = np.full((n, 8), np.nan)
    values[seen] = [50.0, 50.0, np.log(side), 0.0, yaw, 0.0, 0.0, 0.1]
    boxes = np.tile([0.0, 0.0, side, side], (n, 1))
    return ScannedFace(
        0, frames, seen, boxes, values[:, 4:7], values[:, :4], 0.1 * np.sin(frames) + values[:, 7]
    )


def driven(face: ScannedFace, shots: list[int] = [0]) -> DrivenFace:  # noqa: B006
    return DrivenFace.of(face, TIMES, shots, max_yaw=50)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.booleans(), st.booleans())
def test_fade(drawn: list[bool], before: bool, after: bool) -> None:
    strength = fade(np.array(drawn), before=before, after=after)
    edges = [i for i, on in enumerate(drawn) if not on]
    edges += [-1] * before + [len(drawn)] * after
    for i, value in enumerate(strength):
        near = min((abs(i - edge) for edge in edges), default=FADE + 1)
        assert value == pytest.approx(min(1, near / (FADE + 1)))


def test_a_whole_shot_is_drawn_without_fading() -> None:
    assert (driven(scanned(np.arange(100))).strength == 1).all()
    part = driven(scanned(np.arange(20, 60)), shots=[0, 20, 60])
    assert (part.first, part.stop) == (20, 60)
    assert (part.strength == 1).all()


def test_a_face_that_comes_and_goes_fades() -> None:
    face = driven(scanned(np.arange(20, 60)))
    np.testing.assert_allclose(face.strength[:6], [0.2, 0.4, 0.6, 0.8, 1, 1])
    np.testing.assert_allclose(face.strength[-6:], [1, 1, 0.8, 0.6, 0.4, 0.2])


def test_a_short_miss_is_bridged_and_a_long_one_is_not() -> None:
    assert (driven(scanned(np.arange(100), unseen={40, 41})).strength == 1).all()
    face = driven(scanned(np.arange(100), unseen=set(range(40, 50))))
    assert (face.strength[40:50] == 0).all()
    assert set(face.reasons[40:50]) == {"not seen"}
    assert face.strength[36] == pytest.approx(0.8)
    assert np.isfinite(face.squares).all()


def test_profiles_and_small_faces_stay() -> None:
    turned = driven(scanned(np.arange(100), yaw=60.0))
    assert set(turned.reasons) == {"turned away"}
    small = driven(scanned(np.arange(100), side=20.0))
    assert set(small.reasons) == {"too small"}
    assert turned.strength.max() == small.strength.max() == 0


def test_ranges() -> None:
    face = driven(scanned(np.arange(20, 60), unseen=set(range(30, 40))), shots=[0, 20, 60])
    plan = make_schedule(TIMES, 25, 4.0, "video")
    speech = np.ones(100)
    speech[55:] = 0
    drawn, ranges = untouched([face], plan, speech)
    assert drawn == 10 + 15
    assert [(round(r.start_s * 25), round(r.end_s * 25), r.reason) for r in ranges] == [
        (0, 20, "not in view"),
        (30, 40, "not seen"),
        (55, 60, "nobody speaks"),
        (60, 100, "not in view"),
    ]
    two = driven(scanned(np.arange(60, 100)), shots=[0, 20, 60])
    drawn, ranges = untouched([face, two], plan, np.ones(100))
    assert drawn == 30 + 40
    assert [r.reason for r in ranges] == ["not in view", "not seen"]


def test_a_range_that_is_shown_twice_is_listed_twice() -> None:
    face = driven(scanned(np.arange(0, 3)), shots=[0])
    plan = Schedule(np.array([2, 3, 2, 3]), np.arange(4) / 25, 4 / 25)
    _, ranges = untouched([face], plan, np.ones(4))
    assert [round(r.start_s * 25) for r in ranges] == [1, 3]


def test_references_are_closed_and_open() -> None:
    face = driven(scanned(np.arange(100)))
    frames = reference_frames(face)
    assert len(frames) == len(set(frames)) <= 8
    closed, opened = (face.opening[i] for i in frames[:2])
    assert closed == face.opening.min()
    assert opened == face.opening.max()
    assert reference_frames(driven(scanned(np.arange(1)), shots=[0, 1])) == [0]
