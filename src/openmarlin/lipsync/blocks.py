"""What the networks of Wav2Lip and LipGAN are made of. Names of parameters are the published ones.

Convolutions have biases, as published, although batch normalisation follows them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

Size = int | tuple[int, int]


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, the input added where `residual`, ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: Size,
        stride: Size = 1,
        padding: Size = 0,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv_block = nn.Sequential(
            nn.Conv2d(n_in, n_out, kernel, stride, padding), nn.BatchNorm2d(n_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return functional.relu(y + x if self.residual else y)


class UpBlock(nn.Module):
    """Transposed convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ConvTranspose2d(n_in, n_out, kernel, stride, padding, output_padding),
            nn.BatchNorm2d(n_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv_block(x))


class PlainBlock(nn.Module):
    """Convolution and leaky ReLU: a layer of a critic."""

    def __init__(
        self, n_in: int, n_out: int, kernel: Size, stride: Size = 1, padding: Size = 0
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.conv_block(x), 0.01)


def residual(channels: int, kernel: int = 3) -> ConvBlock:
    """A convolution that keeps the size, and its input added."""
    return ConvBlock(channels, channels, kernel, 1, kernel // 2, residual=True)


def scaled(channels: Sequence[int], width: float) -> list[int]:
    """Numbers of channels times `width`, at least 2."""
    return [max(2, round(n * width)) for n in channels]


def mel_encoder(columns: int, *, width: float, out: int, deep: bool = False) -> nn.Sequential:
    """The encoder of sound of all Wav2Lip networks: mel (N, 1, 80, `columns`) -> (N, `out`, 1, 1).

    Args:
        columns: 16 (five frames at 25 a second) or 52 (sixteen).
        width: factor of the published numbers of channels.
        out: channels of the result.
        deep: one more layer at 256 channels, as the expert has it.
    """
    wide = columns > 16
    c32, c64, c128, c256, c512 = scaled((32, 64, 128, 256, 512), width)
    layers = [
        ConvBlock(1, c32, 3, 1, 1),
        *(residual(c32) for _ in range(2)),
        ConvBlock(c32, c64, 3, (3, 1), 1),
        *(residual(c64) for _ in range(2)),
        ConvBlock(c64, c128, 3, 3, 1),
        *(residual(c128) for _ in range(2)),
        ConvBlock(c128, c256, 3, 3 if wide else (3, 2), 1),
        *(residual(c256) for _ in range(2 if deep else 1)),
        ConvBlock(c256, c512, (3, 6) if wide else 3, 1, 0),
        ConvBlock(c512, out, 1, 1, 0),
    ]
    return nn.Sequential(*layers)


def swap_colours(pictures: Tensor) -> Tensor:
    """RGB to BGR or back, for any number of pictures stacked on dimension 1.

    Published weights of Wav2Lip and SyncNet see blue first.
    """
    by_picture = pictures.reshape(pictures.shape[0], -1, 3, *pictures.shape[2:])
    return by_picture.flip(2).reshape(pictures.shape)


def lower_half(pictures: Tensor) -> Tensor:
    """(..., S, S) -> (..., S / 2, S): where the mouth is."""
    return pictures[..., pictures.shape[-2] // 2 :, :]
