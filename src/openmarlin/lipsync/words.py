"""What scores of lip synchronisation say, in words."""

from __future__ import annotations

from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.track_score import TrackScore

IN_SYNC = "in sync"
TOO_SHORT = "too short to say"


def milliseconds(ticks: int) -> int:
    """Ticks of 1/25 s as milliseconds."""
    return round(1000 * ticks / TICK_RATE)


def offset_words(ms: float) -> str:
    """An offset: `the sound leads by 120 ms`; a frame of 40 ms is within what can be told."""
    if not ms:
        return IN_SYNC
    apart = f"the sound {'leads' if ms > 0 else 'lags'} by {abs(ms):g} ms"
    return f"{IN_SYNC} to a frame, {apart}" if abs(ms) <= 1000 / TICK_RATE else apart


def verdict(score: TrackScore) -> str:
    """What a track's offset is, and whether that can be relied on."""
    if "no sound" in score.flags:
        return "no sound while it is seen"
    if "no speech" in score.flags:
        return "no speech to judge by"
    if "valid" not in score.scores:
        return TOO_SHORT
    words = offset_words(milliseconds(score.scores["valid"].ticks))
    return words if score.is_sure else f"not sure: perhaps {words}"
