"""What the probes are given: windows, and features of encoders, of raw pixels and of the mesh."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from openmarlin.files import atomic
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import weights_sha256
from openmarlin.model.runner import EncoderRunner

Array = NDArray[Any]
SOUND_FILE = "sound.npy"
N_COMPONENTS = PRESETS["tiny"].width  # as many numbers as an embedding has
N_STEPS = PRESETS["tiny"].grid[0]  # of time, in a window
CELLS = (2, 3, 3)  # of time, rows and columns
SIDE = 28  # of raw pixels
BATCH = 8


@dataclass(frozen=True)
class Windows:
    """What `benchmarks.probe_windows` wrote, and `benchmarks.probe_sound` where it ran.

    Attributes:
        folder: of the files.
        pixels: uint8 (W, 16, 224, 224, 3), on disk.
        mesh: (W, 16, 478, 2).
        movement: (W, 16, 52 + 3).
        table: a row a window.
        sound: (W, 8) loudness in dB, or None.
    """

    folder: Path
    pixels: Array
    mesh: Array
    movement: Array
    table: pd.DataFrame
    sound: Array | None

    @classmethod
    def read(cls, folder: Path) -> Windows:
        table = pd.read_parquet(folder / "table.parquet")
        sound = folder / SOUND_FILE
        return cls(
            folder,
            np.load(folder / "windows.npy", mmap_mode="r")[: len(table)],
            np.load(folder / "mesh.npy"),
            np.load(folder / "movement.npy"),
            table,
            np.load(sound) if sound.is_file() else None,
        )

    @property
    def groups(self) -> Array:
        return self.table.group.to_numpy()

    @property
    def real(self) -> Array:
        return (self.table.kind == "real").to_numpy()

    @property
    def training(self) -> Array:
        """Real windows of groups that pre-training saw as well: probes are fitted to them."""
        return self.real & ~self.table.held_out.to_numpy()

    @property
    def testing(self) -> Array:
        """Real windows of held-out groups."""
        return self.real & self.table.held_out.to_numpy()

    @property
    def labelled(self) -> Array:
        """Real windows with an emotion."""
        return self.real & (self.table.emotion != "").to_numpy()


def features(encoder: Encoder, windows: Windows) -> Array:
    """(W, D) float32; kept in WINDOWS/features, so that a model is run once."""

    def make() -> Array:
        runner, size = EncoderRunner(encoder), encoder.config.image_size
        return np.concatenate([runner(clips) for clips in clips_of(windows.pixels, size)])

    return keep(_place(encoder, windows, ""), make)


def keep(path: Path, make: Callable[[], Array]) -> Array:
    """What is in a file; made where it is not there."""
    if not path.is_file():
        made = make()
        with atomic(path) as part, part.open("wb") as file:
            np.save(file, made)
    return np.asarray(np.load(path))


def tokens(encoder: Encoder, windows: Windows) -> Array:
    """(R, N, D) float16, on disk, of the real windows alone; kept as features are."""
    kept, config = _place(encoder, windows, "-tokens"), encoder.config
    if not kept.is_file():
        runner, chosen = EncoderRunner(encoder), np.flatnonzero(windows.real)
        with atomic(kept) as part:
            shape = (len(chosen), config.n_tokens, config.width)
            made = np.lib.format.open_memmap(part, "w+", np.float16, shape)
            first = 0
            for clips in clips_of(windows.pixels, config.image_size, chosen):
                made[first : first + len(clips)] = runner(clips, tokens=True)[1]
                first += len(clips)
            made.flush()
    return np.asarray(np.load(kept, mmap_mode="r"))


def _place(encoder: Encoder, windows: Windows, what: str) -> Path:
    name = f"{weights_sha256(encoder)[:16]}-{encoder.config.image_size}{what}.npy"
    return windows.folder / "features" / name


def clips_of(pixels: Array, size: int, chosen: Array | None = None) -> Iterator[Array]:
    """Batches (B, 16, S, S, 3) of windows, of all or of some, as large as an encoder takes."""
    chosen = np.arange(len(pixels)) if chosen is None else chosen
    for start in range(0, len(chosen), BATCH):
        clips = np.asarray(pixels[chosen[start : start + BATCH]])
        if size != clips.shape[2]:
            frames = clips.reshape(-1, *clips.shape[2:])
            small = [cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames]
            clips = np.stack(small).reshape(*clips.shape[:2], size, size, 3)
        yield clips


def in_cells(all_tokens: Array, encoder: Encoder, windows: Windows) -> Array:
    """(W, D') principal components of mean and deviation of the tokens in every cell; real windows.

    Rows of windows that are not real are 0, and nobody reads them.
    """
    grid = encoder.config.grid
    values = []
    for clip in all_tokens:
        parts = [clip.reshape(*grid, -1).astype(np.float32)]
        for axis, count in enumerate(CELLS):
            parts = [cell for part in parts for cell in np.array_split(part, count, axis=axis)]
        flat = [cell.reshape(-1, cell.shape[-1]) for cell in parts]
        values.append(np.concatenate([c for f in flat for c in (f.mean(axis=0), f.std(axis=0))]))
    out = np.zeros((len(windows.table), len(values[0])), np.float32)
    out[windows.real] = values
    return principal(out, windows.training)


def in_time(all_tokens: Array, encoder: Encoder, windows: Windows) -> Array:
    """(W, 8, D) means of the tokens of every time step; 0 where a window is not real."""
    grid = encoder.config.grid
    out = np.zeros((len(windows.table), grid[0], encoder.config.width), np.float32)
    means = [c.reshape(grid[0], -1, c.shape[-1]).mean(axis=1, dtype=np.float32) for c in all_tokens]
    out[windows.real] = means
    return out


def pixels(windows: Windows) -> Array:
    """(W, D) principal components of every second frame, small and grey."""
    grey = np.stack([[small(f) for f in clip[::2]] for clip in windows.pixels])
    return principal(grey.reshape(len(grey), -1), windows.training)


def pixels_in_time(windows: Windows) -> Array:
    """(W, 8, D) principal components of the mean of the frames of a time step, small and grey."""
    clips = np.zeros((len(windows.table), N_STEPS, SIDE * SIDE), np.float32)
    for i in np.flatnonzero(windows.real):
        grey = np.stack([small(frame) for frame in windows.pixels[i]])
        clips[i] = grey.reshape(N_STEPS, -1, SIDE * SIDE).mean(axis=1)
    steps = np.repeat(windows.training, N_STEPS)
    return principal(clips.reshape(-1, SIDE * SIDE), steps).reshape(*clips.shape[:2], -1)


def small(image: Array) -> Array:
    """float32 (28, 28), grey."""
    tiny = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(tiny, cv2.COLOR_RGB2GRAY).astype(np.float32)


def landmarks(windows: Windows) -> Array:
    """Mean and deviation over time of mesh points and blendshapes: what a geometric method sees."""
    values = np.concatenate(
        [windows.mesh.reshape(*windows.mesh.shape[:2], -1) / 224, windows.movement], axis=2
    )
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        both = [np.nanmean(values, axis=1), np.nanstd(values, axis=1)]
    return principal(np.nan_to_num(np.concatenate(both, axis=1)), windows.training)


def principal(values: Array, training: Array) -> Array:
    """Principal components of the training rows."""
    count = min(N_COMPONENTS, int(training.sum()) - 1)
    pca = PCA(count, random_state=0).fit(values[training])
    return np.asarray(pca.transform(values))


def untrained(image_size: int) -> list[Encoder]:
    """From two seeds."""
    config = PRESETS["tiny"].changed(image_size=image_size, positions="axes")
    return [Encoder(config, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
