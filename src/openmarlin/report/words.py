"""The sentences of a report: counts, verdict, settings as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmarlin.report.overview import Overview

Pairs = list[tuple[str, str]]


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 video, 1,200 videos."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def headline(overview: Overview) -> str:
    """What was made, in one line."""
    if overview.n_videos and not overview.videos:
        one = overview.n_videos == 1
        return "The video failed" if one else f"All {overview.n_videos:,} videos failed"
    parts = [count(overview.n_videos, "video"), count(len(overview.faces), "face")]
    return ", ".join([*parts, count(overview.n_windows, "window")])


def verdict(overview: Overview, meta: Mapping[str, Any]) -> str:
    """How it went, in one sentence."""
    parts = []
    if overview.n_windows:
        empty = overview.n_empty
        all_seen = "a face in every window"
        parts.append(f"{count(empty, 'window')} without a face" if empty else all_seen)
    elif overview.n_videos == 0:
        parts.append("nothing was extracted")
    failed = overview.n_failed
    parts.append("no failures" if failed == 0 else count(failed, "failure"))
    if overview.n_partial:
        parts.append(f"{overview.n_partial:,} read only in part")
    speed = _number(meta, "throughput", "times_real_time")
    if speed is not None and overview.n_windows:
        parts.append(f"{speed:.1f}× real time")
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def trouble(overview: Overview) -> str:
    """The banner over a list of failures."""
    parts = []
    if overview.n_failed:
        parts.append(f"{count(overview.n_failed, 'video')} could not be read.")
    if overview.n_partial:
        parts.append(f"{count(overview.n_partial, 'video')} could be read only in part.")
    return " ".join(parts)


def facts(overview: Overview, meta: Mapping[str, Any], dim: int) -> list[tuple[str, str, str]]:
    """The figures under the headline: name, value, remark."""
    vectors = ("Feature vectors", f"{overview.n_used:,}", f"of {dim:,} values")
    return [vectors, *reading_facts(overview, meta)]


def reading_facts(overview: Overview, meta: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """How videos were read and encoded: name, value, remark."""
    rows = []
    model = meta.get("model")
    if isinstance(model, Mapping) and model.get("name"):
        rows.append(("Model", str(model["name"]), ""))
    if meta.get("precision"):
        backend = f"on {meta['backend']}" if meta.get("backend") else ""
        rows.append(("Precision", str(meta["precision"]), backend))
    rows.append(("Interpolated frames", f"{100 * overview.interpolated:.1f} %", ""))
    if overview.n_faceless_videos:
        rows.append(("Videos without any face", f"{overview.n_faceless_videos:,}", ""))
    seconds, wall = (_number(meta, "throughput", name) for name in ("video_s", "wall_s"))
    if seconds is not None and wall is not None:
        rows.append(("Video", duration(seconds), f"in {duration(wall)}"))
    return rows


def similarity(shown: int, total: int) -> str:
    """What to keep in mind when reading the matrix."""
    notes = []
    if shown < total:
        notes.append(f"Shown: {shown} of {total:,} faces, evenly spread.")
    if shown < 5:
        notes.append("With so few faces, being measured from their mean sets them apart by itself.")
    return " ".join(notes)


def settings(meta: Mapping[str, Any]) -> list[tuple[str, Pairs]]:
    """The record as titled groups of (name, value), nested names joined by dots."""
    groups = [
        (title, _flat(values))
        for title, values in meta.items()
        if isinstance(values, Mapping) and values
    ]
    loose = {name: value for name, value in meta.items() if not isinstance(value, Mapping)}
    return groups[:1] + ([("encoder", _flat(loose))] if loose else []) + groups[1:]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Pairs:
    pairs: Pairs = []
    for key, value in values.items():
        name = prefix + re.sub(r"(?<!per)_s$", " (s)", str(key)).replace("_", " ")
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{name}.")
        else:
            pairs.append((name, _text(value)))
    return pairs


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "–"
    return str(value)


def _number(meta: Mapping[str, Any], group: str, name: str) -> float | None:
    values = meta.get(group)
    value = values.get(name) if isinstance(values, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 3 min 05 s, 1 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
