"""The stream of crops, on scenes whose faces are known: order, identity, gaps, cuts, steadiness."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from actors import Scene, make_face
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.face.crop import crop
from openmarlin.face.landmarker import Face
from openmarlin.face.stream import (
    FaceCrop,
    TrackedFace,
    face_stream,
    mesh_stream,
    precropped_stream,
)
from openmarlin.video.reader import Frame

Out = list[tuple[int, float, list[FaceCrop]]]


def run(scene: Scene, ticks: Iterable[tuple[int, Frame]] | None = None, **how) -> Out:
    how = {"size": 32, "fps": scene.fps} | how
    return list(face_stream(scene.ticks() if ticks is None else ticks, scene, **how))


def ids(out: Out) -> list[list[int]]:
    return [[crop.track for crop in crops] for _, _, crops in out]


def centres(out: Out, track: int = 0) -> np.ndarray:
    """(ticks, 3): centre and side of one track's square."""
    boxes = np.array([c.box for _, _, crops in out for c in crops if c.track == track], float)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([middle, boxes[:, 2] - boxes[:, 0]])


def still(n: int, x: float = 160.0) -> list[list[Face]]:
    return [[make_face(x, 90, 60)] for _ in range(n)]


def test_a_face_gives_a_crop_in_every_tick() -> None:
    out = run(Scene(still(40)), size=64)
    assert [tick for tick, _, _ in out] == list(range(40))
    assert [time_s for _, time_s, _ in out] == [n / 15 for n in range(40)]
    assert ids(out) == [[0]] * 40
    face = out[20][2][0]
    assert face.image.shape == (64, 64, 3)
    assert (face.tick, face.score, face.interpolated) == (20, pytest.approx(0.99), False)
    assert face.points is not None
    assert face.points.shape == (478, 2)
    # The mesh box is centred sideways, fills 1 / 1.135 of the crop, and lies 0.068 heights low.
    assert face.points[:, 0].mean() == pytest.approx(32, abs=1)
    assert np.ptp(face.points[:, 1]) == pytest.approx(64 / 1.135, rel=0.01)


def test_the_crop_shows_what_its_box_says() -> None:
    scene = Scene([[make_face(100 + 3 * n, 90, 60 + n)] for n in range(30)])
    frames = scene.frames()
    for tick, _, (face,) in run(scene, size=48):
        x1, y1, x2, _ = face.box
        side = x2 - x1
        expected = crop(frames[tick].image, x1 + side / 2, y1 + side / 2, side, size=48)
        assert np.abs(face.image.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("align", [False, True])
def test_aligned_crops_have_level_eyes(align: bool) -> None:
    faces = [[make_face(160, 90, 60, roll=0.6 * math.sin(n / 8))] for n in range(40)]
    tilts = []
    for _, _, (face,) in run(Scene(faces), align=align):
        right, left = face.points[[33, 263]]
        tilts.append(math.atan2(left[1] - right[1], left[0] - right[0]))
    assert (max(np.abs(tilts)) < 0.05) == align


def test_a_dropout_of_half_a_second_is_interpolated_and_flagged() -> None:
    faces = [[make_face(80 + 3 * n, 90, 60)] for n in range(45)]
    faces[20:28] = [[] for _ in range(8)]
    out = run(Scene(faces))
    assert ids(out) == [[0]] * 45
    flagged = [n for n, (_, _, crops) in enumerate(out) if crops[0].interpolated]
    assert flagged == list(range(20, 28))
    gap = out[24][2][0]
    assert gap.points is None
    assert gap.score == 0
    assert gap.image.any()
    assert np.abs(centres(out)[:, 0] - (80 + 3 * np.arange(45))).max() < 0.02 * 68


def test_a_longer_gap_ends_the_track() -> None:
    faces = still(60)
    faces[10:30] = [[] for _ in range(20)]
    assert ids(run(Scene(faces))) == [[0]] * 10 + [[]] * 20 + [[1]] * 30
    assert ids(run(Scene(faces), max_gap_s=2.0)) == [[0]] * 60


def test_a_face_that_leaves_leaves_no_crops() -> None:
    assert ids(run(Scene(still(20) + [[]] * 40))) == [[0]] * 20 + [[]] * 40


def test_a_cut_ends_all_tracks_even_at_the_same_place() -> None:
    scene = Scene(still(40), backdrop=lambda n: int(n >= 17))
    out = run(scene)
    assert ids(out) == [[0]] * 17 + [[1]] * 23
    hidden = still(40)
    hidden[15:20] = [[] for _ in range(5)]
    out = run(Scene(hidden, backdrop=lambda n: int(n >= 17)))
    assert ids(out) == [[0]] * 15 + [[]] * 5 + [[1]] * 20
    assert not any(crop.interpolated for _, _, crops in out for crop in crops)


def test_a_flash_does_not_end_a_track() -> None:
    faces = still(40)
    faces[17] = []
    out = run(Scene(faces, backdrop=lambda n: int(n == 17)))
    assert ids(out) == [[0]] * 40
    assert [crops[0].interpolated for _, _, crops in out].count(True) == 1


def test_what_appears_for_a_moment_is_not_shown() -> None:
    faces = still(60)
    for n in (15, 16):
        faces[n].append(make_face(60, 60, 50))
    assert ids(run(Scene(faces))) == [[0]] * 60


def test_very_short_videos_show_their_faces() -> None:
    for n in (1, 2, 3):
        assert ids(run(Scene(still(n)))) == [[0]] * n
    assert run(Scene([])) == []


def test_ids_go_by_first_appearance_and_size() -> None:
    late, large, small = make_face(60, 60, 40), make_face(160, 90, 80), make_face(260, 90, 40)
    out = run(Scene([[small, large, *([late] if n >= 10 else [])] for n in range(30)]))
    assert ids(out) == [[0, 1]] * 10 + [[0, 1, 2]] * 20
    assert out[0][2][0].box[0] < out[0][2][1].box[0]


def test_twenty_faces() -> None:
    def crowd(n: int) -> list[Face]:
        return [make_face(60 * (i % 5) + 40 + n % 2, 40 * (i // 5) + 25, 32) for i in range(20)]

    assert ids(run(Scene([crowd(n) for n in range(18)]))) == [list(range(20))] * 18


@pytest.mark.parametrize(
    "path",
    [
        lambda t: 60 + 100 * t,
        lambda t: 160 + 60 * np.sin(2 * np.pi * 0.5 * t),
        lambda t: 160 + 20 * np.sin(2 * np.pi * 1.0 * t),
    ],
    ids=["constant speed", "slow sway", "fast sway"],
)
def test_the_square_does_not_lag(path: Callable[[float], float]) -> None:
    times = np.arange(36) / 15
    out = run(Scene([[make_face(path(t), 90, 60, noise=0.3)] for t in times]))
    off = np.abs(centres(out)[:, 0] - path(times)) / 68
    assert off.max() < 0.08  # of the side, first and last ticks included
    assert np.median(off) < 0.03


def test_a_still_face_gives_a_still_square() -> None:
    rng = np.random.default_rng(0)
    faces = [
        [make_face(160 + dx, 90 + dy, 60, noise=0.4)] for dx, dy in rng.normal(0, 0.3, (60, 2))
    ]
    squares = centres(run(Scene(faces)))
    moves = np.abs(np.diff(squares, axis=0)) / 68
    assert moves.max() < 0.01
    assert moves.mean() < 0.002


def test_a_frame_shown_repeatedly_is_looked_at_once() -> None:
    scene = Scene(still(4))
    frames = scene.frames()
    ticks = [(n, frames[n // 40]) for n in range(160)]
    out = run(scene, ticks)
    assert ids(out) == [[0]] * 160
    assert scene.searched <= 4
    assert scene.followed == 4
    assert [time_s for _, time_s, _ in out] == [frames[n // 40].time_s for n in range(160)]


def test_sparse_ticks_and_a_broken_clock() -> None:
    scene = Scene(still(30))
    frames = scene.frames()
    assert ids(run(scene, [(4 * n, f) for n, f in enumerate(frames)], fps=60)) == [[0]] * 30
    assert ids(run(scene, [(n, f) for n, f in enumerate(frames)], fps=None)) == [[0]] * 30
    for frame in frames:
        frame.time_s = -1.0 if frame.index % 3 else 7.0
    assert ids(run(scene, list(enumerate(frames)), fps=None)) == [[0]] * 30


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_tick_comes_once_in_order(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 50), label="frames")
    spots = [make_face(80, 90, 50), make_face(180, 80, 60), make_face(262, 90, 40, score=0.6)]
    present = st.lists(st.sampled_from(spots), max_size=3, unique_by=id)
    faces = data.draw(st.lists(present, min_size=n, max_size=n), label="faces")
    cuts = data.draw(st.sets(st.integers(0, 50), max_size=4), label="cuts")
    scene = Scene(faces, backdrop=lambda k: sum(cut <= k for cut in cuts), size=(96, 54))
    steps = data.draw(
        st.lists(st.sampled_from([0, 1, 1, 1, 2, 7]), min_size=n, max_size=n), label="steps"
    )
    ticks = []
    for frame, step in zip(scene.frames(), steps, strict=True):
        ticks += [(len(ticks) + i, frame) for i in range(step)]
    out = run(scene, ticks, size=8, fps=data.draw(st.sampled_from([5.0, 15.0, 60.0, None])))
    assert [(tick, time_s) for tick, time_s, _ in out] == [(t, f.time_s) for t, f in ticks]
    seen: list[int] = []
    for tick, _, crops in out:
        tracks = [crop.track for crop in crops]
        assert tracks == sorted(set(tracks))
        assert all(crop.tick == tick for crop in crops)
        assert all((crop.points is None) == crop.interpolated for crop in crops)
        seen += [track for track in tracks if track not in seen]
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("fps", [5.0, 15.0, 60.0])
def test_the_delay_is_bounded(fps: float) -> None:
    n = int(6 * fps)
    faces = still(n)
    for k in range(0, n, 7):
        faces[k] = []
    faces[int(2 * fps) : int(2.9 * fps)] = [[]] * (int(2.9 * fps) - int(2 * fps))
    for k in range(n):  # something that never becomes sure
        faces[k] = [*faces[k], make_face(60, 60, 40, score=0.6)]
    scene = Scene(faces, fps=fps, size=(96, 54))
    waits = [scene.given - 1 - tick for tick, _, _ in face_stream(scene.ticks(), scene, fps=fps)]
    assert max(waits) <= 2.6 * fps + 4


@pytest.mark.parametrize("stream", [face_stream, mesh_stream])
def test_memory_does_not_grow_with_length(stream: Callable[..., Iterable]) -> None:
    def peak(n: int) -> int:
        scene = Scene(still(n), size=(480, 270))
        tracemalloc.start()
        for _ in stream(scene.ticks(), scene, fps=15):
            pass
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    frame = 480 * 270 * 3
    assert peak(120) < peak(60) + 4 * frame


def test_large_frames_are_not_held() -> None:
    height, width = 4320, 7680
    faces = [[make_face(3000 + 20 * n, 2000, 2400)] for n in range(10)]
    faces[4:7] = [[], [], []]
    scene = Scene(faces)

    def ticks():
        for n in range(10):
            image = np.zeros((height, width, 3), np.uint8)
            image[0, 0] = (0, n, 7)
            yield n, Frame(n, n / 15, width, height, lambda image=image: image)

    tracemalloc.start()
    out = list(face_stream(ticks(), scene, fps=15))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids(out) == [[0]] * 10
    assert peak < 6.5 * height * width * 3


def test_frames_of_eight_pixels() -> None:
    scene = Scene([[make_face(4, 4, 6)] for _ in range(20)], size=(8, 8))
    assert ids(run(scene)) == [[0]] * 20
    assert ids(run(Scene([[]] * 5, size=(8, 8)))) == [[]] * 5


def test_precropped_videos_are_one_track_without_nets() -> None:
    scene = Scene([[]] * 5, size=(90, 60))
    frames = scene.frames()
    out = list(precropped_stream([(2 * n, f) for n, f in enumerate(frames)], size=60))
    assert [(tick, time_s) for tick, time_s, _ in out] == [(2 * n, n / 15) for n in range(5)]
    for (_, _, (face,)), frame in zip(out, frames, strict=True):
        assert (face.track, face.score, face.interpolated, face.points) == (0, 1.0, False, None)
        assert face.box.tolist() == [15, 0, 75, 60]
        assert np.array_equal(face.image, frame.image[:, 15:75])
    assert scene.searched == 0


def meshes(scene: Scene, **how) -> list[tuple[int, float, list[TrackedFace]]]:
    return list(mesh_stream(scene.ticks(), scene, **{"fps": scene.fps} | how))


def test_meshes_are_those_of_the_crops() -> None:
    faces = [[make_face(80 + 3 * n, 90, 60), make_face(260, 90, 40)] for n in range(45)]
    faces[20:28] = [faces[20][1:]] * 8
    crops, found = run(Scene(faces)), meshes(Scene(faces))
    assert len(found) == 45
    for (tick, time_s, first), (other_tick, other_s, second) in zip(crops, found, strict=True):
        assert (tick, time_s) == (other_tick, other_s)
        assert [(c.track, c.score) for c in first] == [(f.track, f.score) for f in second]
    for n in (0, 19, 28, 44):
        face = found[n][2][0]
        np.testing.assert_array_equal(face.points, faces[n][0].points)
        np.testing.assert_array_equal(face.box, faces[n][0].box)


def test_the_box_of_a_face_out_of_sight_is_interpolated() -> None:
    faces = [[make_face(80 + 3 * n, 90, 60)] for n in range(45)]
    expected = [row[0].box for row in faces]
    faces[20:28] = [[] for _ in range(8)]
    found = meshes(Scene(faces))
    gap = [n for n, (_, _, (face,)) in enumerate(found) if face.points is None]
    assert gap == list(range(20, 28))
    np.testing.assert_allclose([face.box for _, _, (face,) in found], expected, atol=0.01)


def test_thumbs_come_so_far_apart_for_all_faces_at_once() -> None:
    faces = [[make_face(100, 90, 60), make_face(240, 90, 60)] for _ in range(40)]
    scene = Scene(faces)
    found = meshes(scene, thumb_s=1.0, thumb_px=32)
    pictured = [n for n, (_, _, row) in enumerate(found) if row[0].thumb is not None]
    assert pictured == [0, 15, 30]
    for n in pictured:
        assert [face.thumb.shape for face in found[n][2]] == [(32, 32, 3)] * 2
    crops = run(scene)[15][2]
    assert np.abs(found[15][2][1].thumb.astype(int) - crops[1].image).mean() < 2
    assert all(face.thumb is None for _, _, row in meshes(scene) for face in row)
