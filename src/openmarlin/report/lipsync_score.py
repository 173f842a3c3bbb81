"""The report of `lipsync score`: face by face, which shift of the sound fits the lips best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from openmarlin.data.manifest import Row
from openmarlin.lipsync.offsets import MAX_SHIFT, TICK_RATE, Variant
from openmarlin.lipsync.track_score import VARIANTS, TrackScore
from openmarlin.lipsync.words import milliseconds, verdict
from openmarlin.report import figure, words
from openmarlin.report.figure import INK, PALETTE, Curve
from openmarlin.report.page import write_page
from openmarlin.report.plots import percent
from openmarlin.report.strips import spread
from openmarlin.report.timeline import clock

MAX_VIDEOS = 24
MAX_FACES_A_VIDEO = 4
MAX_FAILURES = 200
_CURVE_POINTS = 600

_MEANS = (("lse_d", "LSE-D"), ("lse_c", "LSE-C"), ("in_sync", "in sync to a frame"))


@dataclass(frozen=True, slots=True)
class ScoredVideo:
    """A video (or part of one), its faces, and what is unusual in it."""

    row: Row
    scores: list[TrackScore]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownFace:
    """One face on show."""

    track: int
    colour: str
    verdict: str
    sure: bool
    speaks: bool
    flags: str
    facts: list[tuple[str, str]]
    curve: Markup
    timeline: Markup


@dataclass(frozen=True, slots=True)
class ShownVideo:
    """One video on show."""

    title: str
    name: str
    faces: list[ShownFace]
    hidden: int


def write_report(
    path: Path,
    videos: Sequence[ScoredVideo],
    meta: Mapping[str, Any],
    failures: Mapping[str, str],
) -> Path:
    """Write the report to `path`, whole or not at all, with no reference to anything outside it.

    Args:
        path: the .html file.
        videos: those that were scored; of many an even sample is shown, and the page says so.
        meta: what meta.json holds.
        failures: {video: reason} of what could not be scored, or only in part.
    """
    told = [video for video in videos if video.scores]
    shown = [_video(number, told[i]) for number, i in enumerate(spread(len(told), MAX_VIDEOS))]
    counts, listed = meta["counts"], list(failures.items())
    content = {
        "headline": f"{words.count(counts['videos'], 'video')}, "
        f"{words.count(counts['tracks'], 'face')}",
        "verdict": _verdict(told, len(listed)),
        "facts": _facts(meta),
        "expert": meta["expert"],
        "means": _means(meta["means"]),
        "mean_names": [name for _, name in _MEANS],
        "distance": meta.get("distance"),
        "videos": shown,
        "n_told": len(told),
        "failures": listed[:MAX_FAILURES],
        "failures_hidden": max(0, len(listed) - MAX_FAILURES),
        "notes": [(video, "; ".join(lines)) for video, lines in meta["notes"].items()],
        "trouble": f"{words.count(len(listed), 'video')} failed, or could be scored only in part.",
        "settings": words.settings(
            {k: v for k, v in meta.items() if k not in ("means", "counts", "distance", "notes")}
        ),
    }
    return write_page(path, "lipsync_score.html", content)


def _verdict(videos: Sequence[ScoredVideo], n_failures: int) -> str:
    speaking = [score for video in videos for score in video.scores if score.speaks]
    sure = [score for score in speaking if score.is_sure]
    apart = sum(abs(score.scores["valid"].ticks) > 1 for score in sure)
    parts = []
    if sure:
        parts.append(f"{words.count(len(sure) - apart, 'speaking face')} in sync")
        parts.append(f"{apart:,} out of sync")
    if len(speaking) > len(sure):
        unsure = words.count(len(speaking) - len(sure), "speaking face")
        parts.append(f"{unsure} for which it cannot be told")
    if not speaking:
        parts.append("no face that speaks long enough to tell")
    parts.append("no failures" if not n_failures else words.count(n_failures, "failure"))
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    speed, expert = meta["throughput"], meta["expert"]
    rows = [("Expert", expert["name"], f"sees {expert['sees']}")]
    if "distance" in meta:
        distance = meta["distance"]
        value = distance["value"]
        text = "–" if value is None or math.isnan(value) else f"{value:.3g}"
        rows.append(("Distance to real faces", text, f"of {distance['net']}"))
    rows.append(
        ("Video", words.duration(speed["video_s"]), f"in {words.duration(speed['wall_s'])}")
    )
    rows.append(("Speed", f"{speed['times_real_time']:.1f}×", "real time"))
    return rows


def _means(means: Mapping[str, Mapping[str, Sequence[float]]]) -> list[dict[str, Any]]:
    """A row a variant: name, videos, and each mean with its interval as text."""
    rows = []
    for variant in VARIANTS:
        told = means[variant]
        if told["videos"][0]:
            cells = [_interval(name, *told[name]) for name, _ in _MEANS]
            rows.append({"variant": variant, "videos": int(told["videos"][0]), "cells": cells})
    return rows


def _interval(name: str, mean: float, low: float, high: float) -> tuple[str, str]:
    def text(value: float) -> str:
        return percent(value) if name == "in_sync" else f"{value:.3f}"

    return text(mean), "" if math.isnan(low) else f"{text(low)} to {text(high)}"


def _video(number: int, video: ScoredVideo) -> ShownVideo:
    ranked = sorted(video.scores, key=lambda score: (-score.speaks, -score.n_frames))
    chosen = sorted(ranked[:MAX_FACES_A_VIDEO], key=lambda score: score.track)
    faces = [_face(f"v{number}t{score.track}", score) for score in chosen]
    title = video.row.title
    return ShownVideo(title, Path(title).name, faces, len(video.scores) - len(faces))


def _face(name: str, score: TrackScore) -> ShownFace:
    facts = [("seen", f"{clock(score.start_s)} to {clock(score.end_s)} s")]
    for variant in VARIANTS:
        offset = score.scores.get(variant)
        if offset is None:
            facts.append((variant, "too short" if "short" in score.flags else "not scored"))
        else:
            facts += [
                (f"LSE-D, {variant}", f"{offset.lse_d:.3f}"),
                (f"LSE-C, {variant}", f"{offset.lse_c:.3f}"),
                (f"offset, {variant}", f"{offset.ticks:+d} ({milliseconds(offset.ticks):+d} ms)"),
            ]
    if math.isfinite(score.certainty):
        facts.append(("certainty", percent(score.certainty)))
    facts.append(("speech", percent(score.speech)))
    facts.append(("face", f"{score.face_px:.0f} px"))
    colour = figure.face_colours(figure.DISTINCT)[score.track % figure.DISTINCT]
    curves: dict[str, Curve] = {
        variant: _curve(score, variant) for variant in VARIANTS if variant in score.scores
    }
    return ShownFace(
        score.track,
        colour,
        verdict(score),
        score.is_sure,
        score.speaks,
        ", ".join(score.flags),
        facts,
        Markup(curve_svg(curves, f"{name}c") if curves else ""),
        Markup(timeline_svg(score, f"{name}t") if np.isfinite(score.confidence).any() else ""),
    )


def _curve(score: TrackScore, variant: Variant) -> Curve:
    """Offsets in ms, ascending, and mean distances."""
    ms = np.arange(-MAX_SHIFT, MAX_SHIFT + 1) * 1000 / TICK_RATE
    return ms, score.scores[variant].curve[::-1].astype(np.float64)


def curve_svg(curves: Mapping[str, Curve], name: str) -> str:
    """Mean distances over offsets, the smallest marked."""
    drawing, axes = figure.new_figure(4.4, 2.5)
    axes.axvline(0, color=INK, alpha=0.35, linewidth=0.8, linestyle=":")
    for number, (label, (ms, values)) in enumerate(curves.items()):
        figure.draw_line(axes, number, label, (ms, values), dots=False)
        best = int(values.argmin())
        axes.plot(ms[best], values[best], "o", color=PALETTE[number], markersize=6)
        if not number:
            axes.annotate(
                f"{ms[best]:+.0f} ms".replace("+0 ms", "0 ms"),
                (ms[best], values[best]),
                (0, -12),
                textcoords="offset points",
                ha="center",
                size=8,
                color=INK,
            )
    axes.margins(x=0.03, y=0.18)
    axes.set(xlabel="offset: below 0 the sound lags, above 0 it leads (ms)", ylabel="distance")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    figure.draw_grid(axes)
    figure.draw_legend(axes, len(curves))
    return figure.as_svg(drawing, name)


def timeline_svg(score: TrackScore, name: str) -> str:
    """The confidence of windows over time."""
    drawing, axes = figure.new_figure(4.4, 1.7)
    size = -(-len(score.times_s) // _CURVE_POINTS)
    times, values = score.times_s[::size], score.confidence[::size].astype(np.float64)
    axes.axhline(0, color=INK, alpha=0.35, linewidth=0.8)
    axes.plot(times, values, color=PALETTE[0], linewidth=1.2)
    axes.fill_between(times, 0, values, color=PALETTE[0], alpha=0.18, linewidth=0)
    axes.set_xlim(score.start_s, max(score.end_s, score.start_s + 1e-3))
    axes.set(xlabel="time (s)", ylabel="confidence")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.draw_grid(axes)
    return figure.as_svg(drawing, name)
