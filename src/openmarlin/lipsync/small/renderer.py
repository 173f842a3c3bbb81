"""The shape of a mouth and pictures of a face -> the face with that mouth: a small U-Net.

The network moves pixels of two pictures of the same person (flow fields), draws pixels of its own,
and says at every place which of the three counts. Moved pixels keep the texture of the skin, which
so small a network cannot draw.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.small.window import DRAWING, HOLE, REFERENCE, REFERENCES, TARGET

DRAWN = 3
"""Channels of the drawing that show the new shape."""

_WIDTHS = (1, 2, 4, 6)  # of the levels at 1/2, 1/4, 1/8 and 1/16 of the size
_INPUT = 3 + 1 + 3 * REFERENCES + DRAWN + 2 * REFERENCES
_OUTPUT = 3 + 2 * REFERENCES + REFERENCES + 1  # colours, flows, what counts
_REACH = 0.25  # of the window: how far pixels are moved at most


class DrawnWindow(NamedTuple):
    """What the renderer makes of (B, S, S, channels).

    Attributes:
        image: (B, 3, S, S) in [0, 1], the window with the new mouth.
        target: (B, 3, S, S) as it was.
        hole: (B, 1, S, S) in [0, 1].
    """

    image: Tensor
    target: Tensor
    hole: Tensor


class Renderer(nn.Module):
    """Draws mouths.

    Args:
        width: channels at half the size.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * factor for factor in _WIDTHS]
        self.stem = nn.Conv2d(4 * _INPUT, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.encoder = nn.ModuleList(_Residual(w) for w in widths)
        self.middle = _Residual(widths[-1])
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(_Residual(w) for w in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * _OUTPUT, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, channels: Tensor) -> DrawnWindow:
        """Draw.

        Args:
            channels: uint8 (B, S, S, channels), see `window_channels`; S divisible by 16.
        """
        x = channels.permute(0, 3, 1, 2).float() / 255
        target, references, hole = x[:, TARGET], x[:, REFERENCE], x[:, HOLE : HOLE + 1]
        seen = target * (hole == 0)
        inputs = torch.cat([seen, hole, references, x[:, DRAWING]], dim=1)
        outputs = self._network(inputs).float()
        colours, rest = outputs[:, :3], outputs[:, 3:]
        flows, counts = rest[:, : 2 * REFERENCES], rest[:, 2 * REFERENCES :].softmax(dim=1)
        mixed = counts[:, -1:] * (0.5 + colours)
        for i in range(REFERENCES):
            reference = references[:, 3 * i : 3 * i + 3]
            moved = _move(reference, flows[:, 2 * i : 2 * i + 2])
            mixed = mixed + counts[:, i : i + 1] * moved
        image = target + hole * (mixed - target)
        if not self.training:
            image = image.clamp(0, 1)
        return DrawnWindow(image, target, hole)

    def _network(self, inputs: Tensor) -> Tensor:
        # With this layout bfloat16 is twice as fast as float32 on a CPU, without it slower.
        x = functional.pixel_unshuffle(inputs, 2).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        levels = []
        for i, block in enumerate(self.encoder):
            x = block(self.down[i - 1](x) if i else x)
            levels.append(x)
        x = self.middle(x)
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](functional.pixel_shuffle(self.up[i](x), 2) + levels[i])
        return functional.pixel_shuffle(self.head(functional.silu(x)), 2)


class _Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))): without norms, so that no pixel hears of the whole picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(functional.silu(x))
        out: Tensor = x + self.second(functional.silu(inner))
        return out


def _move(image: Tensor, flow: Tensor) -> Tensor:
    """Every pixel (B, 3, S, S) from another place, `flow` (B, 2, S, S) away."""
    size = image.shape[-1]
    centres = (torch.arange(size, device=image.device, dtype=image.dtype) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([x, y], dim=-1) + 2 * _REACH * flow.tanh().permute(0, 2, 3, 1)
    return functional.grid_sample(image, places, padding_mode="border", align_corners=False)


class PatchCritic(nn.Module):
    """Says of every patch of a window whether it was filmed; it knows which mouth was asked for.

    Args:
        width: channels of its first layer.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        widths = [3 + DRAWN, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, image: Tensor, drawing: Tensor) -> Tensor:
        """Scores (B, 1, S/8, S/8), high for what was filmed.

        Args:
            image: (B, 3, S, S) in [0, 1].
            drawing: (B, 3, S, S) of the shape.
        """
        x = torch.cat([image, drawing], dim=1).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
        scores: Tensor = self.head(x)
        return scores.float()
