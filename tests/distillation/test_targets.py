"""Targets: mirrored and turned as the picture is, scaled by what is learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.distillation.measuring import BLENDSHAPES, MESH, POSE, Measurements
from openmarlin.distillation.targets import LIMIT, frame_weights, make_targets, turn_pose
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES

LENGTHS = (12, 1, 9, 1, 30)
STARTS = np.concatenate([[0], np.cumsum(LENGTHS)])
GROUPS = np.array([0, 1, 2, 3, 0])


@pytest.fixture(scope="module")
def measured() -> Measurements:
    rng = np.random.default_rng(0)
    count = sum(LENGTHS)
    values = {
        MESH: rng.normal(size=(count, 478, 2)) * 20 + 100,
        BLENDSHAPES: rng.random((count, len(BLENDSHAPE_NAMES))),
        POSE: rng.normal(size=(count, 3)) * 0.2,
        "mobileface": rng.normal(size=(count, 10)) * np.arange(1, 11),
        "expression": rng.dirichlet(np.ones(7), count),
    }
    floats = {name: value.astype(np.float32) for name, value in values.items()}
    for value in floats.values():
        value[5] = np.nan
    return Measurements(floats, STARTS)


def test_every_kind_is_centred_and_scaled_where_it_is_learnt_from(measured: Measurements) -> None:
    learnt = np.array([0, 1, 2, 4])
    targets = make_targets(measured, learnt, GROUPS)
    assert [c.name for c in targets.columns] == list(measured.values)
    assert targets.plain.shape == targets.mirrored.shape == (53, 24 + 52 + 3 + 10 + 7)
    assert np.isnan(targets.plain[5]).all()
    assert np.isfinite(np.delete(targets.plain, 5, axis=0)).all()
    assert np.nanmax(np.abs(targets.plain)) <= LIMIT
    owner = np.repeat(np.arange(5), LENGTHS)
    weights = frame_weights(GROUPS[owner], np.isin(owner, learnt) & (np.arange(53) != 5))
    known = weights > 0
    moments = np.average(targets.plain[known][:, targets[POSE]], axis=0, weights=weights[known])
    np.testing.assert_allclose(moments, 0, atol=0.1)  # one frame counts for a little that is NaN
    np.testing.assert_allclose(
        targets.plain[known][:, targets["mobileface"]].std(axis=0), 1, atol=0.4
    )


def test_a_mirrored_face_looks_the_other_way(measured: Measurements) -> None:
    targets = make_targets(measured, np.array([0, 4]), GROUPS)
    frames = np.array([3])
    plain = targets.of_frames(2, frames, mirrored=False, turned=0)[0]
    twin = targets.of_frames(2, frames, mirrored=True, turned=0)[0]
    mean, scale = targets.moments[POSE]
    radians = [each[targets[POSE]] / scale + mean for each in (plain, twin)]
    np.testing.assert_allclose(radians[1], radians[0] * (-1, 1, -1), atol=1e-5)
    assert not np.array_equal(plain[targets[BLENDSHAPES]], twin[targets[BLENDSHAPES]])
    middle = targets[BLENDSHAPES].start + BLENDSHAPE_NAMES.index("jawOpen")
    assert plain[middle] == twin[middle]
    assert np.array_equal(plain[targets["mobileface"]], twin[targets["mobileface"]])


def test_the_spread_of_what_keeps_still_is_the_least_there_is(measured: Measurements) -> None:
    targets = make_targets(measured, np.array([0, 4]), GROUPS)
    still = np.repeat(targets.plain[:1], 8, axis=0)
    moving = targets.plain[13:21]
    assert (targets.spread_of(still) <= targets.spread_of(moving)).all()
    assert targets.spread_of(still).shape == (55,)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 3), st.floats(-0.7, 0.7), st.floats(-0.7, 0.7))
def test_turning_twice_is_turning_by_both(
    pose: tuple[float, float, float], first: float, second: float
) -> None:
    poses = np.array([pose], np.float32)
    twice = turn_pose(turn_pose(poses, first), second)
    np.testing.assert_allclose(twice, turn_pose(poses, first + second), atol=1e-3)
    np.testing.assert_allclose(turn_pose(poses, 0.0), poses, atol=1e-5)
