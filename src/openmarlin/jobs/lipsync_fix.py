"""`lipsync fix`: a video whose sound is out of step -> the same with the sound in step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.manifest import existing
from openmarlin.errors import InputError, option
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.scoring import open_expert, score_video, steady_landmarker
from openmarlin.lipsync.settings import FixSettings
from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.lipsync.track_score import TrackScore
from openmarlin.lipsync.words import milliseconds, offset_words, verdict
from openmarlin.native import claim_process, one_opencv_thread
from openmarlin.settings import documented, read_settings
from openmarlin.video.remux import Copy, check_target, shift_sound

_SAME = 1  # ticks within which faces agree, and sound is in step


@dataclass(frozen=True)
class Fixed:
    """What was done.

    Attributes:
        offset_ms: by how much the sound led (below 0: lagged), as measured or given.
        is_measured: whether it was measured.
        delay_ms: by how much it comes later now (below 0: earlier).
        after_ms: the offset that the new video is measured to have; None where it cannot be told.
        copy: what came of the copying.
        out: the new video.
    """

    offset_ms: float
    is_measured: bool
    delay_ms: float
    after_ms: float | None
    copy: Copy
    out: Path


@documented(FixSettings)
def fix(
    video: str | Path,
    *,
    expert: str | Path | Expert = DEFAULT_EXPERT,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Fixed:
    """Bring the sound of a video in step with the lips.

    Pictures and sound are copied packet by packet, so neither loses anything. An offset of one
    frame (40 ms) is within what can be told, and less than people notice: then nothing is moved.

    Args:
        video: a file with a face that speaks.
        expert: name, folder or published file of the network that compares lips and sound, or an
            object that is one (`lipsync.expert.Expert`).
        config: a recipe, a YAML file of settings; arguments count more.
        progress: unused; every verb takes it.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or the offset cannot be told.
    """
    del progress
    is_named = isinstance(expert, str | Path)
    if not is_named or expert != DEFAULT_EXPERT:  # else a recipe may name one
        settings["expert"] = str(expert) if is_named else expert.name  # type: ignore[union-attr]
    s = read_settings(FixSettings, config, settings)
    source = existing(video)
    check_target(source, s.out)
    if s.out.exists() and not s.overwrite:
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )
    claim_process()
    if s.offset_ms is not None:
        copy = shift_sound(source, s.out, s.offset_ms / 1000)
        return Fixed(s.offset_ms, False, s.offset_ms, None, copy, s.out)
    network = open_expert(s.expert if is_named else expert)
    ticks = measured_ticks(source, _scores(source, network, s))
    moved = ticks if abs(ticks) > _SAME else 0
    copy = shift_sound(source, s.out, moved / TICK_RATE)
    after = [score for score in _scores(s.out, network, s) if score.speaks and score.is_sure]
    after_ms = milliseconds(_common_ticks(after)) if after else None
    return Fixed(milliseconds(ticks), True, milliseconds(moved), after_ms, copy, s.out)


def measured_ticks(source: Path, scores: list[TrackScore]) -> int:
    """The offset of a video, from the faces that speak in it.

    Raises:
        InputError: it cannot be told, or faces disagree.
    """
    remedy = f"give the offset with {option('offset_ms')}"
    if not scores:
        raise InputError(f"{source}: no face is seen in it; {remedy}")
    sure = [score for score in scores if score.speaks and score.is_sure]
    if not sure:
        longest = max(scores, key=lambda score: (score.speaks, score.n_frames))
        raise InputError(
            f"{source}: the offset cannot be told: {verdict(longest)} ({_facts(longest)}); {remedy}"
        )
    ticks = _common_ticks(sure)
    other = [s for s in sure if abs(s.scores["valid"].ticks - ticks) > _SAME]
    if other:
        said = "; ".join(
            f"{s.start_s:.1f} to {s.end_s:.1f} s: "
            f"{offset_words(milliseconds(s.scores['valid'].ticks))}"
            for s in sure[:4]
        )
        raise InputError(f"{source}: its parts have different offsets ({said}); {remedy}")
    return ticks


def _common_ticks(scores: list[TrackScore]) -> int:
    """The median of the faces' offsets, each counted as long as it is seen."""
    ticks = np.repeat(
        [score.scores["valid"].ticks for score in scores], [score.n_frames for score in scores]
    )
    return int(np.percentile(ticks, 50, method="nearest"))


def _facts(score: TrackScore) -> str:
    facts = [f"{score.n_frames / TICK_RATE:.1f} s of a face"]
    if "valid" in score.scores:
        facts += [f"LSE-C {score.scores['valid'].lse_c:.2f}", f"certainty {score.certainty:.2f}"]
    return ", ".join(facts)


def _scores(path: Path, expert: Expert, s: FixSettings) -> list[TrackScore]:
    with one_opencv_thread():
        return score_video(path, expert, steady_landmarker(), limit_s=s.limit_seconds)


def announce(result: Fixed) -> None:
    """Say in a few lines what was done."""
    for note in result.copy.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    before = f"before: {offset_words(result.offset_ms)}" if result.is_measured else "not measured"
    said = f"{before}; "
    if not result.delay_ms:
        said += "nothing was moved"
    else:
        way = "delayed" if result.delay_ms > 0 else "brought forward"
        said += f"the sound was {way} by {abs(result.delay_ms):g} ms"
        if result.copy.dropped_s:
            said += f", and {result.copy.dropped_s:.2f} s of it before the start left out"
    if result.after_ms is not None:
        said += f"; measured again: {offset_words(result.after_ms)}"
    console.print(escape(f"{said} -> {result.out}"), soft_wrap=True)
