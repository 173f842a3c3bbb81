"""The report of `faces`: how heads turned and what expressions moved, face by face, in one page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from openmarlin.data.face_parts import FaceParts, FaceRecord
from openmarlin.data.face_table import POSE, pieces
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.thumbs import WindowThumb, load_thumbs
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.report import figure, plots, words
from openmarlin.report.page import write_page
from openmarlin.report.strips import Strip, make_strip, spread
from openmarlin.report.timeline import clock

MAX_VIDEOS = 24
MAX_FACES = 40  # of the whole report
MAX_FACES_A_VIDEO = 6
MAX_SHOTS = 8  # of a face
MAX_CURVES = 4  # expressions of a face
MAX_FAILURES = 200

_EXPRESSIONS = BLENDSHAPE_NAMES[1:]  # the first is what is left when nothing shows
_COLUMNS = ("frame", "time_s", "face", "ok", "score", "x1", "y1", "x2", "y2", *POSE, *_EXPRESSIONS)
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shot:
    """One crop with its mesh, and when it was."""

    strip: Strip
    time: str


@dataclass(frozen=True, slots=True)
class FaceCurves:
    """One face on show."""

    face: int
    colour: str
    facts: list[tuple[str, str]]
    plot: Markup
    shots: list[Shot]
    alt: str


@dataclass(frozen=True, slots=True)
class VideoCurves:
    """One video (or part of one) on show."""

    title: str
    name: str
    summary: str
    faces: list[FaceCurves]
    hidden: int


def write_report(
    path: Path,
    manifest: Manifest,
    parts: FaceParts,
    meta: Mapping[str, Any],
    failures: Mapping[str, str],
) -> Path:
    """Write the report to `path`, whole or not at all, with no reference to anything outside it.

    However many videos there are, it stays below some 10 MB: an even sample is shown, and the page
    says so.

    Args:
        path: the .html file.
        manifest: the videos in their order.
        parts: their tables and thumbs.
        meta: what meta.json holds.
        failures: {video: reason} of what could not be read, or only in part.
    """
    records = parts.records(manifest)
    done = [row for row in manifest.rows if row.key in records]
    chosen = [done[i] for i in spread(len(done), MAX_VIDEOS)]
    quota = max(1, min(MAX_FACES_A_VIDEO, MAX_FACES // max(len(chosen), 1)))
    videos = [_video(i, row, records[row.key], parts, quota) for i, row in enumerate(chosen)]
    counts = meta["counts"]
    listed = list(failures.items())
    content = {
        "headline": ", ".join(
            words.count(counts[n], n[:-1]) for n in ("videos", "faces", "frames")
        ),
        "verdict": _verdict(counts, len(failures)),
        "facts": _facts(meta),
        "videos": videos,
        "n_done": len(done),
        "failures": listed[:MAX_FAILURES],
        "trouble": f"{words.count(len(listed), 'video')} failed, or could be read only in part.",
        "failures_hidden": max(0, len(listed) - MAX_FAILURES),
        "notes": [(video, "; ".join(lines)) for video, lines in meta["notes"].items()],
        "settings": words.settings({k: v for k, v in meta.items() if k not in ("notes", "counts")}),
        "has_mesh": any(face.shots for video in videos for face in video.faces),
    }
    return write_page(path, "faces.html", content)


def _verdict(counts: Mapping[str, int], n_failures: int) -> str:
    empty, frames = counts["frames_without_face"], counts["frames"]
    parts = ["no failures" if not n_failures else words.count(n_failures, "failure")]
    if frames:
        parts.insert(0, _emptiness(empty, frames))
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def _emptiness(empty: int, frames: int) -> str:
    if not empty:
        return "a face in every frame"
    return f"no face in {plots.percent(empty / frames)} of the frames"


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    speed, counts = meta["throughput"], meta["counts"]
    without = f"{counts['frames_without_face']:,}"
    return [
        ("Frames without a face", without, f"of {counts['frames']:,}"),
        ("Video", words.duration(speed["video_s"]), f"in {words.duration(speed['wall_s'])}"),
        ("Speed", f"{speed['frames_per_s']:.0f}", "frames a second"),
    ]


def _video(number: int, row: Row, record: FaceRecord, parts: FaceParts, quota: int) -> VideoCurves:
    columns = _columns(parts.part(row))
    thumbs = load_thumbs(parts.thumbs(row)) if parts.thumbs(row).is_file() else []
    tracks, lengths = np.unique(columns["face"][columns["ok"] > 0], return_counts=True)
    longest = sorted(tracks[np.argsort(-lengths, kind="stable")][:quota].astype(int).tolist())
    times_s, place = np.unique(columns["time_s"], return_inverse=True)
    faces = []
    for face in longest:
        mine = columns["face"] == face
        own = {name: values[mine] for name, values in columns.items()}
        shots = [thumb for thumb in thumbs if thumb.face == face]
        faces.append(_face(f"v{number}f{face}", face, own, times_s, place[mine], shots))
    summary = (
        f"{words.count(record.frames, 'frame')}, {words.duration(record.seconds)}, "
        f"{words.count(len(tracks), 'face')}; {_emptiness(record.empty, record.frames)}"
    )
    return VideoCurves(row.title, Path(row.title).name, summary, faces, len(tracks) - len(faces))


def _columns(path: Path) -> dict[str, Values]:
    """The columns of a part that are shown, as numbers."""
    tables = list(pieces(path, list(_COLUMNS)))
    return {
        name: np.concatenate(
            [np.zeros(0), *(table.column(name).to_numpy().astype(np.float64) for table in tables)]
        )
        for name in _COLUMNS
    }


def _face(
    name: str,
    face: int,
    own: Mapping[str, Values],
    times_s: Values,
    place: npt.NDArray[np.intp],
    thumbs: Sequence[WindowThumb],
) -> FaceCurves:
    """One face: its curves over all frames of the video, NaN where it is not there."""

    def over_time(column: str) -> Values:
        values = np.full(len(times_s), np.nan)
        values[place] = own[column]
        return values

    moving = _moving(own)
    panels = {
        "degrees": {angle: over_time(angle) for angle in POSE},
        "expression": {column: over_time(column) for column in moving},
    }
    plot = plots.time_svg(times_s, panels, name, share="expression")
    seen = own["ok"] > 0
    side = np.maximum(own["x2"] - own["x1"], own["y2"] - own["y1"])
    facts = [
        ("seen in", f"{words.count(int(seen.sum()), 'frame')}"),
        ("score", f"{own['score'][seen].mean():.2f}"),
        ("box", f"{side[seen].mean():.0f} px"),
        *((angle, _spread_of(own[angle][seen])) for angle in POSE),
    ]
    shots = list(_shots(thumbs, own))
    alt = f"Head pose and {', '.join(moving)} of face {face} over time"
    colour = figure.face_colours(figure.DISTINCT)[face % figure.DISTINCT]
    return FaceCurves(face, colour, facts, Markup(plot), shots, alt)


def _moving(own: Mapping[str, Values]) -> list[str]:
    """The expressions that vary most, the stronger one of a left and right pair."""
    with np.errstate(invalid="ignore"):
        spreads = {name: float(np.nan_to_num(np.nanstd(own[name]))) for name in _EXPRESSIONS}
    ranked = sorted(spreads, key=lambda name: -spreads[name])
    chosen = {re.sub("(Left|Right)$", "", name): name for name in reversed(ranked)}
    return sorted(chosen.values(), key=lambda name: -spreads[name])[:MAX_CURVES]


def _shots(thumbs: Sequence[WindowThumb], own: Mapping[str, Values]) -> Iterator[Shot]:
    time_of = dict(zip(own["frame"].tolist(), own["time_s"].tolist(), strict=True))
    placed = [thumb for thumb in thumbs if thumb.window in time_of]
    for i in spread(len(placed), MAX_SHOTS):
        strip = make_strip(placed[i].images, placed[i].points, 1)
        yield Shot(strip, f"{clock(time_of[placed[i].window])} s")


def _spread_of(values: Values) -> str:
    return f"{round(values.mean())}° ± {round(values.std())}°" if len(values) else "–"
