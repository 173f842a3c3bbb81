"""The network of own experts: a tower for mouths, a tower for sound, one space.

All convolutions over time are without padding: an embedding depends on its window alone, and no
border of a clip can be matched with a border of its sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from openmarlin.lipsync.experts.mouth_view import POINTS

WINDOW = 15
"""Ticks of a window: 0.6 s."""

SOUND_RATE = 100
"""Columns of sound a second: four a tick."""

_SOUND_COLUMNS = 57  # that the sound's tower sees for an embedding; the window has 60
SOUND_SKIP = 1
"""Columns of a window before the first that the tower sees."""

_BANDS = 80


@dataclass(frozen=True)
class ExpertConfig:
    """Size of an own expert.

    Attributes:
        kind: what it sees of a face: points of lips and jaw, the picture of the mouth, or both.
        width: channels of the layers over time.
        size: of the embeddings.
        dropout: between those layers, in training.
    """

    kind: Literal["points", "pixels", "mouth"] = "points"
    width: int = 96
    size: int = 128
    dropout: float = 0.1


class ExpertNet(nn.Module):
    """Both towers; embeddings have length 1."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        self.config = config
        n_inputs = 0
        if config.kind != "pixels":
            n_inputs += 4 * len(POINTS)
        if config.kind != "points":
            self.frames = _FrameNet(config.width)
            n_inputs += config.width
        width, drop = config.width, config.dropout
        self.face = nn.Sequential(
            _layer(n_inputs, width, 5, 1, drop),
            _layer(width, width, 5, 1, drop),
            _layer(width, width, 3, 1, drop),
            _layer(width, width, 3, 1, drop),
            nn.Conv1d(width, config.size, 2),
        )
        self.sound = nn.Sequential(
            _layer(_BANDS, width, 5, 1, drop),
            _layer(width, width, 5, 2, drop),
            _layer(width, width, 5, 2, drop),
            *(_layer(width, width, 3, 1, drop) for _ in range(4)),
            nn.Conv1d(width, config.size, 3),
        )
        self.scale = nn.Parameter(torch.tensor(2.7))  # logarithm of 1 / temperature

    def forward(
        self, points: Tensor | None, mouths: Tensor | None, mel: Tensor
    ) -> tuple[Tensor, ...]:
        """Embeddings of faces and of sound, and the scale of their cosines."""
        return self.embed_faces(points, mouths), self.embed_sound(mel), self.scale.exp()

    def embed_faces(self, points: Tensor | None, mouths: Tensor | None) -> Tensor:
        """Embed windows of faces.

        Args:
            points: (B, T, 49, 2), see `mouth_view`; None for the kind that does not look at them.
            mouths: (B, T, 48, 96), 0 to 255; None for the kind that does not look at them.

        Returns:
            (B, T - 14, D).
        """
        parts = []
        if self.config.kind != "pixels":
            assert points is not None
            where = points[:, 1:].flatten(2)
            speed = (points[:, 1:] - points[:, :-1]).flatten(2)
            parts += [where - _RESTING.to(where), 5 * speed]
        if self.config.kind != "points":
            assert mouths is not None
            parts.append(self.frames(mouths)[:, 1:])
        return normalize(self.face(torch.cat(parts, 2).mT).mT, dim=-1)

    def embed_sound(self, mel: Tensor) -> Tensor:
        """Embed windows of sound.

        Args:
            mel: (B, 80, 4 * (N - 1) + 57) columns from `SOUND_SKIP` after the first window's begin.

        Returns:
            (B, N, D).
        """
        return normalize(self.sound(mel / 4).mT, dim=-1)


_RESTING = torch.tensor([0.0, 1.05]).repeat(len(POINTS))  # about where a mouth is


def sound_columns(n_windows: int) -> int:
    """Columns of sound that so many windows in a row see."""
    return 4 * (n_windows - 1) + _SOUND_COLUMNS


class _FrameNet(nn.Module):
    """A picture of a mouth -> a vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (1, 16, 32, 64, 64)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(64 * 3 * 6, width)

    def forward(self, mouths: Tensor) -> Tensor:
        batch, ticks = mouths.shape[:2]
        pictures = mouths.flatten(0, 1)[:, None] / 255
        contrast = pictures.std(dim=(1, 2, 3), keepdim=True) + 0.05
        pictures = (pictures - pictures.mean(dim=(1, 2, 3), keepdim=True)) / contrast
        features: Tensor = self.head(self.layers(pictures).flatten(1))
        return features.view(batch, ticks, -1)


def _layer(before: int, after: int, kernel: int, stride: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(before, after, kernel, stride, bias=False),
        nn.BatchNorm1d(after),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )
