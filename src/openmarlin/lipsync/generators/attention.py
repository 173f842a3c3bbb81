"""Attention to channels and to places of a picture (Woo et al., "CBAM", 2018, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_REDUCTION = 16


class FaceAttention(nn.Module):
    """x + x * channels * places: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.channels = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )
        self.places = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        chosen = x * (self.channels(mean) + self.channels(most)).sigmoid()
        both = torch.cat([chosen.mean(1, keepdim=True), chosen.amax(1, keepdim=True)], dim=1)
        added: Tensor = chosen * self.places(both).sigmoid()
        return x + added
