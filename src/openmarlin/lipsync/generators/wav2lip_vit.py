"""Wav2Lip with a video transformer for the face (Cai et al., "MARLIN", 2023, section 4.4).

The decoder after its first block, and what of the input the transformer sees, are not published:
docs/lab/lipsync-choices.md lists what stands here instead.

Legend: B clips, F frames, N tokens, D width of the transformer.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.errors import ModelError, option
from openmarlin.lipsync.blocks import ConvBlock, UpBlock, mel_encoder, residual, scaled
from openmarlin.lipsync.generators.config import MEL, GeneratorConfig
from openmarlin.lipsync.generators.generator import Generator
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load

_DECODER = (378, 186, 90, 42)  # channels after each doubling of the size, without the input's 6
_REFINED = 3  # blocks that have convolutions before they double the size
_INPUTS = 6


class Wav2LipViT(Generator):
    """The generator of the last three rows of the paper's table.

    The encoder sees the frames to draw, their lower half zero. Its tokens lie over the picture of
    each frame, the sound of the frame is added everywhere as further channels, and at each larger
    size the input joins, in that size.

    Args:
        config: what it is.
        encoder: of the faces.
    """

    def __init__(self, config: GeneratorConfig, encoder: Encoder) -> None:
        super().__init__(config)
        shape = encoder.config
        if (shape.frames, shape.image_size) != (config.frames, config.encoder_size):
            raise ModelError(
                f"the encoder takes {shape.frames} frames of {shape.image_size} px, the generator "
                f"has {config.frames} of {config.encoder_size}"
            )
        if shape.width % shape.tubelet or shape.patch != 16:
            raise ModelError(
                f"an encoder with patches of {shape.patch} px and width {shape.width} for "
                f"{shape.tubelet} frames does not fit: 16 px and a multiple do"
            )
        self.encoder = encoder.requires_grad_(not config.encoder_frozen)
        n_sound, n_drawn = scaled((384, 32), config.width)
        self.audio_encoder = mel_encoder(MEL.columns, width=config.width, out=n_sound)
        n_in, sizes = shape.width // shape.tubelet + n_sound, scaled(_DECODER, config.width)
        blocks = []
        for i, n_out in enumerate(sizes):
            n_in += _INPUTS
            same = (residual(n_in, 1), residual(n_in)) if i < _REFINED else ()
            blocks.append(nn.Sequential(*same, UpBlock(n_in, n_out, 4, 2, 1)))
            n_in = n_out
        self.decoder = nn.ModuleList(blocks)
        self.output_block = nn.Sequential(
            ConvBlock(n_in + _INPUTS, n_drawn, 3, 1, 1), nn.Conv2d(n_drawn, 3, 1)
        )

    def logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        return self.draw(self.look(faces), sound, faces)

    def look(self, faces: Tensor) -> Tensor:
        """What the encoder sees of `faces` (see `forward`): (B, F, D / tubelet, h, w).

        A frozen encoder needs to look at a clip once only: keep this, and go on with `draw`.
        """
        count = faces.shape[0]
        clips = _resized(faces[:, :3].transpose(1, 2).flatten(0, 1), self.config.encoder_size)
        clips = clips.reshape(count, -1, *clips.shape[1:]).transpose(1, 2)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.encoder_frozen):
            tokens: Tensor = self.encoder(clips)
        shape = self.encoder.config
        t, h, w = shape.grid
        # The channels of a token are divided among its frames, the first ones for the earliest.
        x = tokens.reshape(count, t, h, w, shape.tubelet, shape.width // shape.tubelet)
        return x.permute(0, 1, 4, 5, 2, 3).flatten(1, 2)

    def draw(self, seen: Tensor, sound: Tensor, faces: Tensor) -> Tensor:
        """As `logits`, with what `look` gave."""
        count, frames = sound.shape[:2]
        pictures = faces.transpose(1, 2).flatten(0, 1)
        pictures = _resized(pictures, self.config.encoder_size)
        heard = self.audio_encoder(sound.flatten(0, 1))
        x = seen.flatten(0, 1)
        x = torch.cat([x, heard.expand(-1, -1, *x.shape[2:])], dim=1)
        for block in self.decoder:
            x = block(torch.cat([x, _resized(pictures, x.shape[-1])], dim=1))
        x = self.output_block(torch.cat([x, pictures], dim=1))
        drawn = _resized(x, self.config.size)
        return drawn.reshape(count, frames, *drawn.shape[1:]).transpose(1, 2)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.encoder_frozen:
            self.encoder.eval()
        return self


def first_encoder(config: GeneratorConfig, seed: int) -> Encoder:
    """The encoder that a new generator starts with.

    Raises:
        ModelError: it cannot be loaded, or `init` and `encoder` contradict each other.
    """
    frames, size = config.frames, config.encoder_size
    if config.init != "none":
        if config.encoder in PRESETS:
            raise ModelError(
                f"init '{config.init}' needs trained weights, and '{config.encoder}' has none: set "
                f"{option('encoder')} to a model's name or path"
            )
        return load(config.encoder, frames=frames, image_size=size)
    if config.encoder not in PRESETS:
        raise ModelError(
            f"init 'none' takes an encoder with random weights ({', '.join(PRESETS)}), not "
            f"'{config.encoder}'"
        )
    shape = PRESETS[config.encoder].changed(frames=frames, image_size=size).encoder_alone()
    return Encoder(shape, torch.Generator().manual_seed(seed))


def _resized(pictures: Tensor, size: int) -> Tensor:
    """(N, C, h, w) -> (N, C, `size`, `size`): bilinear where they grow, means where they shrink."""
    side = pictures.shape[-1]
    if side == size:
        return pictures
    if side > size:
        return functional.interpolate(pictures, (size, size), mode="area")
    return functional.interpolate(pictures, (size, size), mode="bilinear", align_corners=False)
