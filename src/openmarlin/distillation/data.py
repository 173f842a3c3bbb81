"""What a student sees: a clip and some single pictures, few of their tokens, and their targets.

A picture is one time step of a track, or of a photograph, at any place in time. It costs a small
part of a clip, so that a step of training shows many faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from openmarlin.data.dataset import Key, Sample, SampleStream, TrainingData, split_tracks
from openmarlin.data.store import Store
from openmarlin.data.transforms import colour_matrix, recolour
from openmarlin.distillation.measuring import EVERY, Measurements
from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.targets import Targets, frame_weights, make_targets
from openmarlin.errors import InputError
from openmarlin.model.config import ModelConfig

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]
Indices = NDArray[np.int64]

_GREY = 0.1  # share of the samples without colour
_SMALLEST = 0.3  # of its size, to which a sample is shrunk before it is enlarged again


@dataclass(frozen=True)
class View:
    """How a sample is changed: mirrored, turned, moved, coloured, blurred."""

    mirrored: bool = False
    turned: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    colours: tuple[float, float, float] | None = None
    shrunk: float = 1.0

    @classmethod
    def draw(cls, settings: DistilSettings, rng: np.random.Generator) -> View:
        """One at random."""
        turn, crop, colour = np.radians(settings.turn), settings.crop, settings.colour
        colours = rng.uniform(1 - colour, 1 + colour, 3)
        if rng.random() < _GREY:
            colours[2] = 0
        return cls(
            mirrored=settings.flip and rng.random() < 0.5,
            turned=float(rng.uniform(-turn, turn)),
            zoom=float(rng.uniform(1 - crop, 1 + crop)),
            shift=tuple(rng.uniform(-crop / 2, crop / 2, 2).tolist()),
            colours=tuple(colours.tolist()),
            shrunk=float(rng.uniform(_SMALLEST, 1)) if rng.random() < settings.blur else 1.0,
        )

    def show(self, images: Images, side: int, size: int) -> Images:
        """Stored crops (T, S, S, 3) as they are seen (T, size, size, 3).

        Args:
            images: from the store.
            side: of the face's square in them, about their middle.
            size: of what the model takes.
        """
        stored = images.shape[1]
        matrix = self._matrix(stored, side, size)
        out = np.empty((len(images), size, size, 3), np.uint8)
        for image, place in zip(images, out, strict=True):
            cv2.warpAffine(image, matrix, (size, size), dst=place, flags=cv2.INTER_LINEAR)
        if self.shrunk < 1:
            small = max(8, round(self.shrunk * size))
            for place in out:
                tiny = cv2.resize(place, (small, small), interpolation=cv2.INTER_AREA)
                cv2.resize(tiny, (size, size), dst=place, interpolation=cv2.INTER_LINEAR)
        return out if self.colours is None else recolour(out, colour_matrix(out, *self.colours))

    def _matrix(self, stored: int, side: int, size: int) -> NDArray[np.float64]:
        scale = size / side / self.zoom
        cos, sin = scale * np.cos(self.turned), scale * np.sin(self.turned)
        turn = np.array([[cos, -sin], [sin, cos]])
        if self.mirrored:
            turn = turn @ np.diag([-1.0, 1.0])
        middle = (stored - 1) / 2  # pixel centres are whole numbers in OpenCV
        move = (size - 1) / 2 + size * np.array(self.shift) - turn @ (middle, middle)
        return np.column_stack([turn, move])


class DistilDataset(Dataset[Sample]):
    """Samples of some tracks, by `Key`: a clip of track number `index`, and pictures of any.

    A sample has `clip` uint8 (V, P), `clip_mask` bool (N,), `clip_target` (F + S,), `step_target`
    (t, I), `pictures` uint8 (k, W, P), `picture_masks` bool (k, N), `picture_target` (k, F).

    Args:
        store: to read from.
        targets: of its frames.
        clips: numbers of the tracks to take clips from.
        frames: numbers of the frames, of all measured ones, to take pictures from.
        chances: of each of those.
        config: of the model.
        settings: of the run.
        augment: draw views and tokens anew in each epoch; otherwise show all as it is.
    """

    def __init__(
        self,
        store: Store,
        targets: Targets,
        clips: Indices,
        frames: Indices,
        chances: NDArray[np.float64],
        config: ModelConfig,
        settings: DistilSettings,
        *,
        augment: bool,
    ) -> None:
        self.store, self.targets, self.clips, self.frames = store, targets, clips, frames
        self.sums = np.cumsum(chances)
        self.config, self.settings, self.augment = config, settings, augment
        margin = store.margin
        self.side = store.size - 2 * margin

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        seed = [1 + self.settings.seed, epoch, index] if self.augment else [0, index]
        rng = np.random.default_rng(seed)
        number = int(self.clips[index % len(self.clips)])
        clip = self._clip(number, rng)
        pictures = [self._picture(rng) for _ in range(self.settings.pictures)]
        stacked = {name: np.stack([each[name] for each in pictures]) for name in pictures[0]}
        arrays = {name: torch.from_numpy(value) for name, value in (clip | stacked).items()}
        return {**arrays, "id": self.store.tracks[number].name}

    def _clip(self, number: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        steps, height, width = self.config.grid
        n_frames = self.store.tracks[number].n_frames
        last = (n_frames - 1) // EVERY
        start = int(rng.integers(max(1, last - steps + 2)))
        measured = np.minimum(start + np.arange(steps), last)
        frames = EVERY * start + EVERY // self.config.tubelet * np.arange(self.config.frames)
        view = self._view(rng)
        images = self._see(number, np.minimum(frames, n_frames - 1), view)
        visible = self.settings.visible if self.augment else 1.0
        places = np.stack([_some(height * width, visible, rng) for _ in range(steps)])
        shown = places + height * width * np.arange(steps)[:, None]
        values = self._targets(number, measured, view)
        spread = self.targets.spread_of(values)
        seen = np.isfinite(values).all(axis=1)
        means = values[seen].mean(axis=0) if seen.any() else values[0]
        return {
            "clip": self._tokens(images, places),
            "clip_mask": _mask(self.config.n_tokens, shown),
            "clip_target": np.concatenate([means, spread]),
            "step_target": values[:, self.targets.in_time],
        }

    def _picture(self, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        steps, height, width = self.config.grid
        frame = int(self.frames[np.searchsorted(self.sums, rng.random() * self.sums[-1])])
        number = int(np.searchsorted(self.targets.starts, frame, side="right")) - 1
        measured = frame - int(self.targets.starts[number])
        frames = EVERY * measured + EVERY // self.config.tubelet * np.arange(self.config.tubelet)
        view = self._view(rng)
        last = self.store.tracks[number].n_frames - 1
        images = self._see(number, np.minimum(frames, last), view)
        visible = self.settings.picture_visible if self.augment else 1.0
        places = _some(height * width, visible, rng)[None]
        when = int(rng.integers(steps))
        return {
            "pictures": self._tokens(images, places),
            "picture_masks": _mask(self.config.n_tokens, places + when * height * width),
            "picture_target": self._targets(number, np.array([measured]), view)[0],
        }

    def _view(self, rng: np.random.Generator) -> View:
        return View.draw(self.settings, rng) if self.augment else View()

    def _see(self, number: int, frames: Indices, view: View) -> Images:
        images = self.store.read(number, frames.tolist())[0]
        return view.show(images, self.side, self.config.image_size)

    def _targets(self, number: int, measured: Indices, view: View) -> Floats:
        return self.targets.of_frames(number, measured, mirrored=view.mirrored, turned=view.turned)

    def _tokens(self, images: Images, places: Indices) -> Images:
        """Values of the tokens at `places` (t, n) of each time step: uint8 (t * n, P)."""
        tubelet, patch = self.config.tubelet, self.config.patch
        steps, height, width = len(places), *self.config.grid[1:]
        tokens = images.reshape(steps, tubelet, height, patch, width, patch, 3)
        tokens = tokens.transpose(0, 2, 4, 6, 1, 3, 5)  # t, h, w; channel, frame, row, column
        rows, columns = np.divmod(places, width)
        picked = tokens[np.arange(steps)[:, None], rows, columns]
        return picked.reshape(places.size, self.config.token_values)


def distil_data(
    store: Store, measured: Measurements, config: ModelConfig, settings: DistilSettings
) -> tuple[TrainingData, Targets]:
    """Clips and pictures to learn from, held-out ones of other groups of faces, and all targets.

    Raises:
        InputError: the model takes clips that do not fit, or no track is long enough for one.
    """
    if EVERY % config.tubelet:
        raise InputError(f"tubelet {config.tubelet} does not divide {EVERY} frames")
    names = {name: i for i, name in enumerate(dict.fromkeys(t.group for t in store.tracks))}
    groups = np.array([names[track.group] for track in store.tracks])
    long_enough = np.array([track.n_frames >= config.frames for track in store.tracks])
    moving = np.isin(groups, groups[long_enough])
    train, held_out = _split(store, moving, settings.val_share)
    targets = make_targets(measured, train, groups)

    def dataset(tracks: Indices, *, augment: bool) -> DistilDataset:
        clips = tracks[long_enough[tracks]]
        if not len(clips):
            raise InputError(
                f"{store.path}: no track of {config.frames} frames to "
                f"{'learn from' if augment else 'validate with'}; prepare more videos"
            )
        frames, chances = _frames_of(tracks, targets, groups)
        return DistilDataset(
            store, targets, clips, frames, chances, config, settings, augment=augment
        )

    learnt = dataset(train, augment=True)
    known = [store.tracks[number].group for number in learnt.clips]
    stream = SampleStream(known, settings.seed, settings.per_group)
    notes = [
        f"{len(learnt.clips)} tracks and {len(learnt.frames)} pictures of "
        f"{len(set(groups[train]))} groups of faces to learn from ({len(stream)} clips an epoch), "
        f"{len(set(groups[held_out]))} groups held out",
        *(f"left out: {problem}" for problem in store.problems),
    ]
    data = TrainingData(learnt, dataset(held_out, augment=False), stream, settings.val_clips, notes)
    return data, targets


def _split(store: Store, moving: NDArray[np.bool_], share: float) -> tuple[Indices, Indices]:
    """Tracks to learn from and held-out ones: a share of the faces that move, and of the others."""
    train, held_out = [], []
    for some in (np.flatnonzero(moving), np.flatnonzero(~moving)):
        if len(some):
            parts = split_tracks([store.tracks[number] for number in some], share)
            train.append(some[parts[0]])
            held_out.append(some[parts[1]])
    return np.concatenate(train), np.concatenate(held_out)


def _frames_of(
    tracks: Indices, targets: Targets, groups: Indices
) -> tuple[Indices, NDArray[np.float64]]:
    """Measured frames of tracks in which a face was found, and their chances."""
    lengths = np.diff(targets.starts)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    seen = np.isin(owner, tracks) & np.isfinite(targets.plain).all(axis=1)
    frames = np.flatnonzero(seen)
    return frames, frame_weights(groups[owner], seen)[frames]


def _some(count: int, share: float, rng: np.random.Generator) -> Indices:
    """A share of the numbers below `count`, in order."""
    return np.sort(rng.choice(count, max(1, round(share * count)), replace=False))


def _mask(count: int, shown: Indices) -> NDArray[np.bool_]:
    mask = np.ones(count, bool)
    mask[shown] = False
    return mask
