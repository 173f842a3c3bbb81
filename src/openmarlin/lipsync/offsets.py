"""By how much sound and lips are apart: distances of embeddings over shifts of the sound.

    m(j) = mean over i of |v(i) - a(i + j) + 1e-6|,  j = -S .. S ticks

(Chung & Zisserman, "Out of time", 2016, section 4.1; the scores LSE-D = min m and
LSE-C = median m - min m: Prajwal et al., "A lip sync expert is all you need", 2020, section 5.2).
v(i) is the embedding of the window of the face that starts at tick i, a(i) of the sound from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Variant = Literal["compat", "valid"]
"""What stands for sound beyond the ends: zero vectors, as published scores have it, or nothing."""

TICK_RATE = 25
"""Ticks a second: experts see 25 frames a second, whatever the video has."""

MAX_SHIFT = 15
"""Ticks to each side that are tried, as in published scores."""

_EPS = 1e-6  # torch.nn.functional.pairwise_distance


@dataclass(frozen=True)
class Offset:
    """What the distances say.

    Attributes:
        ticks: the sound is early by so many ticks of 1/25 s; negative: it is late.
        lse_d: the smallest mean distance.
        lse_c: how far the median of the mean distances lies above it.
        curve: (2 S + 1,) mean distances for shifts -S .. S of the sound.
    """

    ticks: int
    lse_d: float
    lse_c: float
    curve: Floats


def measure_offset(
    faces: Floats, sounds: Floats, *, max_shift: int = MAX_SHIFT, variant: Variant = "valid"
) -> Offset:
    """Find the shift at which lips and sound fit best.

    Args:
        faces, sounds: (N, D) embeddings of the windows of face and sound that start together.
        max_shift: ticks to each side.
        variant: see `Variant`.

    Raises:
        ValueError: N is so small that some shift leaves nothing to compare, in the valid variant.
    """
    return best_offset(shift_distances(faces, sounds, max_shift=max_shift, variant=variant))


def best_offset(distances: Floats) -> Offset:
    """The shift of the smallest mean distance.

    Args:
        distances: (N, 2 S + 1) of every face window to the sound around it; NaN where there is
            nothing to compare with.

    Raises:
        ValueError: some shift has nothing to compare.
    """
    n_windows, n_shifts = distances.shape
    if np.isnan(distances).all(axis=0).any():
        raise ValueError(f"{n_windows} windows are too few for shifts of {n_shifts // 2}")
    curve = np.asarray(np.nanmean(distances, axis=0, dtype=np.float64), np.float32)
    best = int(curve.argmin())
    lowest = float(curve[best])
    # Sound window i + j fits face window i: with j below 0 the sound comes before the lips.
    return Offset(n_shifts // 2 - best, lowest, float(np.median(curve)) - lowest, curve)


def shift_distances(
    faces: Floats, sounds: Floats, *, max_shift: int = MAX_SHIFT, variant: Variant = "valid"
) -> Floats:
    """Distances (N, 2 S + 1) of every face window to the sound around it.

    Column S + j compares face window i with sound window i + j. Where there is no such sound
    window: the distance to a zero vector (compat) or NaN (valid).
    """
    outside = 0.0 if variant == "compat" else np.nan
    padding = ((max_shift, max_shift), (0, 0))
    return distances_around(faces, np.pad(sounds, padding, constant_values=outside))


def distances_around(faces: Floats, sounds: Floats) -> Floats:
    """Distances of every face window to sound windows that begin before and after it.

    Args:
        faces: (N, D).
        sounds: (N + 2 S, D); window S + i starts with face window i.

    Returns:
        (N, 2 S + 1).
    """
    n_windows = len(faces)
    shifted = (sounds[first : first + n_windows] for first in range(len(sounds) - n_windows + 1))
    columns = [np.linalg.norm(faces - sound + _EPS, axis=1) for sound in shifted]
    return np.stack(columns, axis=1).astype(np.float32)


def distances_to_silence(faces: Floats) -> Floats:
    """Distances (N,) to the zero vector that stands for sound beyond the ends in `compat`."""
    return np.asarray(np.linalg.norm(faces + _EPS, axis=1), np.float32)
