"""The detector's arithmetic on made-up numbers; its eyes are tested with the landmarker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.face.detector import (
    LEVELS_PX,
    Detections,
    anchors,
    decode,
    detect_batch,
    join,
    levels,
    overlaps,
    suppress,
)
from openmarlin.face.landmarker import Landmarker


def detections(rows: list[tuple[float, float, float, float, float]]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 5)
    keypoints = np.repeat(values[:, None, 1:3], 6, axis=1)
    return Detections(values[:, 0], values[:, 1:], keypoints)


def test_anchors_are_those_blazeface_was_trained_with() -> None:
    centres = anchors(128, 128)
    assert centres.shape == (896, 2)
    assert centres[:3].tolist() == [[4, 4], [4, 4], [12, 4]]  # two a cell of 8, row by row
    assert centres[512:519].tolist() == [[8, 8]] * 6 + [[24, 8]]  # then six a cell of 16
    assert centres[-1].tolist() == [120, 120]


def test_anchors_of_a_wide_picture_cover_it() -> None:
    centres = anchors(64, 128)
    assert centres.max(axis=0).tolist() == [124, 60]
    assert len(centres) == 8 * 16 * 2 + 4 * 8 * 6


def test_decode_moves_the_anchor_by_the_regressed_offsets() -> None:
    regressors = np.zeros((2, 16), np.float32)
    regressors[1] = [1, -2, 10, 20, *range(12)]
    found = decode(
        regressors, np.array([[-9], [2.0]], np.float32), np.array([[0, 0], [50, 60]], np.float32)
    )
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.boxes[0].tolist() == [46, 48, 56, 68]
    assert found.keypoints[0, 0].tolist() == [50, 61]
    assert found.keypoints[0, 5].tolist() == [60, 71]


def test_decode_keeps_exactly_the_scores_that_reach_the_threshold() -> None:
    logits = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    found = decode(np.zeros((7, 16), np.float32), logits, np.zeros((7, 2), np.float32), 0.5)
    assert found.scores == pytest.approx([0.5, 0.731, 0.881, 0.953], abs=1e-3)


def test_suppress_averages_what_overlaps_and_keeps_the_rest() -> None:
    found = suppress(
        detections([(0.6, 12, 10, 32, 30), (0.9, 10, 10, 30, 30), (0.7, 80, 0, 99, 9)])
    )
    assert found.scores == pytest.approx([0.9, 0.7])
    assert found.boxes[0] == pytest.approx([10.8, 10, 30.8, 30])  # 0.4 of the way to the weaker
    assert found.keypoints[0, 0] == pytest.approx([10.8, 10])
    assert found.boxes[1].tolist() == [80, 0, 99, 9]


def test_suppress_of_nothing_is_nothing() -> None:
    assert len(suppress(join([]))) == 0


box = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(1, 40), st.floats(1, 40))


@given(st.lists(st.tuples(st.floats(0.5, 1), box), max_size=12))
def test_suppress_is_sorted_never_invents_and_keeps_the_best(
    rows: list[tuple[float, tuple[float, float, float, float]]],
) -> None:
    found = detections([(s, x, y, x + w, y + h) for s, (x, y, w, h) in rows])
    kept = suppress(found)
    assert len(kept) <= len(found)
    assert bool(len(kept)) == bool(len(found))
    assert (np.diff(kept.scores) <= 0).all()
    if len(found):
        assert kept.scores[0] == found.scores.max()
        assert (kept.boxes.min(axis=0) >= found.boxes.min(axis=0) - 1e-3).all()
        assert (kept.boxes.max(axis=0) <= found.boxes.max(axis=0) + 1e-3).all()


def test_overlaps_is_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float32)
    assert overlaps(boxes[0], boxes) == pytest.approx([1, 1 / 3, 0, 0])


def test_moved_undoes_itself() -> None:
    found = detections([(0.9, 10, 20, 30, 50)])
    back = found.moved(2.0, 5, -7).moved(0.5, -2.5, 3.5)
    assert back.boxes == pytest.approx(found.boxes)
    assert back.keypoints == pytest.approx(found.keypoints)


def test_levels_look_closer_at_larger_frames() -> None:
    assert levels(64) == [128]
    assert levels(224) == [128, 256]
    assert levels(480) == levels(7680) == [128, 256, 768]


def test_canvas_shapes_are_multiples_of_the_coarser_stride() -> None:
    for long, shorts in LEVELS_PX.items():
        assert all(side % 16 == 0 for side in (long, *shorts))
        assert shorts[-1] == long  # any shape fits


def test_a_batch_finds_what_single_pictures_find(landmarker: Landmarker, frames) -> None:
    pictures = np.stack([picture[90:218, 250:378] for picture in frames("signer_yes.mkv", 0, 3)])
    batch = detect_batch(pictures, landmarker.nets)
    single = [detect_batch(picture[None], landmarker.nets)[0] for picture in pictures]
    assert [len(found) for found in batch] == [1, 1, 1]
    for one, many in zip(single, batch, strict=True):
        assert many.boxes == pytest.approx(one.boxes, abs=0.5)
        assert many.scores == pytest.approx(one.scores, abs=0.02)
