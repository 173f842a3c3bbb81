"""What every generator is: sound and faces in, faces with other lips out.

Legend: B clips, F frames, S pixels, R rows and C columns of sound.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.lipsync.blocks import lower_half
from openmarlin.lipsync.generators.config import GeneratorConfig


class Generator(nn.Module):
    """A network that draws faces.

    Args:
        config: what it is.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, sound: Tensor, faces: Tensor) -> Tensor:
        """Draw faces.

        Args:
            sound: float32 (B, F, 1, R, C): `sound_windows` of the frames.
            faces: float32 (B, 6, F, S, S) in [0, 1]: red, green and blue of the frames to draw,
                their lower half zero, then of the reference frames.

        Returns:
            float32 (B, 3, F, S, S) in [0, 1], RGB.

        Raises:
            ModelError: the shapes are not these.
        """
        check_shapes(self.config, sound, faces)
        return self.logits(sound, faces).float().sigmoid()

    def logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        """As `forward`, before the sigmoid; shapes are not checked."""
        raise NotImplementedError


class FrameGenerator(Generator):
    """A generator that draws each frame by itself."""

    def logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        count, frames = sound.shape[:2]
        pictures = faces.transpose(1, 2).flatten(0, 1)
        drawn = self.frame_logits(sound.flatten(0, 1), pictures)
        return drawn.reshape(count, frames, *drawn.shape[1:]).transpose(1, 2)

    def frame_logits(self, sound: Tensor, faces: Tensor) -> Tensor:
        """(N, 1, R, C), (N, 6, S, S) -> (N, 3, S, S), before the sigmoid."""
        raise NotImplementedError


def check_shapes(config: GeneratorConfig, sound: Tensor, faces: Tensor) -> None:
    """Raise a ModelError unless sound and faces are what the generator takes."""
    shape = config.sound
    frames = faces.shape[2] if config.frames == 1 and faces.ndim == 5 else config.frames
    wanted = (frames, 1, shape.rows, shape.columns), (6, frames, config.size, config.size)
    given = tuple(sound.shape[1:]), tuple(faces.shape[1:])
    # Not len(): it would make the number of clips a constant where the network is traced.
    if given != wanted or sound.shape[0] != faces.shape[0]:
        raise ModelError(
            f"{config.system} takes sound (B, {', '.join(map(str, wanted[0]))}) and faces "
            f"(B, {', '.join(map(str, wanted[1]))}), not {tuple(sound.shape)} and "
            f"{tuple(faces.shape)}"
        )


def network_inputs(faces: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """What a generator is to draw, and what it sees.

    Args:
        faces, reference: uint8 (B, F, S, S, 3).

    Returns:
        Faces (B, 3, F, S, S) in [0, 1], and (B, 6, F, S, S): these with their lower half zero, and
        the reference.
    """
    target, other = (each.permute(0, 4, 1, 2, 3).float() / 255 for each in (faces, reference))
    masked = target.clone()
    lower_half(masked).zero_()
    return target, torch.cat([masked, other], dim=1)
