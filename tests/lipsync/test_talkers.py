"""Faces on the clock of experts: stretches without a gap, whatever the frames are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import write_video
from opening import landmarker, opening

from openmarlin.face.stream import FaceCrop, face_stream
from openmarlin.lipsync import talkers
from openmarlin.lipsync.talkers import Stretch, read_talkers
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import ticks

Ticks = list[tuple[int, float, list[FaceCrop]]]


def read(path: Path, **options: int) -> list[Stretch]:
    with VideoReader(path) as reader:
        return list(read_talkers(reader, landmarker(), opening, margin=0.0, **options))


@pytest.fixture(scope="module")
def crops(clips: Path) -> Ticks:
    """What the face stream gives of a real clip of 60 ticks."""
    with VideoReader(clips / "single_face.mp4") as reader:
        return list(face_stream(ticks(reader, 25), landmarker(), fps=25))


def replay(crops: Ticks, monkeypatch: pytest.MonkeyPatch, **options: int) -> list[Stretch]:
    """The stretches of crops that are there already."""

    def stream(*args: Any, **kwargs: Any) -> Iterator[tuple[int, float, list[FaceCrop]]]:
        yield from crops

    monkeypatch.setattr(talkers, "face_stream", stream)
    return list(read_talkers([], landmarker(), opening, margin=0.0, **options))


def test_a_face_at_30_frames_a_second_is_one_stretch_at_25(clips: Path) -> None:
    (stretch,) = read(clips / "signer_sister.mkv")
    with VideoReader(clips / "signer_sister.mkv") as reader:
        first_s = next(iter(reader)).time_s
    assert stretch.start_s == pytest.approx(first_s)
    assert first_s > 0
    assert (stretch.track, stretch.tick, stretch.overlap) == (0, 0, 0)
    assert len(stretch.views) == len(stretch.boxes) == len(stretch.seen) == 73
    assert stretch.seen.all()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(longest=st.integers(2, 70), shared=st.integers(0, 69))
def test_stretches_share_ticks_and_together_are_the_whole(
    crops: Ticks, monkeypatch: pytest.MonkeyPatch, longest: int, shared: int
) -> None:
    overlap = shared % longest
    (whole,) = replay(crops, monkeypatch)
    parts = replay(crops, monkeypatch, longest=longest, overlap=overlap)
    end = 0
    for part in parts:
        n = len(part.views)
        assert part.overlap == (overlap if part is not parts[0] else 0)
        assert part.tick == end - part.overlap
        assert part.overlap < n <= longest
        assert part.start_s == pytest.approx(part.tick / 25)
        for name in ("views", "boxes", "seen"):
            expected = getattr(whole, name)[part.tick : part.tick + n]
            np.testing.assert_array_equal(getattr(part, name), expected)
        end = part.tick + n
    assert end == 60


def test_stretches_cannot_share_everything(clips: Path) -> None:
    with pytest.raises(ValueError, match="cannot share"):
        read(clips / "single_face.mp4", longest=4, overlap=4)


def unseen(crops: Ticks, hidden: range) -> Ticks:
    """The same, where the face is not seen in some ticks, and interpolated."""
    return [
        (tick, time_s, [replace(crop, points=None, interpolated=True) for crop in some])
        if tick in hidden
        else (tick, time_s, some)
        for tick, time_s, some in crops
    ]


def test_ticks_without_a_mesh_lie_between_their_neighbours(
    crops: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = replay(crops, monkeypatch)
    (stretch,) = replay(unseen(crops, range(20, 26)), monkeypatch)
    assert np.flatnonzero(~stretch.seen).tolist() == [*range(20, 26)]
    np.testing.assert_array_equal(stretch.views[:20], whole.views[:20])
    np.testing.assert_array_equal(stretch.views[26:], whole.views[26:])
    meshes = [crops[tick][2][0].points for tick in (19, 26)]
    middle = opening(np.zeros(0), meshes[0] + (meshes[1] - meshes[0]) * 3 / 7)
    assert stretch.views[22] == pytest.approx(middle, abs=1e-4)


@pytest.mark.parametrize(("hidden", "first", "n"), [(range(50, 60), 0, 60), (range(10), 0, 60)])
def test_at_the_ends_the_next_mesh_stands_for_those_that_miss(
    crops: Ticks, monkeypatch: pytest.MonkeyPatch, hidden: range, first: int, n: int
) -> None:
    (stretch,) = replay(unseen(crops, hidden), monkeypatch)
    assert (stretch.tick, len(stretch.views)) == (first, n)
    assert np.ptp(stretch.views[hidden.start : hidden.stop]) == pytest.approx(0, abs=1e-6)


def test_a_face_that_is_never_seen_has_no_stretch_and_one_seen_late_begins_late(
    crops: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replay(unseen(crops, range(60)), monkeypatch) == []
    (stretch,) = replay(unseen(crops, range(55)), monkeypatch)  # more than wait for a mesh
    assert (stretch.tick, len(stretch.views)) == (50, 10)
    assert stretch.start_s == pytest.approx(2.0)


def test_a_track_with_a_hole_has_two_stretches(
    crops: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    holed = [(tick, time_s, some if not 20 <= tick < 30 else []) for tick, time_s, some in crops]
    stretches = replay(holed, monkeypatch, longest=100, overlap=12)
    assert [(s.track, s.tick, len(s.views), s.overlap) for s in stretches] == [
        (0, 0, 20, 0),
        (0, 30, 30, 0),
    ]


def test_two_faces_at_12_frames_a_second(clips: Path) -> None:
    first, second = read(clips / "two_people.mp4")
    assert (first.track, second.track) == (0, 1)
    assert len(first.views) == len(second.views) > 110
    assert np.abs(first.boxes - second.boxes).max() > 100


def test_a_face_that_comes_back_after_a_cut_is_another(clips: Path, tmp_path: Path) -> None:
    with VideoReader(clips / "single_face.mp4") as reader:
        frames = [frame.image[:, 140:500] for frame in reader][:35]
    empty = [np.full_like(frames[0], 90)] * 30
    cut = write_video(tmp_path / "b.mp4", [*frames[:15], *empty, *frames[15:]], fps=25)
    first, second = read(cut)
    assert first.track != second.track
    assert (first.tick, len(first.views)) == (0, 15)
    assert (second.tick, len(second.views)) == (45, 20)
