"""Boxes between samples: straight lines, no box across a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openmarlin.data.boxes import FaceBoxes


def _track(times_s: list[float]) -> NDArray[np.float64]:
    times = np.array(times_s)
    return np.stack([times, *(10 * times + i for i in range(4))], axis=1)


def _at(boxes: FaceBoxes, time_s: float) -> dict[int, list[float]]:
    return {face: box.tolist() for face, box in boxes.at(time_s)}


def test_between_samples_and_at_both_ends() -> None:
    boxes = FaceBoxes({3: _track([1.0, 1.1, 1.2])})
    assert _at(boxes, 0.99) == {}
    np.testing.assert_allclose(_at(boxes, 1.05)[3], [10.5, 11.5, 12.5, 13.5])
    np.testing.assert_allclose(_at(boxes, 1.2)[3], [12, 13, 14, 15])
    np.testing.assert_allclose(_at(boxes, 1.25)[3], [12, 13, 14, 15])  # a frame no window samples
    assert _at(boxes, 1.31) == {}


def test_no_box_while_a_face_is_out_of_sight() -> None:
    boxes = FaceBoxes({0: _track([0.0, 0.1, 0.2, 2.0, 2.1]), 1: _track([0.0])})
    assert _at(boxes, 1.0) == {}
    assert set(_at(boxes, 0.15)) == {0}
    assert set(_at(boxes, 0.0)) == {0, 1}


@given(st.lists(st.integers(0, 500), min_size=2, max_size=40, unique=True), st.integers(0, 500))
def test_lines_pass_through_the_samples(times: list[int], time: int) -> None:
    track = _track([t / 100 for t in sorted(times)])
    boxes = FaceBoxes({0: track})
    for row in track:
        assert _at(boxes, row[0])[0] == row[1:].tolist()
    for box in _at(boxes, time / 100).values():
        assert track[:, 1].min() <= box[0] <= track[:, 1].max()


def test_windows_that_overlap_are_joined_and_saved(tmp_path: Path) -> None:
    pieces = {2: [_track([0.0, 0.1, 0.2]), _track([0.1, 0.2, 0.3])], 0: [_track([5.0])]}
    boxes = FaceBoxes.joined(pieces)
    assert boxes.tracks[2][:, 0].tolist() == [0.0, 0.1, 0.2, 0.3]
    boxes.save(tmp_path / "a.boxes")
    again = FaceBoxes.load(tmp_path / "a.boxes")
    assert list(again.tracks) == [0, 2]
    np.testing.assert_array_equal(again.tracks[2], boxes.tracks[2])
