"""Stretches of sound with the shapes of the mouth that speaks, to learn to hear shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.dataset import Key, Sample, SampleStream, TrainingData
from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.lipsync.mel import MEL_BANDS, MEL_RATE, mel_spectrogram
from openmarlin.lipsync.small.mouth_shape import Floats, ShapeBasis, fit_basis
from openmarlin.lipsync.small.settings import SHAPE_WIDTH, MouthSettings
from openmarlin.lipsync.small.shape_net import CONTEXT, N_BLOCKS, SILENCE, less_voice, voice_bands
from openmarlin.lipsync.small.tracks import MouthTrack, needs, read_mouths
from openmarlin.lipsync.store_tracks import split_store_tracks, track_sound

FRAME_RATE = 25
"""Shapes a second of a sample, whatever the video has."""

VAL_SECONDS = 8.0
_QUIET = -3.0  # a track whose loudest columns are below has no sound to learn from
_STILL = 0.01  # deviation of the opening of a mouth that does not speak, in distances of the eyes
_EASE_S = 0.12
_HOLE = 8  # bands


@dataclass(frozen=True)
class SpokenTrack:
    """A track with sound.

    Attributes:
        name, group: of the track.
        seconds: length.
        mel: (80, T) from the first frame on.
        bands: (80,) of the voice, see `voice_bands`.
        shapes: (n, K) deviations from the neutral shape.
        times_s: (n,) of the frames, from the first on.
        closed: (K,) the shape with closed lips.
    """

    name: str
    group: str
    seconds: float
    mel: Floats
    bands: Floats
    shapes: Floats
    times_s: NDArray[np.float64]
    closed: Floats


def shape_data(
    store: Store, settings: MouthSettings, basis: ShapeBasis | None
) -> tuple[TrainingData, ShapeBasis, Floats]:
    """What the stage shape learns from, the basis of its shapes, and the usual bands (80,).

    Args:
        store: to read from.
        settings: of the run.
        basis: of a run that goes on; None fits one to the training tracks.

    Raises:
        InputError: the store has no sound or points, is damaged, or nobody in it speaks.
    """
    train, held_out = split_store_tracks(store, range(len(store)), settings.val_share)
    mouths = read_mouths(store, train)
    if not mouths:
        raise InputError(f"{store.path}: no face is seen for long enough to learn from")
    if basis is None:
        basis = fit_basis([(m.points, m.cameras) for m in mouths], settings.components)
    heard = _heard(store, mouths)
    if not heard:
        raise InputError(f"{store.path}: nobody is seen to speak, and heard, in it")
    nothing = np.zeros(MEL_BANDS, np.float32)
    usual = np.stack([voice_bands(mel, nothing) for _, mel in heard]).mean(axis=0)
    spoken = [_spoken(*pair, basis, usual) for pair in heard]
    judges = [_spoken(*pair, basis, usual) for pair in _heard(store, read_mouths(store, held_out))]
    stream = SampleStream([t.group for t in spoken], settings.seed, settings.per_group)
    minutes = sum(track.seconds for track in spoken) / 60
    notes = [
        f"{len(spoken)} tracks of {minutes:.1f} minutes to train on, {len(judges)} held out; left "
        f"out: {len(train) + len(held_out) - len(spoken) - len(judges)} that are silent or still",
    ]
    clips = TrainingData(
        train=SpokenDataset(spoken, settings.seconds, settings),
        held_out=SpokenDataset(judges or spoken, VAL_SECONDS, None),
        stream=stream,
        val_clips=min(settings.val_clips, len(judges or spoken)),
        notes=notes,
    )
    return clips, basis, usual


def _heard(store: Store, mouths: Sequence[MouthTrack]) -> list[tuple[MouthTrack, Floats]]:
    """Tracks in which a mouth moves and something is heard, and their spectrograms."""
    heard = []
    for mouth in mouths:
        if not store.tracks[mouth.number].sound_bytes:
            raise needs(store.path, "sound")
        sound = track_sound(store, mouth.number)
        mel = mel_spectrogram(sound.between(0, len(mouth) / mouth.fps))
        loud = np.quantile(mel.max(axis=0), 0.9) > _QUIET
        if loud and mouth.opening.std() >= _STILL:
            heard.append((mouth, mel))
    return heard


def _spoken(mouth: MouthTrack, mel: Floats, basis: ShapeBasis, usual: Floats) -> SpokenTrack:
    plane, neutral = mouth.plane(basis)
    return SpokenTrack(
        mouth.name,
        mouth.group,
        len(mouth) / mouth.fps,
        mel,
        voice_bands(mel, usual),
        basis.encode(plane - neutral),
        np.arange(len(mouth)) / mouth.fps,
        basis.closed(neutral),
    )


class SpokenDataset(Dataset[Sample]):
    """Stretches of tracks: `mel` (80, T), `places` (N,) and `shapes` (N, K) at 25 a second,
    `valid` (N,) where the track goes on; to learn from also `kept`, see `ShapeNet`.

    Args:
        tracks: to take from.
        seconds: of a stretch.
        settings: of the augmentation; None takes each track from its start, as it is.
    """

    def __init__(
        self, tracks: Sequence[SpokenTrack], seconds: float, settings: MouthSettings | None
    ) -> None:
        self.tracks, self.settings = list(tracks), settings
        self.count = round(seconds * FRAME_RATE)
        self.columns = round(seconds * MEL_RATE) + 2 * CONTEXT

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        track = self.tracks[index % len(self.tracks)]
        seed = 0 if self.settings is None else 1 + self.settings.seed
        rng = np.random.default_rng([seed, epoch, index])
        start_s = 0.0
        if self.settings is not None:
            spare = track.seconds - self.count / FRAME_RATE
            start_s = float(rng.uniform(0, max(1 / FRAME_RATE, spare)))
        times_s = start_s + np.arange(self.count) / FRAME_RATE
        first = int(np.floor(start_s * MEL_RATE)) - CONTEXT
        mel = _cut(track.mel, first, self.columns)
        shapes = np.stack([np.interp(times_s, track.times_s, row) for row in track.shapes.T], 1)
        places = times_s * MEL_RATE - first
        if self.settings is not None:
            mel = _vary(mel, self.settings, rng)
            mel, shapes = _hush(mel, shapes, places, track.closed, self.settings, rng)
        mel = less_voice(mel, track.bands)
        arrays: dict[str, NDArray[np.floating]]
        arrays = {"mel": mel, "places": places, "shapes": shapes}
        tensors = {n: torch.from_numpy(a.astype(np.float32)) for n, a in arrays.items()}
        if self.settings is not None:
            tensors["kept"] = _draw_kept(self.settings, rng)
        valid = torch.from_numpy(times_s <= track.times_s[-1])
        return {**tensors, "valid": valid, "id": track.name}


def _cut(mel: Floats, first: int, count: int) -> Floats:
    """Columns first .. first + count - 1, silent where there are none."""
    result = np.full((MEL_BANDS, count), SILENCE, np.float32)
    begin, end = max(0, first), min(mel.shape[1], first + count)
    if begin < end:
        result[:, begin - first : end - first] = mel[:, begin:end]
    return result


def _vary(mel: Floats, settings: MouthSettings, rng: np.random.Generator) -> Floats:
    """A little louder or quieter, through another microphone, some with noise or a missing band."""
    tilt = np.linspace(-1, 1, MEL_BANDS)[:, None] * rng.normal(0, 0.15)
    varied = mel + rng.normal(0, 0.2) + tilt
    if rng.random() < settings.noise:
        floor = rng.uniform(SILENCE, -2) + rng.normal(0, 0.3, mel.shape)
        varied = np.maximum(varied, floor)
    if rng.random() < settings.noise:
        band = int(rng.integers(0, MEL_BANDS - _HOLE))
        varied[band : band + int(rng.integers(1, _HOLE))] = SILENCE
    # What is silent stays so: a quiet room must not be taken for a quiet voice.
    return np.asarray(np.where(mel > SILENCE, np.clip(varied, SILENCE, 4), SILENCE), np.float32)


def _draw_kept(settings: MouthSettings, rng: np.random.Generator) -> torch.Tensor:
    """Which channels count, see `ShapeNet`: those that stay count for the others as well."""
    stays = rng.random((N_BLOCKS, settings.width or SHAPE_WIDTH)) >= settings.dropout
    return torch.from_numpy((stays / (1 - settings.dropout)).astype(np.float32))


def _hush(
    mel: Floats,
    shapes: NDArray[np.float64],
    places: NDArray[np.float64],
    closed: Floats,
    settings: MouthSettings,
    rng: np.random.Generator,
) -> tuple[Floats, NDArray[np.float64]]:
    """In some samples the sound ends, or never was, and the mouth closes."""
    if rng.random() >= settings.silent:
        return mel, shapes
    end = 0 if rng.random() < 0.5 else int(rng.uniform(CONTEXT, mel.shape[1] - CONTEXT))
    floor = SILENCE if rng.random() < 0.5 else rng.uniform(SILENCE, -2)
    quiet = np.clip(floor + rng.normal(0, 0.2, mel.shape), SILENCE, 4)
    mel = np.where(np.arange(mel.shape[1]) < end, mel, quiet).astype(np.float32)
    part = np.clip((places - end) / (_EASE_S * MEL_RATE), 0, 1)[:, None]
    return mel, shapes + part * (closed - shapes)
