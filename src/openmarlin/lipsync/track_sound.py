"""The sound of a store's track, on the clock of its frames."""

from __future__ import annotations

import numpy as np

from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.video.audio import Sound

EARLY_COLUMN = "sound_early_s"
"""Column of a manifest: the sound of the video is early by so many seconds, and is moved back."""


def track_sound(store: Store, number: int) -> Sound:
    """The sound of a track; time 0 is its first frame.

    Args:
        store: made with `sound`; its column `sound_early_s` counts where it has one.
        number: position in `store.tracks`.

    Raises:
        InputError: the column holds something that is no number.
    """
    samples = store.sound(number)
    if samples is None:
        return Sound(np.zeros(0, np.int16), 0.0)
    return Sound(samples, early_s(store, number))


def early_s(store: Store, number: int) -> float:
    """By how much the sound of a track is early, s."""
    values = store.columns.get(EARLY_COLUMN)
    value = None if values is None else values[number]
    if value is None or value == "" or value != value:  # NaN where a table of numbers has a gap
        return 0.0
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"{store.path}: {EARLY_COLUMN} of {store.tracks[number].video} is '{value}', no number "
            "of seconds"
        ) from None
