"""Sound -> the shape of a mouth at any time: convolutions over a mel spectrogram.

The network runs over a whole stretch of sound at once, 80 columns a second; the shape at a time is
read between the two columns around it. A column sees 0.3 s to each side.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, uniform_filter1d
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.mel import MEL_BANDS, MEL_RATE, mel_spectrogram
from openmarlin.video.audio import RATE, Sound

Floats = NDArray[np.float32]

SILENCE = -4.0
"""Of a spectrogram without sound."""

_QUIET = -3.0  # columns in which no band is louder say nothing of a voice
_MOST = 4.0
_NEAR, _EASE = 8, 10  # columns

_DILATIONS = (1, 2, 4, 8, 8)
N_BLOCKS = len(_DILATIONS)

CONTEXT = 2 + sum(_DILATIONS)
"""Columns to each side on which the shape at a column depends."""


class ShapeNet(nn.Module):
    """Hears mouths.

    Args:
        components: K, numbers of a shape.
        width: channels.

    Attributes:
        usual: (80,) bands of most voices, see `voice_bands`.
    """

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.usual: Tensor
        self.register_buffer("usual", torch.full((MEL_BANDS,), -1.0))
        self.stem = nn.Conv1d(MEL_BANDS, width, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in _DILATIONS)
        self.norm = _ChannelNorm(width)
        self.head = nn.Conv1d(width, components, 1)

    def forward(self, mel: Tensor, places: Tensor, kept: Tensor | None = None) -> Tensor:
        """Shapes at some places.

        Args:
            mel: (B, 80, T), see `less_voice`.
            places: (B, N) columns, which need not be whole.
            kept: (B, `N_BLOCKS`, width) what each channel of each block adds counts, 0 for
                dropout; None counts all.

        Returns:
            (B, N, K).
        """
        x = self.stem(mel / 2)
        for i, block in enumerate(self.blocks):
            x = block(x, None if kept is None else kept[:, i])
        shapes = self.head(functional.silu(self.norm(x))).float()
        return _between(shapes.transpose(1, 2), places)


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = _ChannelNorm(width)
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, kept: Tensor | None) -> Tensor:
        change: Tensor = self.mix(functional.silu(self.wide(self.norm(x))))
        return x + (change if kept is None else change * kept[..., None])


class _ChannelNorm(nn.LayerNorm):
    """Over the channels of each column alone: no column knows how long the sound is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def _between(columns: Tensor, places: Tensor) -> Tensor:
    """Values (B, T, K) at places (B, N), by straight lines -> (B, N, K)."""
    places = places.clamp(0, columns.shape[1] - 1)
    before = places.floor().long()
    after = (before + 1).clamp(max=columns.shape[1] - 1)
    part = (places - before)[..., None].to(columns.dtype)
    spread = (-1, -1, columns.shape[2])
    first = columns.gather(1, before[..., None].expand(spread))
    last = columns.gather(1, after[..., None].expand(spread))
    return first + part * (last - first)


def voice_bands(mel: Floats, usual: Floats) -> Floats:
    """What a voice and its microphone are like: the mean (80,) of the loud columns of (80, T).

    Args:
        mel: of all that is heard.
        usual: (80,) of most voices; it counts like half a second of this one.
    """
    loudest = mel.max(axis=0, initial=SILENCE)
    loud = loudest > max(_QUIET, float(np.quantile(loudest, 0.3)) if len(loudest) else 0.0)
    prior = MEL_RATE // 2
    total = mel[:, loud].sum(axis=1) + prior * usual
    return np.asarray(total / (loud.sum() + prior), np.float32)


def less_voice(mel: Floats, bands: Floats) -> Floats:
    """A spectrogram (80, T) as `ShapeNet` takes it: how much louder each band is than usual."""
    return np.asarray(np.clip(mel - bands[:, None], -_MOST, _MOST), np.float32)


def mel_of_voice(sound: Sound) -> Floats:
    """The spectrogram (80, T) of a sound, of a long one of 40 pieces of a second."""
    n_pieces, n = 40, len(sound.samples)
    if n <= n_pieces * RATE:
        whole = sound.between(sound.start_s, sound.start_s + n / RATE)
        return mel_spectrogram(whole) if n else np.zeros((MEL_BANDS, 0), np.float32)
    starts_s = sound.start_s + np.linspace(0, n - RATE, n_pieces).astype(int) / RATE
    pieces = [mel_spectrogram(sound.between(start_s, start_s + 1)) for start_s in starts_s]
    return np.concatenate(pieces, axis=1)


def mel_around(sound: Sound, times_s: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """The spectrogram around some times (N,), and the columns (N,) at which they stand in it.

    Columns stand at whole multiples of 1/80 s, whichever times are asked for: chunks of a video
    hear the same.
    """
    spare = CONTEXT + MEL_RATE // 10  # the ends of a spectrogram are reflected
    first = int(np.floor(times_s.min() * MEL_RATE)) - spare
    last = int(np.ceil(times_s.max() * MEL_RATE)) + spare
    samples = sound.between(first / MEL_RATE, last / MEL_RATE)
    return mel_spectrogram(samples), (times_s * MEL_RATE - first).astype(np.float32)


def silent_columns(mel: Floats) -> Floats:
    """Where a spectrogram (80, T) has no sound at all, and has none nearby: (T,) in [0, 1]."""
    silent = mel.max(axis=0) <= SILENCE + 1e-3
    inside = binary_erosion(silent, np.ones(2 * _NEAR + 1), border_value=1)
    return np.asarray(uniform_filter1d(inside.astype(np.float32), _EASE, mode="nearest"))
