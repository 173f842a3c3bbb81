"""From face crops to tracks: cutting to length, gaps, what is left out; no nets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmarlin.data.layouts.source import Faces
from openmarlin.data.manifest import Row
from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.tracks import TrackRules, VideoTracks, _Piece, make_tracks
from openmarlin.errors import VideoError
from openmarlin.face.stream import FaceCrop

SIZE = 32
RULES = TrackRules(size=SIZE, margin=0, min_frames=4, max_frames=20)


def face(track: int, tick: int, mesh: float | None = 1.0, side: float = 90) -> FaceCrop:
    """A crop whose picture says its tick, with a mesh of one number, or none."""
    points = None if mesh is None else np.full((478, 2), mesh, np.float32)
    image = np.full((SIZE, SIZE, 3), tick % 250, np.uint8)
    box = np.array([0, 0, side, side], np.float32)
    return FaceCrop(track, tick, tick / 25, image, box, 1.0, mesh is None, points)


def parse(crops: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A parser that labels a crop by its mesh."""
    assert crops.shape == (len(points), SIZE, SIZE, 3)
    return np.broadcast_to(points[:, :1, :1].round().astype(np.uint8), crops.shape[:3])


@dataclass(frozen=True)
class FakeVideo:
    """A source whose faces are given."""

    crops: list[list[FaceCrop]]
    row: Row = Row(Path("/videos/fake.mp4"), group="anna")  # noqa: RUF009
    name: str = "fake"
    bad: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, landmarker: Any, **_: Any) -> Iterator[Faces]:
        ticks = ((tick, tick / 25, crops) for tick, crops in enumerate(self.crops))
        yield Faces(25.0, ticks, lambda: self.bad)


def make(crops: Iterable[list[FaceCrop]], part: Path, **changes: Any) -> VideoTracks:
    rules = replace(RULES, **changes)
    return make_tracks(FakeVideo(list(crops)), rules, None, parse, part)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "lengths"),
    [(3, []), (4, [4]), (20, [20]), (23, [23]), (24, [20, 4]), (64, [20, 20, 20, 4])],
)
def test_long_faces_are_cut_and_short_ones_dropped(
    tmp_path: Path, n: int, lengths: list[int]
) -> None:
    result = make(([face(0, tick)] for tick in range(n)), tmp_path / "part")
    assert [track.n_frames for track in result.tracks] == lengths
    assert result.dropped == ({} if lengths else {"shorter than 4 frames": 1})
    starts = np.cumsum([0, *lengths[:-1]]) if lengths else []
    assert [track.start_s for track in result.tracks] == pytest.approx([s / 25 for s in starts])
    assert (tmp_path / "part").stat().st_size == sum(track.n_bytes for track in result.tracks)
    assert result.seconds == n / 25


def test_tracks_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    crops = [[face(0, t), face(1, t)] if 5 <= t < 15 else [face(0, t)] for t in range(30)]
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        result = make(crops, writer.part("k"))
        writer.commit("k", result.tracks)
    store = Store(tmp_path / "s")
    assert [track.name.split("/")[1] for track in store.tracks] == ["1@5", "0@0", "0@20"]
    assert {track.group for track in store.tracks} == {"anna"}
    for i, track in enumerate(store.tracks):
        first = int(track.name.split("@")[1])
        images, cells = store.read(i, range(track.n_frames))
        ticks = images[:, 0, 0, 0].astype(int)
        np.testing.assert_allclose(ticks, first + np.arange(track.n_frames), atol=1)
        assert (cells == 0b10).all()


def test_a_face_that_pauses_is_two_tracks(tmp_path: Path) -> None:
    crops = [[face(0, t)] if t not in (10, 11) else [] for t in range(20)]
    result = make(crops, tmp_path / "part")
    assert [track.name.split("@")[1] for track in result.tracks] == ["0", "12"]


def test_regions_are_followed_through_frames_without_a_mesh(tmp_path: Path) -> None:
    """Also where the gap lies across the batches of 16 frames."""
    meshes = [1.0] * 14 + [None] * 5 + [7.0] * 6
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        result = make(([face(0, t, mesh)] for t, mesh in enumerate(meshes)), writer.part("k"))
        writer.commit("k", result.tracks)
    assert [track.seen for track in result.tracks] == [0.75, 1.0]
    store = Store(tmp_path / "s")
    cells = np.concatenate(
        [store.read(i, range(t.n_frames))[1] for i, t in enumerate(result.tracks)]
    )
    labels = np.log2(cells[:, 0, 0]).astype(int)
    assert labels.tolist() == [1] * 14 + [2, 3, 4, 5, 6] + [7] * 6


def test_faces_never_seen_have_cells_that_say_nothing(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        result = make(([face(0, t, None)] for t in range(10)), writer.part("k"))
        writer.commit("k", result.tracks)
    assert result.tracks[0].seen == 0
    assert not Store(tmp_path / "s").read(0, range(10))[1].any()


def test_points_are_kept_frame_by_frame_and_not_invented(tmp_path: Path) -> None:
    meshes = [1.0] * 14 + [None] * 5 + [7.5] * 6
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        crops = ([face(0, t, mesh)] for t, mesh in enumerate(meshes))
        result = make(crops, writer.part("k"), points=True)
        writer.commit("k", result.tracks)
    store = Store(tmp_path / "s")
    kept = [store.points(i, range(track.n_frames)) for i, track in enumerate(store.tracks)]
    values = np.concatenate(kept)[:, 0, 0]
    np.testing.assert_array_equal(values, np.array(meshes, np.float32))
    assert store.verify() == []


def test_small_faces_are_left_out(tmp_path: Path) -> None:
    crops = [[face(0, t, side=63), face(1, t, side=65)] for t in range(8)]
    result = make(crops, tmp_path / "part")
    assert [track.face_px for track in result.tracks] == [65]
    assert result.dropped == {"smaller than 64 px": 1}
    assert len(make(crops, tmp_path / "part", min_face_px=0).tracks) == 2


def test_a_video_that_fails_leaves_no_part(tmp_path: Path) -> None:
    def crops() -> Iterator[list[FaceCrop]]:
        yield [face(0, 0)]
        raise VideoError("cut off")

    class Failing(FakeVideo):
        @contextmanager
        def open(self, landmarker: Any, **_: Any) -> Iterator[Faces]:
            yield Faces(25.0, ((i, 0.0, c) for i, c in enumerate(crops())), list)

    with pytest.raises(VideoError, match="cut off"):
        make_tracks(Failing([]), RULES, None, parse, tmp_path / "part")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_is_held_does_not_grow_with_the_video() -> None:
    piece, rng, total = _Piece(parse, 0), np.random.default_rng(0), 0
    for tick in range(1000):
        piece.add(face(0, tick, None if rng.random() < 0.3 else 1.0))
        while piece.ready >= 24:
            total += len(piece.cut(20)[1])
        assert piece.ready + len(piece._waiting) == len(piece._facts) < 24 + 48
    piece.parse(everything=True)
    assert total + piece.ready == 1000


def test_paths_that_are_not_unicode(tmp_path: Path) -> None:
    video = FakeVideo(
        [[face(0, t)] for t in range(4)], row=Row(Path("/v/\udcff.mp4"), group="\udcfe")
    )
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        result = make_tracks(video, RULES, None, parse, writer.part("k"))  # type: ignore[arg-type]
        writer.commit("k", result.tracks)
    assert Store(tmp_path / "s").tracks[0][1:3] == ("/v/\\udcff.mp4", "\\udcfe")
