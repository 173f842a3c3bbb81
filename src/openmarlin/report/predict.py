"""The report of `predict`: what was said of every video, over time, under its faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.data.manifest import Row, display
from openmarlin.data.thumbs import WindowThumb
from openmarlin.report import words
from openmarlin.report.answers import MOST_OUTPUTS, Wording, counts
from openmarlin.report.figure import face_colours
from openmarlin.report.overview import MAX_FACES, FaceView, Overview, VideoView, spans_of, survey
from openmarlin.report.page import data_address, jpeg, write_page
from openmarlin.report.plots import percent
from openmarlin.report.probability import Chart, make_chart, shown_outputs
from openmarlin.report.timeline import Axis, Layout, clock, lay_out, make_axis
from openmarlin.tasks.inference import Answers
from openmarlin.tasks.labels import Values
from openmarlin.tasks.model import TaskModel

MAX_ROWS = 500  # of the table of all videos
MAX_FAILURES = 200
MAX_COUNTS = 24  # outputs that are counted on the page
MAX_SLOTS = 8  # pictures along an axis
_SLOTS_A_WINDOW = 3  # of which there are four pictures: more slots would stay empty
_NEAR = 0.55  # of a slot, from its middle
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop at its time."""

    src: str
    alt: str


@dataclass(slots=True)
class FaceAnswer:
    """One face on the page: who, what was said of it, and its windows over time."""

    face: FaceView
    said: list[tuple[str, str, str]]  # colour, output, number
    pictures: list[Picture | None]
    chart: Chart


@dataclass(slots=True)
class VideoAnswer:
    """One video on the page; `axis` ends with its last frame, `empty` has no face."""

    number: int
    view: VideoView
    axis: Axis
    empty: Layout
    decision: str
    said: str
    faces: list[FaceAnswer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table of all videos."""

    name: str
    path: str
    anchor: str
    decision: str
    number: str
    bar: float | None
    n_windows: int
    n_without_face: int
    note: str


def write_report(
    path: Path,
    model: TaskModel,
    rows: Sequence[Row],
    answers: Answers,
    notes: Sequence[str],
    failures: Sequence[tuple[str, str]],
    meta: Mapping[str, Any],
) -> Path:
    """Write the report, one HTML file with no reference to anything outside it.

    Args:
        path: the .html file.
        model: that answered.
        rows: N rows of the manifest.
        answers: to them.
        notes: what is to be known of each row, N lines or empty.
        failures: (video, reason) of what could not be read, or only in part.
        meta: how it was done; as meta.json of `extract`.
    """
    overview = survey(
        answers.extracted.features.table, answers.extracted.thumbs, failures, shots=False
    )
    wording = Wording(model.target, model.config.thresholds)
    places = {row.title: i for i, row in enumerate(rows)}
    videos = _videos(wording, overview, places, answers)
    shown = {video.view.title: f"v{video.number}" for video in videos}
    lines = _lines(wording, rows, answers, notes, shown)
    content = {
        "headline": _headline(wording, answers, len(rows)),
        "verdict": words.verdict(overview, meta),
        "facts": [_subject(model), *words.reading_facts(overview, meta)],
        "trouble": words.trouble(overview),
        "caution": meta["model"]["caution"],
        "licence": meta["model"]["licence"],
        "wording": wording,
        "counts": _counts(wording, answers),
        "lines": lines[:MAX_ROWS],
        "lines_hidden": max(0, len(lines) - MAX_ROWS),
        "videos": videos,
        "n_videos": len(overview.videos),
        "max_faces": MAX_FACES,
        "most_outputs": MOST_OUTPUTS,
        "settings": _card(model, meta),
        "notes": [(video, "; ".join(told)) for video, told in meta["notes"].items()],
        "failures": failures[:MAX_FAILURES],
        "failures_hidden": max(0, len(failures) - MAX_FAILURES),
    }
    return write_page(path, "predict.html", content)


def _headline(wording: Wording, answers: Answers, n_rows: int) -> str:
    """What came out: "3 videos: 2 fake, 1 real", as far as that can be counted."""
    head = words.count(n_rows, "video")
    said = answers.rows[answers.seen]
    unseen = n_rows - len(said)
    parts = []
    if wording.target.kind not in ("regression", "multilabel") and len(said):
        decisions = [wording.decision(answer) for answer in said]
        pairs = counts(wording, decisions, said)
        others = sum(n for _, n in pairs[4:])
        parts = [f"{n:,} {word}" for word, n in pairs[:4]]
        parts += [words.count(others, "other")] if others else []
    if unseen and (parts or unseen == n_rows):
        parts.append(f"{unseen:,} not judged")
    return f"{head}: {', '.join(parts)}" if parts else head


def _subject(model: TaskModel) -> tuple[str, str, str]:
    target = model.target
    kind = {"class": "one of several", "multilabel": "which apply"}.get(target.kind, target.kind)
    shown = ", ".join(target.columns[:3]) + (", …" if len(target.columns) > 3 else "")
    return ("Predicted", shown, kind)


def _counts(wording: Wording, answers: Answers) -> list[tuple[str, str, float]]:
    """Name, what is said of it, and the length of its bar, percent."""
    said = answers.rows[answers.seen]
    if not len(said):
        return []
    if wording.target.kind == "regression":
        return [
            (name, f"mean {x.mean():.3g}, from {x.min():.3g} to {x.max():.3g}", 0.0)
            for name, x in zip(wording.outputs[:MAX_COUNTS], said.T, strict=False)
        ]
    pairs = counts(wording, [wording.decision(answer) for answer in said], said)
    unseen = len(answers.rows) - len(said)
    pairs = [pair for pair in pairs if pair[1]][:MAX_COUNTS]
    pairs += [("not judged", unseen)] if unseen else []
    return [(name, f"{n:,}", 100 * n / len(answers.rows)) for name, n in pairs]


def _lines(
    wording: Wording,
    rows: Sequence[Row],
    answers: Answers,
    notes: Sequence[str],
    shown: Mapping[str, str],
) -> list[Line]:
    """All videos, by the main probability; those that were not judged last."""
    said = answers.judged
    lines = []
    for i in sorted(range(len(rows)), key=lambda i: -wording.main(said[i])):
        row, main = rows[i], wording.main(said[i])
        is_share = bool(np.isfinite(main)) and wording.target.kind != "regression"
        lines.append(
            Line(
                row.title.removeprefix(display(row.video.parent) + "/"),
                row.title,
                shown.get(row.title, ""),
                wording.decision(said[i]),
                _main_words(wording, said[i]) if is_share else "",
                round(100 * main, 2) if is_share else None,
                int(answers.n_windows[i]),
                int(answers.n_without_face[i]),
                notes[i],
            )
        )
    return lines


def _main_words(wording: Wording, answer: Values) -> str:
    """The probability that a row is sorted by, and of what it is."""
    place = wording.decided(answer) if len(answer) > 1 else 0
    return f"{wording.outputs[place]} {percent(float(answer[place]))}"


def _videos(
    wording: Wording, overview: Overview, places: Mapping[str, int], answers: Answers
) -> list[VideoAnswer]:
    """The videos on show, their faces with pictures and charts."""
    table = answers.extracted.features.table
    names = (name for name in table.column_names if name not in ("video", "embedding"))
    columns = {name: table.column(name).to_numpy() for name in names}
    crops: dict[tuple[str, int], list[WindowThumb]] = {}
    for thumb in answers.extracted.thumbs:
        crops.setdefault((thumb.video, thumb.face), []).append(thumb)
    used = [face.used for video in overview.shown for face in video.faces]
    extent = _extent(wording, answers.windows[np.concatenate(used)] if used else np.empty((0, 1)))
    videos = []
    for number, view in enumerate(overview.shown, start=1):
        place = places[view.title]
        answer = answers.judged[place]
        mine = np.concatenate([face.used for face in view.faces] or [np.empty(0, np.intp)])
        outputs = shown_outputs(wording, answers.windows[mine])
        decision, line = wording.decision(answer), ", ".join(wording.lines(answer, MOST_OUTPUTS))
        ends_s = float(columns["end_s"][view.rows].max())
        axis = make_axis(float(columns["start_s"][view.rows].min()), ends_s)
        empty = lay_out(spans_of(view.rows[columns["face"][view.rows] < 0], columns), axis)
        line = "" if wording.target.kind == "multilabel" else line.removeprefix(f"{decision} ")
        video = VideoAnswer(number, view, axis, empty, decision, line)
        n_windows = len(np.unique(columns["window"][view.rows]))
        n_slots = min(MAX_SLOTS, _SLOTS_A_WINDOW * n_windows)
        for face in view.faces[:MAX_FACES]:
            spans = np.stack([columns["start_s"], columns["end_s"]], axis=1)[face.used]
            said = answers.windows[face.used]
            chart = make_chart(wording, outputs, spans, said, axis, face.colour, extent)
            thumbs = crops.get((view.title, face.face), [])
            pictures = _pictures(face, thumbs, columns, axis, n_slots)
            said_of = _said(wording, answers.faces.get((place, face.face)), outputs, face.colour)
            video.faces.append(FaceAnswer(face, said_of, pictures, chart))
        videos.append(video)
    return videos


def _extent(wording: Wording, windows: Values) -> tuple[float, float]:
    """Lowest and highest value of a chart."""
    if wording.target.kind != "regression" or not len(windows):
        return 0.0, 1.0
    low, high = float(windows.min()), float(windows.max())
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _said(
    wording: Wording, answer: Values | None, outputs: Sequence[int], colour: str
) -> list[tuple[str, str, str]]:
    """Colour, name and number of every output that is drawn of a face."""
    if answer is None:
        return []
    colours = [colour] if len(wording.outputs) == 1 else face_colours(len(outputs))
    return [
        (tint, wording.outputs[i], wording.number(float(answer[i])))
        for i, tint in zip(outputs, colours, strict=True)
    ]


def _pictures(
    face: FaceView,
    thumbs: Sequence[WindowThumb],
    columns: Mapping[str, Any],
    axis: Axis,
    n_slots: int,
) -> list[Picture | None]:
    """A crop for every slot of the axis: the one nearest to its middle, where there is one."""
    rows = {int(columns["window"][row]): row for row in face.used}
    times, images = [], []
    for thumb in thumbs:
        row = rows.get(thumb.window)
        if row is None:
            continue
        start_s, end_s = columns["start_s"][row], columns["end_s"][row]
        n_frames, n_real = columns["n_frames"][row], columns["n_real"][row]
        frames = np.linspace(0, n_frames - 1, len(thumb.images)).round()
        shares = np.minimum(frames, n_real - 1) / n_real
        times += (start_s + shares * (end_s - start_s)).tolist()
        images += list(thumb.images)
    width_s = (axis.end_s - axis.start_s) / n_slots
    pictures: list[Picture | None] = []
    for slot in range(n_slots):
        middle_s = axis.start_s + (slot + 0.5) * width_s
        place = int(np.argmin(np.abs(np.array(times) - middle_s))) if times else -1
        if place < 0 or abs(times[place] - middle_s) > _NEAR * width_s:
            pictures.append(None)
            continue
        src = data_address(jpeg(images[place], _JPEG_QUALITY))
        pictures.append(Picture(src, f"face {face.face} at {clock(times[place])} s"))
    return pictures


def _card(model: TaskModel, meta: Mapping[str, Any]) -> list[tuple[str, words.Pairs]]:
    """What is to be known of the model, and how this was done."""
    config, wording = model.config, Wording(model.target, model.config.thresholds)
    names = wording.outputs[:12]
    limits = {name: wording.limit(i) for i, name in enumerate(names)}
    groups: dict[str, Mapping[str, Any]] = {
        "what it predicts": {
            "columns": list(model.target.columns),
            "kind": model.target.kind,
            "classes": list(model.target.classes),
            "several windows": f"mean of their {config.over_time}",
            "several faces": {"mean": "mean", "max": "the largest"}[config.over_faces],
            "temperature": config.temperature,
        },
        "a yes from": {name: limit for name, limit in limits.items() if np.isfinite(limit)},
        "in the training labels": dict(zip(names, config.prior, strict=False)),
        "trained on": config.trained_on,
        "chosen on": config.chosen_on,
    }
    run = {name: value for name, value in meta.items() if name not in ("notes", "task")}
    return words.settings(groups | run)
