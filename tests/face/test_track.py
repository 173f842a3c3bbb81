"""Identities: linking, gaps, crossings, doubt; and how a mesh becomes a square."""

from __future__ import annotations

import math

import numpy as np
import pytest
from actors import TEMPLATE, make_face

from openmarlin.face.crop import marlin_square
from openmarlin.face.landmarker import Face, distinct
from openmarlin.face.track import Tracker, distances, measure, roll

FPS = 15.0


def run(frames: list[list[Face]], max_gap_s: float = 1.0) -> list[tuple]:
    """Track faces through frames; (frames seen, frames interpolated) of every believed track."""
    tracker, tracks = Tracker(max_gap_s), []
    for n, faces in enumerate(frames):
        tracker.step(n, n / FPS, faces)
        tracks += [track for track in tracker.live if track not in tracks]
    tracker.end_shot()
    return [
        (
            [n for n, s in track.samples.items() if s.face is not None],
            [n for n, s in track.samples.items() if s.face is None],
        )
        for track in tracks
        if track.confirmed
    ]


def test_measure_frames_the_mesh_box() -> None:
    face = make_face(200, 100, 80)
    cx, cy, log_side, angle = measure(face.points, upright=False)
    assert (cx, cy, math.exp(log_side)) == pytest.approx(marlin_square(face.box), rel=1e-5)
    assert angle == 0


@pytest.mark.parametrize("angle", [-2.5, -0.7, 0.0, 0.4, 3.0])
def test_upright_squares_turn_with_the_face(angle: float) -> None:
    upright = measure(make_face(0, 0, 80).points, upright=True)
    face = make_face(300, 150, 80, roll=angle)
    assert roll(face.points) == pytest.approx(angle, abs=1e-5)
    cx, cy, log_side, turned = measure(face.points, upright=True)
    assert (log_side, turned) == pytest.approx((upright[2], angle), abs=1e-4)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = upright[:2]
    assert (cx - 300, cy - 150) == pytest.approx((cos * x - sin * y, sin * x + cos * y), abs=1e-2)


def test_roll_survives_profile_and_a_bowed_head() -> None:
    profile, bowed = (TEMPLATE * 100 for _ in range(2))
    profile = profile * [0.02, 1, 1]
    bowed = bowed * [1, 0.02, 1]
    cos, sin = math.cos(0.3), math.sin(0.3)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    assert roll(profile @ turn) == pytest.approx(0.3, abs=0.01)
    assert roll(bowed @ turn) == pytest.approx(0.3, abs=0.01)


def test_distance_and_distinct() -> None:
    here, near, far = make_face(100, 100, 50), make_face(105, 100, 50), make_face(180, 100, 50)
    assert distances([here.points], [near.points], 1.0)[0, 0] == pytest.approx(0.1, rel=0.1)
    assert distances([here.points], [far.points], 1.0)[0, 0] == np.inf
    assert distances([], [far.points], 1.0).shape == (0, 1)
    assert distinct([here, near, far]) == [here, far]


def test_one_face_is_one_track() -> None:
    assert run([[make_face(100 + 3 * n, 80, 50)] for n in range(30)]) == [(list(range(30)), [])]


def test_short_gaps_are_bridged_on_a_straight_line() -> None:
    frames = [[make_face(100 + 2 * n, 80, 50)] for n in range(40)]
    frames[10:18] = [[] for _ in range(8)]
    assert run(frames) == [([*range(10), *range(18, 40)], list(range(10, 18)))]
    tracker = Tracker(1.0)
    for n, faces in enumerate(frames):
        tracker.step(n, n / FPS, faces)
    xs = [sample.square[0] for sample in tracker.live[0].samples.values()]
    assert np.allclose(np.diff(xs), 2, atol=1e-3)


def test_long_gaps_end_a_track_and_leave_no_tail() -> None:
    frames = [[make_face(100, 80, 50)] for _ in range(60)]
    frames[10:30] = [[] for _ in range(20)]
    assert run(frames) == [(list(range(10)), []), (list(range(30, 60)), [])]
    assert run(frames, max_gap_s=2.0) == [([*range(10), *range(30, 60)], list(range(10, 30)))]


def test_people_who_cross_keep_their_identities() -> None:
    frames = [
        [make_face(40 + 8 * n, 80, 50), make_face(360 - 8 * n, 95, 50)][:: 1 if n % 2 else -1]
        for n in range(40)
    ]
    tracker = Tracker(1.0)
    ends = []
    for n, faces in enumerate(frames):
        tracker.step(n, n / FPS, faces)
        ends.append([track.last_sample.square[0] for track in tracker.live])
    assert all(len(end) == 2 for end in ends)
    first = np.array(ends)[:, 0]
    assert (np.diff(first) > 0).all() or (np.diff(first) < 0).all()


def test_one_hides_behind_the_other_and_comes_out() -> None:
    frames = []
    for n in range(40):
        mover, still = make_face(20 + 8 * n, 80, 50), make_face(180, 85, 50)
        hidden = abs(mover.box[:2] - still.box[:2]).max() < 30
        frames.append([still] if hidden else [mover, still])
    tracks = run(frames)
    assert len(tracks) == 2
    assert sorted(len(seen) for seen, _ in tracks) == [sum(len(f) == 2 for f in frames), 40]


def test_a_fast_head_is_not_lost_but_a_jump_is_another_face() -> None:
    fast = [[make_face(100 + 50 * 0.45 * n, 80, 50)] for n in range(12)]
    assert len(run(fast)) == 1
    jump = [[make_face(100 if n < 10 else 160, 80, 50)] for n in range(20)]
    assert len(run(jump)) == 2
    zoom = [[make_face(100, 80, 50 if n < 10 else 90)] for n in range(20)]
    assert len(run(zoom)) == 2


def test_what_is_seen_rarely_or_never_surely_is_no_face() -> None:
    still = [make_face(100, 80, 50)]
    assert run([still, still, *[[]] * 30]) == []
    assert run([[make_face(100, 80, 50, score=0.6)] for _ in range(30)]) == []
    assert run([[make_face(100, 80, 50, score=0.3)] for _ in range(30)]) == []
    # In a shot that has only two frames, two are enough.
    assert run([still, still]) == [([0, 1], [])]


def test_twenty_faces() -> None:
    rng = np.random.default_rng(0)
    frames = []
    for n in range(20):
        faces = [
            make_face(60 * (i % 5) + 40 + 2 * math.sin(n + i), 60 * (i // 5) + 40, 40)
            for i in range(20)
        ]
        frames.append([faces[i] for i in rng.permutation(20)])
    assert run(frames) == [(list(range(20)), [])] * 20


def test_a_full_turn_of_the_head_does_not_tear_the_angle() -> None:
    tracker = Tracker(1.0, upright=True)
    for n in range(60):
        tracker.step(n, n / FPS, [make_face(100, 80, 50, roll=0.15 * n)])
    angles = [s.square[3] for s in tracker.live[0].samples.values()]
    assert np.allclose(np.diff(angles), 0.15, atol=1e-4)
