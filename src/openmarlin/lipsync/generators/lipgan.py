"""LipGAN's generator (KR et al., "Towards automatic face-to-face translation", 2019).

As its residual variant, with cepstral coefficients as sound. No weights of it exist for torch, so
convolutions are padded alike on both sides, and colours come as RGB.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.blocks import ConvBlock, Size, UpBlock, scaled
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import FrameGenerator

_MOMENTUM = 0.2  # of batch normalisation: Keras's 0.8


class PairBlock(nn.Module):
    """Two convolutions with batch normalisation, and the input added: r(n) of the paper's code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, 3, 1, 1)
        self.second = ConvBlock(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class LipGAN(FrameGenerator):
    """LipGAN at any width, and any size that is a multiple of 32."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        c16, c32, c64, c128, c256, c512 = scaled((16, 32, 64, 128, 256, 512), config.width)
        bottom = config.size // 32
        self.face = nn.ModuleList(
            [
                ConvBlock(6, c32, 7, 1, 3),
                _down(c32, c64, 5, 2, 2),
                _down(c64, c128, 3, 2, 3),
                _down(c128, c256, 3, 2, 2),
                _down(c256, c512, 3, 2, 2),
                _down(c512, c512, 3, 2, 0),
            ]
        )
        self.face_code = nn.Sequential(ConvBlock(c512, c512, bottom), ConvBlock(c512, c512, 1))
        self.sound = nn.Sequential(
            _down(1, c128, 3, 1, 3),
            nn.ZeroPad2d((0, 0, 1, 0)),  # 12 rows become 13
            _down(c128, c256, 3, (1, 2), 2),
            _down(c256, c512, 3, 2, 2),
            _down(c512, c512, 3, 2, 1),
            ConvBlock(c512, c512, (4, 5)),
            ConvBlock(c512, c512, 1),
        )
        self.up = nn.ModuleList(
            [
                UpBlock(2 * c512, c512, bottom, bottom),
                _up(2 * c512, c512, 2),
                _up(2 * c512, c256, 2),
                _up(2 * c256, c128, 2),
                _up(2 * c128, c64, 2),
                _up(2 * c64, c32, 0),
            ]
        )
        self.draw = nn.Sequential(
            ConvBlock(2 * c32, c16, 3, 1, 1), ConvBlock(c16, c16, 3, 1, 1), nn.Conv2d(c16, 3, 1)
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM

    def frame_logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        x = faces.roll(3, dims=1)  # the reference first, as published
        seen = []
        for block in self.face:
            x = block(x)
            seen.append(x)
        x = torch.cat([self.face_code(x), self.sound(sound)], dim=1)
        for block in self.up:
            x = torch.cat([block(x), seen.pop()], dim=1)
        return self.draw(x)  # type: ignore[no-any-return]


def _down(n_in: int, n_out: int, kernel: int, stride: Size, pairs: int) -> nn.Sequential:
    first = ConvBlock(n_in, n_out, kernel, stride, kernel // 2)
    return nn.Sequential(first, *(PairBlock(n_out) for _ in range(pairs)))


def _up(n_in: int, n_out: int, pairs: int) -> nn.Sequential:
    return nn.Sequential(
        UpBlock(n_in, n_out, 3, 2, 1, 1), *(PairBlock(n_out) for _ in range(pairs))
    )
