"""Tracks of a store as lip sync takes them: their sound on the clock of the frames, splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmarlin.data.dataset import split_tracks
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


def split_store_tracks(
    store: Store, usable: Sequence[int], share: float
) -> tuple[list[int], list[int]]:
    """Tracks to learn from and tracks held out, both positions in `store.tracks`.

    Where the store has a column `split`, its rows `train` and `val` are these, and others are left
    out; otherwise groups are held out, see `split_tracks`.

    Args:
        store: to divide.
        usable: the tracks that count.
        share: of the groups to hold out.
    """
    splits = store.columns.get("split")
    if splits is None:
        train, held_out = split_tracks([store.tracks[i] for i in usable], share)
        return [usable[i] for i in train], [usable[i] for i in held_out]
    train, held_out = ([i for i in usable if splits[i] == name] for name in ("train", "val"))
    return train, held_out
