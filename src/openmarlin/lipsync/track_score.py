"""One face of a video: distances of its lips to the sound, and the score that they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.offsets import (
    MAX_SHIFT,
    TICK_RATE,
    Offset,
    Variant,
    best_offset,
    distances_around,
    distances_to_silence,
)
from openmarlin.lipsync.speech import speech_at
from openmarlin.lipsync.talkers import Stretch
from openmarlin.video.audio import RATE, Sound

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

Flag = Literal["no sound", "no speech", "short"]
VARIANTS: tuple[Variant, ...] = ("valid", "compat")

LEAST_WINDOWS = 2 * MAX_SHIFT + 15
"""With fewer, shifts at the ends compare hardly anything: not scored in `valid`."""

SHORT_S = 3.0
"""Shorter tracks are scored, where there are windows enough, and flagged."""

SURE = 0.95
"""Certainty from which an offset is believed (docs/lipsync.md says how often that is wrong)."""

_LEAST_SPEECH_S = 1.0
_SMOOTHED = 9  # ticks of the confidence curve
_ROUNDING = 0.5  # ticks by which sound may end before the picture and yet be heard to the end
_RESAMPLES, _NEAR = 500, 1  # of seconds, for the certainty; ticks that count as the same offset


@dataclass(frozen=True)
class TrackScore:
    """How lips and sound of one face go together.

    Attributes:
        track: 0, 1, 2... in the order of first appearance.
        start_s: presentation time of its first tick.
        end_s: of the end of its last one.
        n_frames: ticks of 1/25 s in which it is followed.
        face_px: median side of MARLIN's square around it, source pixels.
        seen: share of the ticks in which the face was seen, not interpolated.
        speech: share of the ticks with sound that may be speech.
        scores: by variant, see `offsets.Variant`; what cannot be measured is not there.
        certainty: share of resamples of its seconds (bootstrap) that find the offset of `valid`
            within a frame; NaN where that is not measured.
        speaks: there is speech, and of the faces seen at the same time its lips fit best.
        flags: what is wrong with it.
        times_s: (n,) presentation times of the middles of windows.
        confidence: (n,) of each window: how far its distance at the offset lies below the median
            mean distance, smoothed by a median over 9; NaN where there is no sound to compare.
    """

    track: int
    start_s: float
    end_s: float
    n_frames: int
    face_px: float
    seen: float
    speech: float
    scores: dict[Variant, Offset]
    certainty: float
    speaks: bool
    flags: tuple[Flag, ...]
    times_s: NDArray[np.float64]
    confidence: Floats

    @property
    def is_sure(self) -> bool:
        """Whether its offset can be relied on; one at the end of the range is no minimum."""
        if "valid" not in self.scores or {"no speech", "no sound"} & set(self.flags):
            return False
        return self.certainty >= SURE and abs(self.scores["valid"].ticks) < MAX_SHIFT


@dataclass
class TrackDistances:
    """What is known of a track so far: distances of its windows to the sound around them."""

    expert: Expert
    sound: Sound
    spoken: Mask  # of the sound's ticks
    start_s: float = 0.0  # of the first tick
    first: int = 0
    end: int = 0  # the tick after the last one
    n_frames: int = 0
    sides: list[Floats] = field(default_factory=list)
    seen: list[Mask] = field(default_factory=list)
    ticks: list[NDArray[np.int64]] = field(default_factory=list)  # at which windows begin
    distances: list[Floats] = field(default_factory=list)
    to_silence: list[Floats] = field(default_factory=list)

    def add(self, stretch: Stretch) -> None:
        if not self.n_frames:
            self.start_s, self.first = stretch.start_s, stretch.tick
        new = slice(stretch.overlap, None)
        boxes = stretch.boxes[new]
        self.n_frames += len(boxes)
        self.end = stretch.tick + len(stretch.views)
        self.sides.append((boxes[:, 2] - boxes[:, 0]).astype(np.float32))
        self.seen.append(stretch.seen[new])
        count = len(stretch.views) - self.expert.window + 1
        if count < 1:
            return
        faces = self.expert.embed_faces(stretch.views)
        begin_s = stretch.start_s - MAX_SHIFT / TICK_RATE
        sounds = self.expert.embed_sound(self.sound, begin_s, count + 2 * MAX_SHIFT)
        self.ticks.append(stretch.tick + np.arange(count))
        self.distances.append(distances_around(faces, sounds))
        self.to_silence.append(distances_to_silence(faces))

    @property
    def places(self) -> NDArray[np.int64]:
        """Ticks of windows, counted from the track's first one."""
        return np.concatenate([np.zeros(0, np.int64), *self.ticks]) - self.first

    def table(self, variant: Variant) -> Floats:
        """Distances (N, 2 S + 1) of the variant; no row where there is nothing to score."""
        if not self.distances:
            return np.zeros((0, 2 * MAX_SHIFT + 1), np.float32)
        places = self.places
        compared = places[:, None] + np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
        first, end = self._bounds(variant)
        silence = np.concatenate(self.to_silence)[:, None] if variant == "compat" else np.nan
        outside = (compared < first) | (compared >= end)
        table = np.where(outside, silence, np.concatenate(self.distances))
        return table[(places >= first) & (places < end)].astype(np.float32)

    def _bounds(self, variant: Variant) -> tuple[int, int]:
        """The first window that counts, and the one after the last."""
        count, window = self.end - self.first - self.expert.window + 1, self.expert.window
        heard = (self._sound_end_s - self.start_s) * TICK_RATE + _ROUNDING
        if variant == "compat":  # the reference leaves the last window out
            return 0, min(count - 1, int(heard) - window)
        late = (self.sound.start_s - self.start_s) * TICK_RATE - _ROUNDING
        return max(0, int(np.ceil(late))), min(count, int(heard) - window + 1)

    def score(self, number: int) -> TrackScore:
        tables = {variant: self.table(variant) for variant in VARIANTS}
        end_s = self.start_s + (self.end - self.first) / TICK_RATE
        flags = self._flags(end_s)
        scores: dict[Variant, Offset] = {}
        if "no sound" not in flags:
            if len(tables["compat"]):
                scores["compat"] = best_offset(tables["compat"])
            if _is_long_enough(tables["valid"]):
                scores["valid"] = best_offset(tables["valid"])
        certainty = np.nan
        if "valid" in scores:
            certainty = certainty_of(tables["valid"], scores["valid"].ticks)
        best = scores.get("valid") or scores.get("compat")
        return TrackScore(
            number,
            self.start_s,
            end_s,
            self.n_frames,
            float(np.median(np.concatenate(self.sides))),
            float(np.concatenate(self.seen).mean()),
            float(self._speech().mean()),
            scores,
            certainty,
            False,
            flags,
            self.start_s + self._middles() / TICK_RATE,
            _confidence(tables["valid"], best),
        )

    def speech_confidence(self) -> float:
        """LSE-C of the windows with speech in their middles; -inf where there are too few."""
        table = self.table("valid")
        spoken = self._spoken_at(self._middles())
        if spoken.sum() < _LEAST_SPEECH_S * TICK_RATE or not _is_long_enough(table):
            return -np.inf
        rows = table[spoken]
        usable = np.isfinite(rows).any(axis=0)
        curve = np.nanmean(rows[:, usable], axis=0)
        return float(np.median(curve) - curve.min())

    def _middles(self) -> NDArray[np.float64]:
        """Of the windows of the valid variant, ticks from the track's first one."""
        places, (first, end) = self.places, self._bounds("valid")
        inside = places[(places >= first) & (places < end)]
        return np.asarray(inside + self.expert.window / 2, np.float64)

    @property
    def _sound_end_s(self) -> float:
        return self.sound.start_s + len(self.sound.samples) / RATE

    def _speech(self) -> Mask:
        """Of each tick of the track: whether there is speech."""
        return self._spoken_at(np.arange(self.end - self.first, dtype=np.float64) + 0.5)

    def _spoken_at(self, places: NDArray[np.float64]) -> Mask:
        times_s = self.start_s + places / TICK_RATE
        return speech_at(self.spoken, self.sound.start_s, times_s)

    def _flags(self, end_s: float) -> tuple[Flag, ...]:
        flags: list[Flag] = []
        if min(end_s, self._sound_end_s) - max(self.start_s, self.sound.start_s) <= 0:
            flags.append("no sound")
        elif self._speech().sum() / TICK_RATE < min(_LEAST_SPEECH_S, (end_s - self.start_s) / 2):
            flags.append("no speech")
        if end_s - self.start_s < SHORT_S - 1e-6:
            flags.append("short")
        return tuple(flags)


def certainty_of(distances: Floats, ticks: int, *, seed: int = 0) -> float:
    """Share of resamples of a track's seconds that find the same offset within a frame.

    Args:
        distances: (N, 2 S + 1), NaN where nothing is compared.
        ticks: the offset that all of it gives.
        seed: of the resamples; equal seeds draw equally.
    """
    starts = np.arange(0, len(distances), TICK_RATE)
    sums = np.add.reduceat(np.nan_to_num(distances.astype(np.float64)), starts)
    counts = np.add.reduceat(np.isfinite(distances), starts).astype(np.float64)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(starts), np.full(len(starts), 1 / len(starts)), _RESAMPLES)
    drawn = draws @ counts
    means = np.divide(draws @ sums, drawn, out=np.full(drawn.shape, np.inf), where=drawn > 0)
    found = distances.shape[1] // 2 - means.argmin(axis=1)
    return float(np.mean(np.abs(found - ticks) <= _NEAR))


def _is_long_enough(table: Floats) -> bool:
    """Whether every shift compares windows enough."""
    return len(table) >= LEAST_WINDOWS and bool(np.isfinite(table).any(axis=0).all())


def _confidence(table: Floats, best: Offset | None) -> Floats:
    """Of each window; smoothed where there are neighbours."""
    result = np.full(len(table), np.nan, np.float32)
    if best is not None:
        result[:] = np.median(best.curve) - table[:, MAX_SHIFT - best.ticks]
        finite = np.isfinite(result)
        result[finite] = median_filter(result[finite], _SMOOTHED, mode="nearest")
    return result
