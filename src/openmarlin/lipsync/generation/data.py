"""Clips of talking faces as generators learn from them: frames to draw, others to draw from, sound.

Faces stand in MARLIN's square. A clip has frames in a row, 25 a second; the reference frames are as
many, in a row too, from another time of the track.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.dataset import Key, Sample, SampleStream, TrainingData
from openmarlin.data.store import Store, Track
from openmarlin.data.transforms import crop_images, face_view
from openmarlin.errors import InputError
from openmarlin.face.mesh import fill_gaps
from openmarlin.lipsync.experts.mouth_view import mouth_matrix
from openmarlin.lipsync.experts.network import (
    SOUND_RATE,
    SOUND_SKIP,
    WINDOW,
    sound_columns,
)
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.mel import mel_spectrogram
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.sound_windows import mel_windows, sound_windows
from openmarlin.lipsync.store_tracks import split_store_tracks, track_sound
from openmarlin.video.audio import Sound

Floats = NDArray[np.float32]

REFERENCE_AWAY = 6
"""Ticks between a clip and its reference at least, where the track is long enough (LipGAN's)."""

_PUBLISHED_COLUMNS = {5: 16, 16: 52}  # of mel that Wav2Lip's expert hears with so many frames


class FaceClips(Dataset[Sample]):
    """Clips of some tracks, by `Key`.

    A sample: `faces` and `reference` uint8 (F, S, S, 3); `sound` float32 (F, 1, R, C); `sync_mel`
    what an own expert hears of the clip, (80, columns), and `sync_window` what Wav2Lip's hears,
    (80, columns), where the clip has as many frames as they want; `mouths` float32 (F, 2, 3), see
    `mouth_matrix`; `id`.

    Args:
        store: to read from.
        tracks: positions in `store.tracks`.
        ticks: F.
        config: of the generator.
        seed: of all chance; None for held-out clips, the same in every epoch.
    """

    def __init__(
        self,
        store: Store,
        tracks: Sequence[int],
        ticks: int,
        config: GeneratorConfig,
        seed: int | None,
    ) -> None:
        self.store, self.tracks, self.ticks, self.config = store, list(tracks), ticks, config
        self.seed = seed
        self._margin = store.margin

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: Key) -> Sample:
        seed = [0, key[1]] if self.seed is None else [1 + self.seed, *key]
        rng = np.random.default_rng(seed)
        number = self.tracks[key[1] % len(self.tracks)]
        return self.clip(number, *self._draw(number, rng))

    def clip(self, number: int, first: int, reference: int, sound: Sound | None = None) -> Sample:
        """A clip of a track, from a tick on, its reference from another; perhaps other sound.

        Args:
            number: position in `store.tracks`.
            first, reference: ticks.
            sound: that counts from the track's first frame; without it the track's own.
        """
        track, size = self.store.tracks[number], self.config.size
        frames = [frame_of(track, first + i) for i in range(self.ticks)]
        others = [frame_of(track, reference + i) for i in range(self.ticks)]
        images, _ = self.store.read(number, frames + others)
        faces = crop_images(images, face_view(self.store.size, self._margin), size)
        if sound is None:
            sound = track_sound(self.store, number)
        times_s = (first + np.arange(self.ticks)) / TICK_RATE
        sample: dict[str, Any] = {
            "faces": torch.from_numpy(np.ascontiguousarray(faces[: self.ticks])),
            "reference": torch.from_numpy(np.ascontiguousarray(faces[self.ticks :])),
            "sound": torch.from_numpy(sound_windows(sound, times_s, self.config)),
            "mouths": torch.from_numpy(self._mouths(number, frames)),
            "id": f"{track.name}:{first}",
        }
        if self.ticks >= WINDOW:
            sample["sync_mel"] = torch.from_numpy(own_mel(sound, times_s[0], self.ticks))
        if self.ticks in _PUBLISHED_COLUMNS:
            columns = _PUBLISHED_COLUMNS[self.ticks]
            sample["sync_window"] = torch.from_numpy(mel_windows(sound, times_s[:1], columns)[0])
        return sample

    def _draw(self, number: int, rng: np.random.Generator) -> tuple[int, int]:
        """First ticks of a clip and of its reference."""
        last = count_ticks(self.store.tracks[number]) - self.ticks
        first = int(rng.integers(last + 1))
        away = [i for i in range(last + 1) if abs(i - first) >= REFERENCE_AWAY]
        return first, int(rng.choice(away or range(last + 1)))

    def _mouths(self, number: int, frames: list[int]) -> Floats:
        points = self.store.points(number, frames)
        assert points is not None
        meshes = fill_gaps([None if np.isnan(mesh).any() else mesh for mesh in points])
        if meshes is None:
            return np.zeros((len(frames), 2, 3), np.float32)
        scale = self.config.size / (self.store.size - 2 * self._margin)
        scaled = (meshes - self._margin) * scale
        return np.stack([mouth_matrix(mesh) for mesh in scaled]).astype(np.float32)


def own_mel(sound: Sound, start_s: float, ticks: int) -> Floats:
    """What an own expert hears of ticks in a row (80, columns)."""
    samples = sound.between(start_s, start_s + ticks / TICK_RATE)
    mel = mel_spectrogram(samples, SOUND_RATE)[:, SOUND_SKIP:]
    return np.ascontiguousarray(mel[:, : sound_columns(ticks - WINDOW + 1)])


def count_ticks(track: Track) -> int:
    """Ticks of 1/25 s."""
    return int(track.n_frames / track.fps * TICK_RATE + 1e-6)


def frame_of(track: Track, tick: int) -> int:
    """The frame that is shown at a tick."""
    return min(track.n_frames - 1, round(tick * track.fps / TICK_RATE))


def generator_data(store: Store, settings: GeneratorSettings) -> TrainingData:
    """Clips to learn from, and held-out ones of other groups of faces.

    Raises:
        InputError: the store has no sound or no mesh points, or no track is long enough.
    """
    usable = [i for i, track in enumerate(store.tracks) if _is_usable(track, settings.ticks)]
    train, held_out = split_store_tracks(store, usable, settings.val_share)
    if not train:
        raise InputError(
            f"{store.path}: no track of {settings.ticks} frames at 25 a second has sound and mesh "
            "points; make the store with `openmarlin prepare --sound --points`"
        )
    config = settings.generator()
    groups = [store.tracks[i].group for i in train]
    return TrainingData(
        train=FaceClips(store, train, settings.ticks, config, settings.seed),
        held_out=FaceClips(store, held_out or train, settings.ticks, config, None),
        stream=SampleStream(groups, settings.seed, settings.per_group),
        val_clips=settings.val_clips,
        notes=[
            f"{len(train)} tracks of {len(set(groups))} groups to learn from, "
            f"{len(held_out)} held out"
        ],
    )


def _is_usable(track: Track, ticks: int) -> bool:
    whole = track.sound_bytes > 0 and track.point_bytes > 0 and track.seen > 0
    return whole and count_ticks(track) >= ticks
