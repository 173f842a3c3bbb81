"""The report of `lipsync generate`: source, drawn and result side by side, curves, what stayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from openmarlin.lipsync.dub import Dubber
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.review import Review
from openmarlin.report import words
from openmarlin.report.figure import PALETTE, as_svg, draw_grid, draw_legend, draw_line, new_figure
from openmarlin.report.page import data_address, jpeg, write_page
from openmarlin.report.strips import spread
from openmarlin.report.timeline import clock
from openmarlin.video.picture import Image

_SHOWN, _SIDE_PX = 8, 160  # moments
_RANGES = 60  # listed
_ROWS = (
    ("Source", "as it was"),
    ("Drawn", "by the model, at its own size"),
    ("Result", "the mouth pasted in"),
)
_STAGES = {
    "faces": "faces followed (0 where the cache had them)",
    "quick": "model trained on the person",
    "read": "frames read",
    "model": "mouths drawn",
    "paste": "faces cut out and pasted in",
    "encode": "H.264",
    "join": "pieces joined, sound added",
    "review": "result measured for this page",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of pictures."""

    name: str
    note: str
    src: str
    width: int
    height: int


def write_report(
    path: Path, meta: Mapping[str, Any], dubber: Dubber, review: Review | None
) -> Path:
    """Write the page, whole or not at all, with everything it shows inside it.

    Args:
        path: the .html.
        meta: what result.json holds.
        dubber: shows what was drawn.
        review: what was measured; None where there was too little.

    Raises:
        InputError: it cannot be written.
    """
    video, audio = (Path(meta[name]).name for name in ("video", "audio"))
    moments, rows = _pictures(dubber)
    ranges = meta["untouched"]
    content = {
        "headline": f"{video} with the sound of {audio}",
        "verdict": f"{meta['drawn']:,} of {words.count(meta['frames'], 'frame')} have a new mouth.",
        "facts": _facts(meta),
        "notes": [*meta["notes"], *meta["failures"].values()],
        "moments": moments,
        "rows": rows,
        "curve": None if review is None else _curve(review),
        "alt": "" if review is None else _alt(review),
        "expert": (meta["score"] or {}).get("expert"),
        "tick_ms": 1000 // TICK_RATE,
        "untouched": [
            (clock(r["start_s"]), clock(r["end_s"]), r["reason"]) for r in ranges[:_RANGES]
        ],
        "hidden": max(0, len(ranges) - _RANGES),
        "tracks": meta["tracks"],
        "stages": [
            (words_of, meta["speed"]["took_s"][name])
            for name, words_of in _STAGES.items()
            if name in meta["speed"]["took_s"]
        ],
        "settings": words.settings({"settings": meta["settings"], "model": meta["model"]}),
    }
    return write_page(path, "lipsync_generate.html", content)


def _pictures(dubber: Dubber) -> tuple[list[str], list[Row]]:
    """Some moments in which a face is drawn, in three rows."""
    face = dubber.faces[0]
    drawn = [i for i in range(len(dubber.schedule)) if dubber.strength(face, i) == 1]
    drawn = drawn or [i for i in range(len(dubber.schedule)) if dubber.strength(face, i) > 0]
    chosen = [drawn[i] for i in spread(len(drawn), _SHOWN)]
    looks = [dubber.look(face, number, _SIDE_PX) for number in chosen]
    rows = []
    for (name, note), images in zip(_ROWS, zip(*looks, strict=True), strict=True):
        strip: Image = np.hstack(images)
        src = data_address(jpeg(strip, 88))
        rows.append(Row(name, note, src, strip.shape[1], strip.shape[0]))
    return [clock(float(dubber.schedule.times_s[number])) for number in chosen], rows


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    model, speed = meta["model"], meta["speed"]
    rate = speed["frames_per_s"]
    facts = [
        ("Model", model["name"], f"draws {model['px']} x {model['px']} pixels a face"),
        ("Length", words.duration(meta["duration_s"]), f"{meta['fps']:.4g} frames a second"),
        ("Track" if len(meta["speakers"]) == 1 else "Tracks", _joined(meta["speakers"]), ""),
        ("Time", words.duration(speed["wall_s"]), ""),
    ]
    if rate:
        facts.append(("Drawn and written", f"{rate:.1f}", "frames a second"))
    return facts


def _joined(tracks: list[int]) -> str:
    return ", ".join(map(str, tracks))


def _curve(review: Review) -> Markup:
    """The opening of the mouth in source and result, and the loudness of the sound below."""
    figure, axes = new_figure(9.6, 2.6)
    for number, (label, opening) in enumerate(
        (("mouth of the source", review.before), ("mouth of the result", review.after))
    ):
        draw_line(axes, number, label, (review.times_s, opening), dots=False)
    axes.set_ylabel("opening / eye distance")
    axes.set_xlabel("seconds")
    draw_grid(axes)
    sound = axes.twinx()
    level = np.maximum(review.level_db, -80)
    sound.fill_between(review.times_s, -80, level, color=PALETTE[2], alpha=0.18, linewidth=0)
    sound.set_ylim(-80, 60)
    sound.set_yticks([])
    sound.spines[:].set_visible(False)
    sound.patch.set_alpha(0)
    axes.set_zorder(sound.get_zorder() + 1)
    draw_legend(axes, 2)
    return Markup(as_svg(figure, "opening"))


def _alt(review: Review) -> str:
    values = [review.correlation(opening) for opening in (review.before, review.after)]
    before, after = ("not defined" if np.isnan(v) else f"{v:.2f}" for v in values)
    return (
        f"The opening of the mouth goes with the loudness of the sound (green) with a correlation "
        f"of {after} in the result and {before} in the source."
    )
