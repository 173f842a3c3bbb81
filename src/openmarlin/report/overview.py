"""What a report shows of a features table: videos, their faces, and a fair sample of windows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openmarlin.data.features import row_titles
from openmarlin.data.thumbs import WindowThumb
from openmarlin.output import video_of
from openmarlin.report.figure import face_colours
from openmarlin.report.strips import Strip, make_strip, spread
from openmarlin.report.timeline import Axis, Layout, Span, clock, lay_out, make_axis

MAX_VIDEOS = 24
MAX_FACES = 8  # of one video
MAX_STRIPS = 160  # of the whole report
MAX_STRIPS_A_FACE = 12
MAX_CROPS_A_STRIP = 8
MAX_CROPS = 512

Rows = npt.NDArray[np.intp]
Columns = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class Shot:
    """One window on show: its crops, when it was, which one it is."""

    strip: Strip
    time: str
    window: int
    alt: str


@dataclass(slots=True)
class FaceView:
    """One face of one video. `rows` and `used` (windows with features) index the table."""

    number: int
    face: int
    name: str
    short: str
    rows: Rows
    used: Rows
    colour: str = ""
    score: float = math.nan
    box: tuple[float, float] = (math.nan, math.nan)
    interpolated: float = 0.0
    timeline: Layout | None = None
    shots: list[Shot] = field(default_factory=list)


@dataclass(slots=True)
class VideoView:
    """One video, or part of one: its faces, and the windows in which nobody is seen."""

    title: str
    path: str
    name: str
    rows: Rows
    faces: list[FaceView] = field(default_factory=list)
    empty: Layout | None = None
    n_empty: int = 0
    axis: Axis | None = None


@dataclass(slots=True)
class Overview:
    """All videos of a table in its order, the ones on show, and the counts of the headline."""

    videos: list[VideoView]
    shown: list[VideoView]
    faces: list[FaceView]
    n_videos: int
    n_windows: int
    n_used: int
    n_empty: int
    n_faceless_videos: int
    n_failed: int
    n_partial: int
    interpolated: float


def survey(
    table: pa.Table,
    thumbs: Sequence[WindowThumb],
    failures: Sequence[tuple[str, str]],
    *,
    shots: bool = True,
) -> Overview:
    """Everything a report says about the table, ready for the page; perhaps without pictures."""
    columns: Columns = {
        name: table.column(name).to_numpy()
        for name in table.column_names
        if name not in ("video", "embedding")
    }
    videos = _videos(
        [str(path) for path in table.column("video").to_pylist()], row_titles(table), columns
    )
    faces = [face for video in videos for face in video.faces]
    for face, colour in zip(faces, face_colours(len(faces)), strict=True):
        face.colour = colour
    crops: dict[tuple[str, int], list[WindowThumb]] = {}
    for thumb in sorted(thumbs, key=lambda thumb: thumb.window):
        crops.setdefault((thumb.video, thumb.face), []).append(thumb)
    shown = _choose(videos, {video for video, _ in crops})
    _add_details(shown, columns, crops if shots else {})
    failed = {video_of(name) for name, _ in failures}
    partial = failed & {video.path for video in videos}
    real = int(columns["n_real"][columns["face"] >= 0].sum())
    return Overview(
        videos=videos,
        shown=shown,
        faces=faces,
        n_videos=len(videos) + len(failed - partial),
        n_windows=table.num_rows,
        n_used=int(columns["ok"].sum()),
        n_empty=int((columns["face"] < 0).sum()),
        n_faceless_videos=sum(not video.faces for video in videos),
        n_failed=len(failed - partial),
        n_partial=len(partial),
        interpolated=float(columns["n_interpolated"].sum() / max(real, 1)),
    )


def _videos(paths: list[str], titles: list[str], columns: Columns) -> list[VideoView]:
    """The videos in table order with their faces, rows in the order of time."""
    rows_of: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        rows_of.setdefault(title, []).append(row)
    names = _names(list(dict.fromkeys(paths)))
    videos, number = [], 0
    for title, rows in rows_of.items():
        path = paths[rows[0]]
        part = title.removeprefix(path)
        order = np.array(rows)
        order = order[np.argsort(columns["start_s"][order], kind="stable")]
        video = VideoView(title, path, names[path] + part, order)
        ids = columns["face"][order]
        for face in [int(i) for i in np.unique(ids) if i >= 0]:
            number += 1
            mine = order[ids == face]
            used = mine[columns["ok"][mine].astype(bool)]
            video.faces.append(FaceView(number, face, "", "", mine, used))
        for view in video.faces:
            view.name = f"{video.name}, face {view.face}" if len(video.faces) > 1 else video.name
            suffix = f", {view.face}" if len(video.faces) > 1 else ""
            view.short = _shorten(names[path]) + part + suffix
        video.n_empty = int((ids < 0).sum())
        videos.append(video)
    return videos


def _names(paths: list[str]) -> dict[str, str]:
    """A short name for each path: the file name, with its folder where two are the same."""
    names = {path: PurePath(path).name or path for path in paths}
    times = Counter(names.values())
    return {
        path: "/".join(PurePath(path).parts[-2:]) if times[name] > 1 else name
        for path, name in names.items()
    }


def _shorten(name: str, limit: int = 22) -> str:
    stem = PurePath(name).stem or name
    return stem if len(stem) <= limit else f"{stem[: limit - 9]}…{stem[-8:]}"


def _choose(videos: list[VideoView], pictured: set[str]) -> list[VideoView]:
    """All videos, or an even sample; of many, those of which there are crops."""
    if len(videos) <= MAX_VIDEOS:
        return videos
    candidates = [video for video in videos if video.title in pictured] or videos
    return [candidates[i] for i in spread(len(candidates), MAX_VIDEOS)]


def _add_details(
    shown: list[VideoView],
    columns: Columns,
    crops: dict[tuple[str, int], list[WindowThumb]],
) -> None:
    faces = [(video, face) for video in shown for face in video.faces[:MAX_FACES]]
    quota = max(1, min(MAX_STRIPS_A_FACE, MAX_STRIPS // max(len(faces), 1)))
    chosen: dict[int, list[WindowThumb]] = {}
    for video, face in faces:
        mine = crops.get((video.title, face.face), [])
        chosen[face.number] = [mine[i] for i in spread(len(mine), quota)]
    n_strips = sum(len(thumbs) for thumbs in chosen.values())
    room = max(1, min(MAX_CROPS_A_STRIP, MAX_CROPS // max(n_strips, 1)))
    for video in shown:
        spans = spans_of(video.rows, columns)
        ends = [span.padded_end_s for span in spans]
        axis = video.axis = make_axis(min(span.start_s for span in spans), max(ends))
        empty = video.rows[columns["face"][video.rows] < 0]
        video.empty = lay_out(spans_of(empty, columns), axis)
        for face in video.faces[:MAX_FACES]:
            face.timeline = lay_out(spans_of(face.rows, columns), axis)
            face.score = _mean(columns["face_score"][face.rows])
            face.box = (
                _mean(columns["x2"][face.rows] - columns["x1"][face.rows]),
                _mean(columns["y2"][face.rows] - columns["y1"][face.rows]),
            )
            real = int(columns["n_real"][face.rows].sum())
            face.interpolated = float(columns["n_interpolated"][face.rows].sum()) / max(real, 1)
            face.shots = _shots(face, chosen[face.number], columns, room)


def spans_of(rows: Rows, columns: Columns) -> list[Span]:
    """Rows of a features table, given by its columns, as windows in time."""
    names = ("window", "start_s", "end_s", "n_frames", "n_real", "n_interpolated", "ok")
    return [
        Span(*values) for values in zip(*(columns[n][rows].tolist() for n in names), strict=True)
    ]


def _shots(
    face: FaceView,
    thumbs: Sequence[WindowThumb],
    columns: Columns,
    room: int,
) -> list[Shot]:
    row_of = {int(columns["window"][row]): row for row in face.rows}
    shots = []
    for thumb in thumbs:
        row = row_of.get(thumb.window)
        if row is None or not len(thumb.images):
            continue
        strip = make_strip(thumb.images, thumb.points, room)
        time = f"{clock(float(columns['start_s'][row]))}–{clock(float(columns['end_s'][row]))} s"
        alt = f"{strip.count} crops of {face.name}, window {thumb.window}, {time}"
        shots.append(Shot(strip, time, thumb.window, alt))
    return shots


def _mean(values: npt.NDArray[np.generic]) -> float:
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.mean()) if len(numbers) else math.nan
