"""Speech2Vid (Chung et al., "You said that?", 2017): one code of the sound, one of the face.

The layers are those of its released model at 112 pixels. Its input here is one still and the frame
to draw, masked, and its picture of 109 pixels is stretched to the size of the input.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.blocks import ConvBlock, scaled
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import FrameGenerator


class Speech2Vid(FrameGenerator):
    """Speech2Vid at any width, and any size from 64 that is a multiple of 16."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        width = config.width
        c96, c128, c256, c512 = scaled((96, 128, 256, 512), width)
        self.sound = _sound_encoder(width)
        self.look = nn.ModuleList(
            [
                ConvBlock(6, c96, 7, 2),
                nn.Sequential(nn.MaxPool2d(3, 2)),
                ConvBlock(c96, c256, 5, 2, 1),
            ]
        )
        smallest = (_seen_sizes(config.size)[-1] - 2) // 2 + 1
        self.face_code = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(3, 2),
            ConvBlock(c256, c512, 3, 1, 1),
            ConvBlock(c512, c512, 3, 1, 1),
            ConvBlock(c512, c512, 3, 1, 1),
            ConvBlock(c512, c512, smallest),
            ConvBlock(c512, c256, 1),
        )
        self.grow = nn.Sequential(
            *_relu(nn.Conv2d(2 * c256, c128, 1)),
            *_up(c128),
            *_relu(nn.Conv2d(c128, c128, 3, padding=1)),
            *_up(c128),
            *_relu(nn.Conv2d(c128, c256, 3, padding=1)),
            *_up(c256),
            *_relu(nn.Conv2d(c256, c512, 3)),
            *_up(c512),
            *_relu(nn.Conv2d(c512, c256, 3, padding=1)),
        )
        self.refine = _refining_blocks(width)

    def frame_logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        seen, x = [], faces
        for layer in self.look:
            x = layer(x)
            seen.append(x)
        x = self.grow(torch.cat([self.sound(sound), self.face_code(x)], dim=1))
        for block in self.refine:
            skip = seen.pop()
            x = block(torch.cat([_fitted(x, skip.shape[-1]), skip], dim=1))
        return _fitted(x, self.config.size)


def _sound_encoder(width: float) -> nn.Sequential:
    """MFCC (N, 1, 12, 35) -> (N, 256, 1, 1) at width 1."""
    c64, c128, c256, c512 = scaled((64, 128, 256, 512), width)
    return nn.Sequential(
        ConvBlock(1, c64, 3, 1, 1),
        ConvBlock(c64, c128, 3, 1, 1),
        nn.ZeroPad2d((0, 0, 1, 0)),  # 12 rows become 13
        nn.MaxPool2d(3, (1, 2)),
        ConvBlock(c128, c256, 3, 1, 1),
        ConvBlock(c256, c256, 3, 1, 1),
        ConvBlock(c256, c256, 3, 1, 1),
        nn.MaxPool2d(3, 2),
        ConvBlock(c256, c512, (5, 8)),
        ConvBlock(c512, c256, 1),
    )


def _refining_blocks(width: float) -> nn.ModuleList:
    """What follows each joining of what was seen, from the smallest picture to the largest."""
    c32, c64, c96, c256 = scaled((32, 64, 96, 256), width)
    return nn.ModuleList(
        [
            nn.Sequential(
                *_up(2 * c256),
                *_relu(nn.Conv2d(2 * c256, c256, 3, padding=1)),
                *_relu(nn.Conv2d(c256, c96, 5, padding=3)),
            ),
            nn.Sequential(*_up(2 * c96), *_grown(2 * c96, c96)),
            nn.Sequential(*_up(2 * c96), *_grown(2 * c96, c64), *_grown(c64, c32), *_grown(c32, 3))[
                :-1
            ],
        ]
    )


def _seen_sizes(size: int) -> tuple[int, int, int]:
    """Sides of the pictures that join the decoder: 53, 26 and 12 at 112 pixels."""
    first = (size - 7) // 2 + 1
    second = (first - 3) // 2 + 1
    return first, second, (second + 2 - 5) // 2 + 1


def _fitted(x: Tensor, size: int) -> Tensor:
    """Pictures of that side; at 112 pixels only the last picture is stretched, from 109."""
    if x.shape[-1] == size:
        return x
    return functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def _relu(layer: nn.Module) -> Iterator[nn.Module]:
    yield from (layer, nn.ReLU())


def _up(channels: int) -> Iterator[nn.Module]:
    return _relu(nn.ConvTranspose2d(channels, channels, 4, 2, 1))


def _grown(n_in: int, n_out: int) -> Iterator[nn.Module]:
    """A convolution whose picture is one pixel larger on each side: three rows of padding."""
    yield nn.ZeroPad2d((1, 2, 1, 2))
    yield from _relu(nn.Conv2d(n_in, n_out, 3))
