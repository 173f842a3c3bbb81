"""Wav2Lip's generator (Prajwal et al., "A lip sync expert is all you need", 2020), and AttnWav2Lip.

A U-Net: sound is decoded into a picture, and what an encoder saw of the face joins at every size.
Names of parameters are those of the published file.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from openmarlin.lipsync.blocks import (
    ConvBlock,
    UpBlock,
    mel_encoder,
    residual,
    scaled,
    swap_colours,
)
from openmarlin.lipsync.generators.attention import FaceAttention
from openmarlin.lipsync.generators.config import MEL, GeneratorConfig
from openmarlin.lipsync.generators.generator import FrameGenerator

_ENCODER = (16, 32, 64, 128, 256, 512)
_ENCODER_RESIDUALS = (2, 3, 2, 2, 1)
_DECODER = (512, 512, 384, 256, 128, 64)
_DECODER_RESIDUALS = (1, 2, 2, 2, 2, 2)
_HALVINGS = 5


class Wav2Lip(FrameGenerator):
    """Wav2Lip at any width, and any size that is a multiple of 32.

    At width 1 and 96 pixels it is the published one. Elsewhere the smallest pictures have S / 32
    pixels, and the kernels that make one pixel of them and back are of that size.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        channels = scaled(_ENCODER, config.width)
        self.face_encoder_blocks = nn.ModuleList(_encoder(channels, config.size))
        self.audio_encoder = mel_encoder(MEL.columns, width=config.width, out=channels[-1])
        decoder = list(_decoder(channels, scaled(_DECODER, config.width), config.size))
        self.face_decoder_blocks = nn.ModuleList(decoder)
        # Of AttnWav2Lip: after a block of the encoder; of the decoder, before the encoder's joins.
        self.encoder_attention = nn.ModuleList(nn.Identity() for _ in self.face_encoder_blocks)
        self.decoder_attention = nn.ModuleList(nn.Identity() for _ in decoder)
        n_last = scaled(_DECODER, config.width)[-1] + channels[0]
        n_drawn = scaled((32,), config.width)[0]
        self.output_block = nn.Sequential(
            ConvBlock(n_last, n_drawn, 3, 1, 1), nn.Conv2d(n_drawn, 3, 1)
        )

    def frame_logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        return swap_colours(self.published_logits(sound, swap_colours(faces)))

    def published_logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        """As `frame_logits`, with blue first in `faces` and in the result."""
        seen, x = [], faces
        for i, block in enumerate(self.face_encoder_blocks):
            x = self.encoder_attention[i](block(x))
            seen.append(x)
        x = self.audio_encoder(sound)
        for i, block in enumerate(self.face_decoder_blocks):
            x = torch.cat([self.decoder_attention[i](block(x)), seen.pop()], dim=1)
        return self.output_block(x)  # type: ignore[no-any-return]


class AttnWav2Lip(Wav2Lip):
    """Wav2Lip with attention to channels and places (Wang et al., arXiv 2203.03984).

    Where attention sits is not published; here after blocks 1 to 5 of the encoder and after every
    block of the decoder.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        encoder, decoder = scaled(_ENCODER, config.width), scaled(_DECODER, config.width)
        for i in range(1, len(encoder)):
            self.encoder_attention[i] = FaceAttention(encoder[i])
        for i, n in enumerate((encoder[-1], *decoder)):
            self.decoder_attention[i] = FaceAttention(n)


def _encoder(channels: list[int], size: int) -> Iterator[nn.Sequential]:
    """Pictures of S, S/2, ... S/32 and 1 pixel."""
    yield nn.Sequential(ConvBlock(6, channels[0], 7, 1, 3))
    for n_in, n_out, count in zip(channels, channels[1:], _ENCODER_RESIDUALS, strict=False):
        yield nn.Sequential(
            ConvBlock(n_in, n_out, 3, 2, 1), *(residual(n_out) for _ in range(count))
        )
    n = channels[-1]
    yield nn.Sequential(ConvBlock(n, n, size // 2**_HALVINGS), ConvBlock(n, n, 1))


def _decoder(encoder: list[int], decoder: list[int], size: int) -> Iterator[nn.Sequential]:
    """Pictures of 1, S/32, ... S pixels; each block gets the one before and the encoder's."""
    joined = [encoder[-1], *reversed(encoder)]
    yield nn.Sequential(ConvBlock(encoder[-1], encoder[-1], 1))
    n_before = encoder[-1]
    for i, (n, count) in enumerate(zip(decoder, _DECODER_RESIDUALS, strict=True)):
        n_in = n_before + joined[i]
        up = UpBlock(n_in, n, 3, 2, 1, 1) if i else UpBlock(n_in, n, size // 2**_HALVINGS)
        yield nn.Sequential(up, *(residual(n) for _ in range(count)))
        n_before = n
