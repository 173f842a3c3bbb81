"""The page of `faces` and what is drawn on pictures: legible, whole, bounded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page, read

from openmarlin.data.face_parts import FaceParts, FaceRecord
from openmarlin.data.face_table import FaceRow, open_table, rows_to_table, schema
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.thumbs import WindowThumb, save_thumbs
from openmarlin.report import faces
from openmarlin.report.faces import write_report
from openmarlin.report.overlay import FaceLabel, colour_of, draw_labels
from openmarlin.report.plots import time_svg

EVIL = "<script>alert(1)</script>&\"'`{{7*7}}.mp4"
META: dict[str, Any] = {
    "settings": {"rate": 1, "faces": "all"},
    "versions": {"openmarlin": "0.1.0"},
    "throughput": {"frames_per_s": 97.4, "video_s": 83.2, "wall_s": 36.0, "times_real_time": 2.3},
    "notes": {},
}


def make_part(parts: FaceParts, row: Row, n_frames: int, n_faces: int, thumbs: int = 3) -> None:
    """A video in which faces come one after the other and are gone in the last tenth."""
    rng = np.random.default_rng(n_frames)
    rows, box = [], np.array([10, 20, 110, 140], np.float32)
    for frame in range(n_frames):
        there = range(min(n_faces, 1 + frame)) if frame < 0.9 * n_frames else []
        points = np.ones((478, 3), np.float32)
        shown = [FaceRow(frame, frame / 25, face, 0.9, box, points) for face in there]
        rows += shown or [FaceRow(frame, frame / 25)]
    seen = sum(r.points is not None for r in rows)
    pose, expression = rng.normal(0, 9, (seen, 3)), rng.uniform(0, 1, (seen, 52))
    expression[:, 25] = np.linspace(0, 1, seen) > 0.5  # jawOpen moves most
    with open_table(parts.part(row), schema(points=False)) as out:
        out.write_table(rows_to_table(str(row.video), rows, pose, expression, points=False))
    images = np.full((1, 112, 112, 3), 90, np.uint8)
    mesh = rng.uniform(5, 100, (1, 478, 2)).astype(np.float32)
    save_thumbs(
        parts.thumbs(row),
        [WindowThumb("x", f, i, images, mesh) for f in range(n_faces) for i in range(thumbs)],
    )
    empty = sum(r.points is None for r in rows)
    parts.commit(row, FaceRecord(n_frames / 25, [], [], None, n_frames, empty, n_faces))


def page(
    folder: Path, videos: dict[str, tuple[int, int]], failures: dict[str, str] | None = None
) -> Page:
    parts = FaceParts(folder, points=False, overlay=False)
    rows = [Row(Path(name)) for name in videos]
    for row, (n_frames, n_faces) in zip(rows, videos.values(), strict=True):
        make_part(parts, row, n_frames, n_faces)
    records = parts.records(Manifest(rows)).values()
    counts = {
        "videos": len(videos) + len(failures or {}),
        "videos_done": len(videos),
        "failures": len(failures or {}),
        "faces": sum(record.faces for record in records),
        "frames": sum(record.frames for record in records),
        "frames_without_face": sum(record.empty for record in records),
    }
    meta = META | {"counts": counts, "notes": {name: ["tone-mapped"] for name in list(videos)[:1]}}
    target = folder / "report.html"
    return read(write_report(target, Manifest(rows), parts, meta, failures or {}))


def test_what_the_page_says(tmp_path: Path) -> None:
    videos = {"a/two.mp4": (100, 2), "nobody.mp4": (20, 0)}
    shown = page(tmp_path, videos, {"broken.mp4": "not a video"})
    assert "3 videos, 2 faces, 120 frames" in shown.text
    assert "No face in 25 % of the frames, 1 failure." in shown.text
    assert "broken.mp4" in shown.text
    assert "tone-mapped" in shown.text
    assert len(shown.all("article")) == 2
    assert len(shown.all("div", "face")) == 2
    assert shown.source.count("jawOpen") >= 2
    assert len(shown.all("img")) == 5  # face 1 is not there in the first frame
    assert "97 frames a second" in shown.text


def test_it_stands_alone_and_nothing_breaks_out_of_it(tmp_path: Path) -> None:
    shown = page(tmp_path, {EVIL: (30, 1)}, {EVIL + "2": EVIL})
    assert not shown.all("script")
    assert "{{7*7}}" in shown.text
    assert all((img["src"] or "").startswith("data:image/jpeg;base64,") for img in shown.all("img"))
    assert "http" not in shown.source.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_many_videos_are_sampled_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(faces.MAX_FACES, faces.MAX_VIDEOS) <= 40  # of 0.2 MB each
    monkeypatch.setattr(faces, "MAX_VIDEOS", 6)
    monkeypatch.setattr(faces, "MAX_FACES", 8)
    shown = page(tmp_path, {f"{i}.mp4": (12, 3) for i in range(60)})
    assert len(shown.all("article")) == len(shown.all("div", "face")) == 6
    assert "Shown: 6 of 60 videos" in shown.text
    assert "2 more faces in the table" in shown.text


def test_a_long_video_gives_a_small_page(tmp_path: Path) -> None:
    shown = page(tmp_path, {"long.mp4": (20_000, 1)})
    assert len(shown.source) < 200_000


def test_one_frame(tmp_path: Path) -> None:
    assert "1 video, 1 face, 1 frame" in page(tmp_path, {"still.mp4": (1, 1)}).text.replace(
        "0 faces", "1 face"
    )


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(90, 160), (720, 1280), (1080, 1920)])
def test_labels_are_legible_on_any_ground(level: int, size: tuple[int, int]) -> None:
    height, width = size
    image = np.full((*size, 3), level, np.uint8)
    box = np.array([0.4 * width, 0.4 * height, 0.6 * width, 0.8 * height])
    drawn = draw_labels(image, [FaceLabel(0, box, ["face 0", "yaw +12"])])
    assert (image == level).all()  # the caller's stays as it is
    text = drawn[round(0.2 * height) : round(0.38 * height)].astype(int)
    assert text.max() - text.min() > 120
    edge = drawn[round(0.6 * height), round(box[0]) - 4 : round(box[0]) + 5].astype(int)
    assert np.abs(edge - colour_of(0)).sum(axis=1).min() < 60
    assert np.abs(edge - edge.mean(axis=0)).max() > 40


def test_every_track_has_its_colour_and_points_are_drawn() -> None:
    assert len({colour_of(track) for track in range(12)}) == 12
    assert colour_of(3) == colour_of(15)
    image = np.zeros((200, 300, 3), np.uint8)
    points = np.array([[100.5, 50.5], [-5, 20], [299.9, 199.9], [4000, 3]])
    drawn = draw_labels(image, [FaceLabel(1, np.array([120, 80, 180, 160]), [], points)])
    assert drawn[50, 100].min() > 90
    assert drawn[199, 299].min() > 90


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    st.lists(st.text(max_size=40), max_size=4),
)
def test_any_size_box_and_text(size: tuple[int, int], box: list[float], lines: list[str]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    drawn = draw_labels(image, [FaceLabel(7, np.array(box), lines)])
    assert drawn.shape == image.shape


@pytest.mark.parametrize("n", [100, 3000])
def test_lines_break_where_nothing_was_measured(n: int) -> None:
    values = np.random.default_rng(0).normal(size=n)
    values[n // 3 : n // 2] = np.nan
    svg = time_svg(np.arange(n) / 25, {"degrees": {"yaw": values}}, "a")
    line = max(re.findall(r' d="([^"]*)"', svg), key=lambda path: path.count("L"))
    assert line.count("M") == 2
