"""How good an expert is: does it find the sound of a clip in its place, and shifted sound out?

A clip is judged if it lasts 3 s, the face is seen in 95 % of its frames, there is sound in half of
them, and the mouth moves. The rule was written down before any expert was judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from openmarlin.face.mesh import LOWER_LIP, UPPER_LIP
from openmarlin.lipsync.experts.mouth_view import POINTS
from openmarlin.lipsync.offsets import MAX_SHIFT, TICK_RATE, measure_offset, shift_distances

Floats = NDArray[np.float32]

_MIN_TICKS = 3 * TICK_RATE
_MIN_SEEN, _MIN_SOUND, _MIN_MOVEMENT = 0.95, 0.5, 0.01
_SILENT = -3.0  # mean of a mel column, on its scale of -4 to 4
_INNER_LIPS = (POINTS.index(UPPER_LIP), POINTS.index(LOWER_LIP))

_NEAREST_SHIFT = 3
"""Ticks: sound that is shifted by less is neither in its place nor out of it."""


@dataclass(frozen=True)
class JudgedClip:
    """One clip.

    Attributes:
        ticks: offset that was found; the clip is taken to be in sync.
        confidence: LSE-C.
        in_place: (K,) mean distances of seconds of the clip to their own sound.
        shifted: (K, S) to the sound 3 to 15 ticks away, on both sides.
    """

    ticks: int
    confidence: float
    in_place: Floats
    shifted: Floats


def is_judged(points: Floats, mel: Floats, seen: float) -> bool:
    """Whether a clip is one to judge by, see the top of this module.

    Args:
        points: (T, 49, 2) of its lips.
        mel: (80, 4 T + 1) its sound.
        seen: share of the frames in which the face was seen.
    """
    if len(points) < _MIN_TICKS or seen < _MIN_SEEN:
        return False
    opening = points[:, _INNER_LIPS[1], 1] - points[:, _INNER_LIPS[0], 1]
    sounding = (mel.mean(axis=0) > _SILENT).mean()
    return bool(opening.std() >= _MIN_MOVEMENT and sounding >= _MIN_SOUND)


def judge(faces: Floats, sounds: Floats) -> JudgedClip:
    """Judge by the embeddings (N, D) of a clip that is in sync."""
    found = measure_offset(faces, sounds)
    distances = shift_distances(faces, sounds)
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    # The windows of a second, where all shifts are there.
    length = TICK_RATE // 2
    whole = distances[~np.isnan(distances).any(axis=1)]
    seconds = [whole[i : i + length] for i in range(0, len(whole) - length + 1, length)]
    means = np.stack([part.mean(axis=0) for part in seconds or [whole]])
    away = np.abs(shifts) >= _NEAREST_SHIFT
    return JudgedClip(found.ticks, found.lse_c, means[:, MAX_SHIFT], means[:, away])


def measures(clips: Sequence[JudgedClip]) -> dict[str, float]:
    """Shares of clips found exactly, within one tick and within two; AUC of seconds; confident."""
    ticks = np.array([abs(clip.ticks) for clip in clips])
    confidence = np.array([clip.confidence for clip in clips])
    surest = np.argsort(-confidence, kind="stable")[: max(1, len(clips) // 3)]
    shares = {f"within_{most}": float((ticks <= most).mean()) for most in (0, 1, 2)}
    return {
        **shares,
        "within_1_surest_third": float((ticks[surest] <= 1).mean()),
        "auc": window_auc(clips),
    }


def window_auc(clips: Sequence[JudgedClip]) -> float:
    """How well one threshold on the distance tells seconds in place from shifted ones."""
    here = np.concatenate([clip.in_place for clip in clips])
    away = np.concatenate([clip.shifted.ravel() for clip in clips])
    labels = np.repeat([1, 0], [len(here), len(away)])
    return float(roc_auc_score(labels, -np.concatenate([here, away])))
