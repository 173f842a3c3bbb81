"""Critics of generators: Wav2Lip's of quality, LipGAN's of lips and sound together.

Legend: B clips, F frames, S pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from openmarlin.lipsync.blocks import PlainBlock, Size, lower_half, scaled, swap_colours


class QualityCritic(nn.Module):
    """Wav2Lip's critic: is the lower half of a face real? (Prajwal et al., 2020, section 3.4)

    Names are those of the published file, at width 1 and 96 pixels.

    Args:
        width: factor of the published numbers of channels.
        size: S, a multiple of 32.
    """

    def __init__(self, width: float = 1.0, size: int = 96) -> None:
        super().__init__()
        c32, c64, c128, c256, c512 = scaled((32, 64, 128, 256, 512), width)
        self.face_encoder_blocks = nn.ModuleList(
            [
                nn.Sequential(PlainBlock(3, c32, 7, 1, 3)),
                _halved(c32, c64, 5, (1, 2)),
                _halved(c64, c128, 5, 2),
                _halved(c128, c256, 5, 2),
                _halved(c256, c512, 3, 2),
                _halved(c512, c512, 3, 2),
                nn.Sequential(PlainBlock(c512, c512, size // 32), PlainBlock(c512, c512, 1)),
            ]
        )
        self.binary_pred = nn.Sequential(nn.Conv2d(c512, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Logits (B, F) that faces, RGB in [0, 1], (B, 3, F, S, S), are real."""
        frames = swap_colours(lower_half(faces)).transpose(1, 2)
        x = frames.flatten(0, 1)
        for block in self.face_encoder_blocks:
            x = block(x)
        return self.binary_pred(x).reshape(frames.shape[:2])  # type: ignore[no-any-return]


class SyncCritic(nn.Module):
    """LipGAN's critic: how far are a face and a window of sound apart? (KR et al., 2019)

    Args:
        width: factor of the published numbers of channels.
        size: S, a multiple of 32.
    """

    def __init__(self, width: float = 1.0, size: int = 96) -> None:
        super().__init__()
        c64, c128, c256, c512 = scaled((64, 128, 256, 512), width)
        self.face = nn.Sequential(
            *_normed(3, c64, 7, 2),
            *_normed(c64, c128, 5, 2),
            *_normed(c128, c256, 3, 2),
            *_normed(c256, c512, 3, 2),
            *_normed(c512, c512, 3, 2),
            nn.Conv2d(c512, c512, size // 32),
        )
        self.sound = nn.Sequential(
            *_normed(1, c64, 3, 1),
            *_normed(c64, c128, 3, 1),
            nn.ZeroPad2d((0, 0, 1, 0)),  # 12 rows become 13
            *_normed(c128, c256, 3, (1, 2)),
            *_normed(c256, c256, 3, 1),
            *_normed(c256, c256, 3, 2),
            *_normed(c256, c512, 3, 2),
            nn.Conv2d(c512, c512, (4, 5)),
        )

    def forward(self, faces: Tensor, sound: Tensor) -> Tensor:
        """Distances (B, F), 0 to 2, of faces (B, 3, F, S, S) and sound (B, F, 1, 12, 35)."""
        pictures = self.face(faces.transpose(1, 2).flatten(0, 1)).flatten(1)
        heard = self.sound(sound.flatten(0, 1)).flatten(1)
        apart = functional.normalize(pictures) - functional.normalize(heard)
        # The square root of exactly 0 has no gradient.
        return apart.square().sum(1).clamp_min(_EPS).sqrt().reshape(sound.shape[:2])


_EPS = 1e-12


def _halved(n_in: int, n_out: int, kernel: int, stride: Size) -> nn.Sequential:
    return nn.Sequential(
        PlainBlock(n_in, n_out, kernel, stride, kernel // 2),
        PlainBlock(n_out, n_out, kernel, 1, kernel // 2),
    )


def _normed(n_in: int, n_out: int, kernel: int, stride: Size) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)
    return conv, nn.InstanceNorm2d(n_out, affine=True), nn.LeakyReLU(0.2)
