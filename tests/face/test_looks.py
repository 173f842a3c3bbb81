"""Fewer looks: the same crops where faces keep still, a look at every frame where they do not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from actors import Scene, make_face
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.face.landmarker import Face
from openmarlin.face.pipeline import _looks
from openmarlin.face.stream import face_stream

APART_S = 0.17
FPS = 15.0


def boxes(scene: Scene, look_s: float) -> list[list[np.ndarray]]:
    out = face_stream(scene.ticks(), scene, size=32, fps=FPS, look_s=look_s)
    return [[crop.box for crop in crops] for _, _, crops in out]


def compared(faces: list[list[Face]]) -> tuple[int, int, float]:
    """Faces followed with all looks and with few, and how far a box lies off, in sides."""
    every, few = Scene(faces, fps=FPS), Scene(faces, fps=FPS)
    all_boxes, few_boxes = boxes(every, 0.0), boxes(few, APART_S)
    assert [len(row) for row in all_boxes] == [len(row) for row in few_boxes]
    rows = zip(all_boxes, few_boxes, strict=True)
    pairs = [pair for row in rows for pair in zip(*row, strict=True)]
    off = max(float(np.abs(a - b).max() / (a[2] - a[0])) for a, b in pairs)
    return every.followed, few.followed, off


def test_a_steady_face_is_looked_at_half_as_often() -> None:
    every, few, off = compared([[make_face(160 + 0.5 * n, 90, 60)] for n in range(60)])
    assert every == 60
    assert few <= 36
    assert off < 1e-3


def test_a_fast_face_is_looked_at_in_every_frame() -> None:
    every, few, off = compared([[make_face(40 + 4 * n, 90, 60)] for n in range(60)])
    assert few == every
    assert off == 0


@pytest.mark.parametrize("change", [7, 8, 22])
def test_faces_that_come_and_go_are_not_missed(change: int) -> None:
    steady = make_face(80, 90, 60)
    faces = [[steady] if n < change else [steady, make_face(220, 90, 50)] for n in range(45)]
    _, _, off = compared(faces)
    assert off == 0
    _, _, off = compared(faces[::-1])
    assert off == 0


@given(
    st.lists(st.floats(0.001, 0.5), min_size=1, max_size=40).map(np.cumsum),
    st.floats(0.0, 0.4),
)
def test_looks_leave_no_longer_gap(times: np.ndarray, apart_s: float) -> None:
    looks = _looks(times.tolist(), apart_s)
    assert looks[0] == 0
    assert looks[-1] == len(times) - 1
    assert looks == sorted(set(looks))
    for start, stop in pairwise(looks):
        assert stop == start + 1 or times[stop] - times[start] <= apart_s
