"""Which frame of the source is shown when: arithmetic on times, no pixels.

With `length="video"` every frame of the source is shown once, when it was shown before. With
`length="audio"` frames are shown until the sound is over; a source that is too short is played back
and forth,

    0, 1, ..., N - 1, N - 2, ..., 1, 0, 1, ...

each frame for as long as it lasts in the source. At a constant rate that is ceil(seconds x rate)
frames. Times count from the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmarlin.lipsync.generate_settings import Length

_ROUNDING_S = 1e-4  # a frame that would be shown for less than this is none

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """The frames of a result.

    Attributes:
        frames: (M,) which frame of the source.
        times_s: (M,) when it is shown; the first at 0.
        end_s: when the last one has been shown.
    """

    frames: NDArray[np.int64]
    times_s: Times
    end_s: float

    def __len__(self) -> int:
        return len(self.frames)


def make_schedule(times_s: Times, fps: float, sound_end_s: float, length: Length) -> Schedule:
    """Plan a result.

    Args:
        times_s: (N,) presentation times of the source's frames, ascending.
        fps: nominal rate: the last frame lasts one over it.
        sound_end_s: when the sound is over, counted from the first frame.
        length: see the top of this module.
    """
    shown_s = np.append(np.diff(times_s), 1 / fps)
    n_frames = len(times_s)
    if length == "video":
        zero = times_s - times_s[0]
        return Schedule(np.arange(n_frames), zero, float(zero[-1] + shown_s[-1]))
    there_and_back = np.concatenate([np.arange(n_frames), np.arange(n_frames - 2, 0, -1)])
    period_s = float(shown_s[there_and_back].sum())
    rounds = max(1, int(np.ceil(sound_end_s / period_s)) + 1)
    frames = np.tile(there_and_back, rounds)
    starts_s = np.concatenate([[0.0], np.cumsum(shown_s[frames])])
    count = max(1, int(np.searchsorted(starts_s, sound_end_s - _ROUNDING_S)))
    end_s = sound_end_s if sound_end_s > starts_s[count - 1] else starts_s[count]
    return Schedule(frames[:count], starts_s[:count], float(end_s))
