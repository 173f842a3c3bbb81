"""Test pairs of a table: the face of one clip, the sound of another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.lipsync.generation.data import count_ticks
from openmarlin.lipsync.store_tracks import split_store_tracks


class Pair(NamedTuple):
    """Positions in `Store.tracks`: whose face is drawn, and to whose sound."""

    face: int
    sound: int


def test_tracks(store: Store, ticks: int, val_share: float) -> list[int]:
    """Tracks to test with: those of the split `test`, or where there is none the held-out ones.

    Args:
        store: with sound and points.
        ticks: the least length of a track.
        val_share: of the groups that training holds out, where the store has no splits.
    """
    long = [
        i
        for i, track in enumerate(store.tracks)
        if track.sound_bytes and track.point_bytes and count_ticks(track) >= ticks
    ]
    splits = store.columns.get("split")
    if splits is None:
        return split_store_tracks(store, long, val_share)[1]
    return [i for i in long if splits[i] == "test"]


def make_pairs(store: Store, tracks: Sequence[int], most: int) -> list[Pair]:
    """Pairs of tracks of different groups, at most one of a face, the same on every call.

    Raises:
        InputError: there are not two groups.
    """
    order = sorted(tracks, key=lambda i: hashlib.sha256(store.tracks[i].name.encode()).digest())
    # One of each group after the other, so that few pairs show many people.
    turns: dict[str, int] = {}
    ranks = {}
    for number in order:
        group = store.tracks[number].group
        turns[group] = turns.get(group, -1) + 1
        ranks[number] = turns[group]
    faces = sorted(order, key=lambda i: ranks[i])[:most]
    if len({store.tracks[i].group for i in faces}) < 2:
        raise InputError(f"{store.path}: a table needs test clips of two groups of faces at least")
    pairs = []
    for place, face in enumerate(faces):
        others = [*faces[place + 1 :], *faces[:place]]
        sound = next(i for i in others if store.tracks[i].group != store.tracks[face].group)
        pairs.append(Pair(face, sound))
    return pairs


def read_pairs(path: Path, store: Store, tracks: Sequence[int]) -> tuple[list[Pair], int]:
    """Pairs of a published list, lines `SOUND FACE` with clips named PROGRAMME/NNNNN.

    Args:
        path: the list (Wav2Lip's evaluation/test_filelists/lrs2.txt).
        store: made of LRS2 by `openmarlin manifest lrs2` and `openmarlin prepare`.
        tracks: that may be used.

    Returns:
        The pairs whose clips are there, and how many are not.

    Raises:
        InputError: the list cannot be read, or names none of the tracks.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of pairs ({error})") from None
    clips: dict[str, int] = {}
    for number in tracks:
        clips.setdefault(_clip(store.tracks[number].video), number)
    named = [line.split()[:2] for line in lines if len(line.split()) >= 2]
    there = [(sound, face) for sound, face in named if sound in clips and face in clips]
    pairs = [Pair(clips[face], clips[sound]) for sound, face in there]
    if not pairs:
        raise InputError(
            f"{path}: none of its {len(named)} pairs is in {store.path}; lines are `SOUND FACE`, "
            "clips are named PROGRAMME/NNNNN"
        )
    return pairs, len(named) - len(pairs)


def _clip(video: str) -> str:
    """A video's folder and name, as lists of LRS2 name clips."""
    path = PurePath(video)
    return f"{path.parent.name}/{path.stem}"
