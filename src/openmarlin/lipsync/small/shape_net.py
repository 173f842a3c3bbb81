"""Sound -> the shape of a mouth at any time: convolutions over a mel spectrogram.

The network runs over a whole stretch of sound at once, 80 columns a second; the shape at a time is
read between the two columns around it. A column sees 0.3 s to each side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.mel import MEL_BANDS, MEL_RATE, mel_spectrogram
from openmarlin.video.audio import RATE, Sound

_DILATIONS = (1, 2, 4, 8, 8)
CONTEXT = 2 + sum(_DILATIONS)
"""Columns to each side on which the shape at a column depends."""


class ShapeNet(nn.Module):
    """Hears mouths.

    Args:
        components: K, numbers of a shape.
        width: channels.
        dropout: share of the channels that is left out in training.
    """

    def __init__(self, components: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv1d(MEL_BANDS, width, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation, dropout) for dilation in _DILATIONS)
        self.norm = _ChannelNorm(width)
        self.head = nn.Conv1d(width, components, 1)

    def forward(self, mel: Tensor, places: Tensor) -> Tensor:
        """Shapes at some places.

        Args:
            mel: (B, 80, T).
            places: (B, N) columns, which need not be whole.

        Returns:
            (B, N, K).
        """
        x = self.stem(mel / 4)
        for block in self.blocks:
            x = block(x)
        shapes = self.head(functional.silu(self.norm(x))).float()
        return _between(shapes.transpose(1, 2), places)


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = _ChannelNorm(width)
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.silu(self.wide(self.norm(x)))
        mixed: Tensor = x + self.dropout(self.mix(inner))
        return mixed


class _ChannelNorm(nn.LayerNorm):
    """Over the channels of each column alone: no column knows how long the sound is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def _between(columns: Tensor, places: Tensor) -> Tensor:
    """Values (B, T, K) at places (B, N), by straight lines -> (B, N, K)."""
    places = places.clamp(0, columns.shape[1] - 1)
    before = places.floor().long().clamp(max=max(0, columns.shape[1] - 2))
    after = (before + 1).clamp(max=columns.shape[1] - 1)
    part = (places - before)[..., None].to(columns.dtype)
    spread = (-1, -1, columns.shape[2])
    first = columns.gather(1, before[..., None].expand(spread))
    last = columns.gather(1, after[..., None].expand(spread))
    return first + part * (last - first)


def hear_mel(
    sound: Sound, times_s: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The spectrogram around some times, and the columns (N,) at which they stand in it.

    Columns stand at whole multiples of 1/80 s, whichever times are asked for: chunks of a video
    hear the same.
    """
    spare = CONTEXT + MEL_RATE // 10  # the ends of a spectrogram are reflected
    first = int(np.floor(times_s.min() * MEL_RATE)) - spare
    last = int(np.ceil(times_s.max() * MEL_RATE)) + spare
    start_s = first / MEL_RATE
    # The sound's own samples must stand on the same grid for every chunk.
    samples = sound.between(start_s, start_s + (last - first) / MEL_RATE)
    places = times_s * MEL_RATE - first
    assert len(samples) == (last - first) * RATE // MEL_RATE
    return mel_spectrogram(samples), places.astype(np.float32)
