"""Pictures of mouths with others of the same face, to learn to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.dataset import Key, Sample, SampleStream, TrainingData
from openmarlin.data.store import Store
from openmarlin.data.transforms import random_colours
from openmarlin.errors import InputError
from openmarlin.lipsync.small.mouth_shape import ShapeBasis
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.lipsync.small.tracks import read_mouths
from openmarlin.lipsync.small.window import REFERENCE, TARGET, Image, window_channels
from openmarlin.lipsync.small.window_cache import CACHE_FILE, WindowCache, WindowTrack
from openmarlin.lipsync.store_tracks import split_store_tracks

_FAR_S = 0.4  # from a picture to those it is drawn from, where the track is long enough
_CANDIDATES = 4
_LEAST = 4  # frames of a track
_TURN, _SCALE, _NOISE = np.radians(4), 0.05, 0.05


def open_cache(
    store: Store, folder: Path, settings: MouthSettings, basis: ShapeBasis
) -> WindowCache:
    """The windows of tracks to train on and held out; `WindowCache.make` writes them.

    Raises:
        InputError: the store has no points, or is damaged.
    """
    train, held_out = split_store_tracks(store, range(len(store)), settings.val_share)
    mouths = [m for m in read_mouths(store, [*train, *held_out]) if len(m) >= _LEAST]
    if not mouths:
        raise InputError(f"{store.path}: no face is seen for long enough to learn from")
    margin = store.margin
    path = folder / CACHE_FILE
    return WindowCache(
        path, settings.size, store.size, margin, mouths, settings.track_frames, basis
    )


def renderer_data(
    store: Store, cache: WindowCache, settings: MouthSettings, basis: ShapeBasis
) -> TrainingData:
    """What the renderer learns from."""
    train, held_out = (
        set(part) for part in split_store_tracks(store, range(len(store)), settings.val_share)
    )
    own = [track for track in cache.tracks if track.number in train]
    others = [track for track in cache.tracks if track.number in held_out] or own
    if not own:
        raise InputError(f"{store.path}: no face is seen for long enough to learn from")
    others = _in_turns(others)
    frames = sum(map(len, own))
    return TrainingData(
        train=PictureDataset(cache, own, basis, settings, augment=True),
        held_out=PictureDataset(cache, others, basis, settings, augment=False),
        stream=SampleStream([t.group for t in own], settings.seed, settings.per_group),
        val_clips=settings.val_clips,
        notes=[
            f"{frames:,} pictures of {len(own)} tracks to train on, {len(others)} tracks held out; "
            f"{cache.n_bytes / 1e6:,.0f} MB in {cache.path.name}"
        ],
    )


def _in_turns(tracks: list[WindowTrack]) -> list[WindowTrack]:
    """One of each group after the other: the first few are of many faces."""
    turns: dict[str, int] = {}
    order = []
    for i, track in enumerate(tracks):
        turns[track.group] = turns.get(track.group, -1) + 1
        order.append((turns[track.group], i))
    return [tracks[i] for _, i in sorted(order)]


class PictureDataset(Dataset[Sample]):
    """Pictures of a track: `channels` uint8 (F, S, S, channels), see `window_channels`.

    `epoch` is how often all tracks have been seen before.

    Args:
        cache: of windows.
        tracks: to take from.
        basis: of shapes.
        settings: of the run.
        augment: turn, shift, scale, mirror and colour them, and blur the shapes a little.
    """

    def __init__(
        self,
        cache: WindowCache,
        tracks: list[WindowTrack],
        basis: ShapeBasis,
        settings: MouthSettings,
        *,
        augment: bool,
    ) -> None:
        self.cache, self.tracks, self.basis = cache, tracks, basis
        self.settings, self.augment = settings, augment

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        seed = 1 + self.settings.seed if self.augment else 0
        rng = np.random.default_rng([seed, epoch, index])
        track = self.tracks[index % len(self.tracks)]
        count = self.settings.pictures_per_clip if self.augment else 1
        pictures = np.stack([self._picture(track, rng) for _ in range(count)])
        return {
            "channels": torch.from_numpy(pictures),
            "epoch": torch.tensor(float(epoch)),
            "id": track.name,
        }

    def _picture(self, track: WindowTrack, rng: np.random.Generator) -> Image:
        cache, size = self.cache, self.settings.size
        i = int(rng.integers(len(track)))
        target = cache.view(track, i).moved(self._placing(rng), size)
        references = [cache.view(track, j) for j in draw_references(track, i, rng)]
        noise = rng.normal(0, _NOISE, len(self.basis)) if self.augment else 0
        shape = track.shapes[i] + noise * self.basis.spread
        plane = track.neutral + self.basis.decode(shape[None])
        points = self.basis.picture(plane, target.camera[None])[0]
        channels = window_channels(target, points, references, track.neutral, self.basis)
        return self._coloured(channels, rng) if self.augment else channels

    def _placing(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """From pixels of the cached windows to those of the sample, (2, 3)."""
        room, middle = self.cache.room, self.settings.size / 2
        if not self.augment:
            return np.array([[1.0, 0, -room], [0, 1.0, -room]])
        angle, scale = rng.uniform(-_TURN, _TURN), rng.uniform(1 - _SCALE, 1 + _SCALE)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        shift = middle + rng.uniform(-room / 2, room / 2, 2) - turn @ np.full(2, room + middle)
        return np.column_stack([turn, shift])

    def _coloured(self, channels: Image, rng: np.random.Generator) -> Image:
        """The pictures of a sample in other colours, the same for all; half of them mirrored."""
        if self.settings.colour:
            stop = REFERENCE.stop
            images = np.split(channels[..., TARGET.start : stop], stop // 3, axis=-1)
            coloured = random_colours(np.stack(images), self.settings.colour, rng)
            channels[..., TARGET.start : stop] = np.concatenate(list(coloured), axis=-1)
        if rng.random() < 0.5:
            channels = channels[:, ::-1]
        return channels


def draw_references(track: WindowTrack, i: int, rng: np.random.Generator) -> tuple[int, int]:
    """The most closed and the most open of some frames far from the i-th."""
    away_s = np.abs(track.times_s - track.times_s[i])
    far = np.flatnonzero(away_s >= min(_FAR_S, away_s.max() / 2))
    some = rng.choice(far, min(_CANDIDATES, len(far)), replace=False)
    order = some[np.argsort(track.opening[some], kind="stable")]
    return int(order[0]), int(order[-1])
