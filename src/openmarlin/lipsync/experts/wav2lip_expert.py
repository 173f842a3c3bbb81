"""Wav2Lip's expert (Prajwal et al., 2020, section 3.1) for 5 frames, and for 16 as MARLIN has it.

Legend: B windows, T ticks of 1/25 s, F frames of a window.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.errors import ModelError
from openmarlin.lipsync.blocks import ConvBlock, mel_encoder, residual
from openmarlin.lipsync.checkpoints import load_strictly
from openmarlin.lipsync.experts.framing import mesh_box
from openmarlin.lipsync.experts.threads import torch_threads
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.sound_windows import mel_windows
from openmarlin.model.tensor_files import Tensors, tensors_sha256
from openmarlin.video.audio import Sound

Floats = NDArray[np.float32]

MEL_COLUMNS = {5: 16, 16: 52}
"""Columns of the mel spectrogram by frames of a window."""

_SIZE_PX = 96
_AT_ONCE = 32  # windows


class SyncNetColor(nn.Module):
    """Both towers; embeddings have length 1 and no negative values. Names are those of the file.

    Args:
        frames: F, 5 or 16. How the network of 16 looks is not published: here all is as for 5, but
            for 48 channels of input and 52 columns of sound.
    """

    def __init__(self, frames: int = 5) -> None:
        super().__init__()
        self.frames = frames
        self.face_encoder = nn.Sequential(
            ConvBlock(3 * frames, 32, 7, 1, 3),
            ConvBlock(32, 64, 5, (1, 2), 1),
            *(residual(64) for _ in range(2)),
            ConvBlock(64, 128, 3, 2, 1),
            *(residual(128) for _ in range(3)),
            ConvBlock(128, 256, 3, 2, 1),
            *(residual(256) for _ in range(2)),
            ConvBlock(256, 512, 3, 2, 1),
            *(residual(512) for _ in range(2)),
            ConvBlock(512, 512, 3, 2, 1),
            ConvBlock(512, 512, 3, 1, 0),
            ConvBlock(512, 512, 1, 1, 0),
        )
        self.audio_encoder = mel_encoder(MEL_COLUMNS[frames], width=1.0, out=512, deep=True)

    def embed_faces(self, mouths: Tensor) -> Tensor:
        """BGR in [0, 1] (B, 3 F, 48, 96), lower halves of faces, frame after frame -> (B, 512)."""
        return functional.normalize(self.face_encoder(mouths).flatten(1))

    def embed_sound(self, mel: Tensor) -> Tensor:
        """(B, 1, 80, 16 or 52) -> (B, 512)."""
        return functional.normalize(self.audio_encoder(mel).flatten(1))


class Wav2LipExpert:
    """Wav2Lip's expert as an `Expert`.

    It sees the lower half of the tight box of a face, as wide as high in its eyes. That box was
    S3FD's where it was trained; here it is the box of the mesh in each frame.

    Args:
        net: with its weights.
        digest: of the weights.
        threads: that it uses.
    """

    framing = f"lower half of the mesh's box, {_SIZE_PX} x {_SIZE_PX // 2} px"
    margin = 0.05

    def __init__(self, net: SyncNetColor, digest: str, threads: int = 1) -> None:
        self.net, self.digest, self._threads = net.eval(), digest, threads
        self.window = net.frames
        self.name = "wav2lip_expert" if net.frames == 5 else f"wav2lip_expert_{net.frames}"

    @classmethod
    def of(cls, state: Tensors, where: Path, threads: int) -> Self:
        """The expert of published weights, of 5 or 16 frames.

        Raises:
            ModelError: they do not fit.
        """
        first = state.get("face_encoder.0.conv_block.0.weight")
        frames = first.shape[1] // 3 if first is not None and first.ndim == 4 else 5
        if frames not in MEL_COLUMNS:
            raise ModelError(
                f"{where} looks like Wav2Lip's expert for {frames} frames: those for 5 and 16 are "
                "known here"
            )
        net = SyncNetColor(frames)
        load_strictly(net, state, where)
        return cls(net, tensors_sha256(state)[:12], threads)

    def view(self, image: NDArray[np.uint8], points: Floats) -> NDArray[np.generic]:
        """uint8 BGR (48, 96, 3), bilinear as published."""
        cx, cy, width, height = mesh_box(points)
        step = np.array([width / _SIZE_PX, height / _SIZE_PX])
        # Pixel centres lie at +0.5 on both sides of the map; rows start at the middle of the box.
        shift = (cx - width / 2, cy) + step / 2 - 0.5
        mouth = cv2.warpAffine(
            image,
            np.column_stack([np.diag(step), shift]),
            (_SIZE_PX, _SIZE_PX // 2),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(mouth[..., ::-1], np.uint8)

    def embed_faces(self, views: NDArray[np.generic]) -> Floats:
        """(T, 48, 96, 3) -> (T - F + 1, 512)."""
        count = len(views) - self.window + 1
        frames = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2)
        parts = []
        with torch.inference_mode(), torch_threads(self._threads):
            for first in range(0, count, _AT_ONCE):
                starts = range(first, min(first + _AT_ONCE, count))
                windows = [frames[i : i + self.window].flatten(0, 1) for i in starts]
                parts.append(self.net.embed_faces(torch.stack(windows).float() / 255).numpy())
        return np.concatenate(parts)

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> Floats:
        """(`count`, 512)."""
        columns = MEL_COLUMNS[self.window]
        parts = []
        with torch.inference_mode(), torch_threads(self._threads):
            for first in range(0, count, _AT_ONCE):
                ticks = np.arange(first, min(first + _AT_ONCE, count))
                windows = mel_windows(sound, start_s + ticks / TICK_RATE, columns)
                parts.append(self.net.embed_sound(torch.from_numpy(windows)[:, None]).numpy())
        return np.concatenate(parts)
