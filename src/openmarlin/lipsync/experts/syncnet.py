"""SyncNet v2 (Chung & Zisserman, "Out of time", 2016): the network of published sync scores.

Legend: B windows, T ticks of 1/25 s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openmarlin.face.crop import crop
from openmarlin.lipsync.checkpoints import load_strictly
from openmarlin.lipsync.experts.framing import mesh_box
from openmarlin.lipsync.experts.threads import torch_threads
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.sound_windows import mfcc_windows
from openmarlin.model.tensor_files import Tensors, tensors_sha256
from openmarlin.video.audio import Sound

Floats = NDArray[np.float32]

_SIDE, _DROP = 1.4, 0.2  # of the crop, and how far down it lies, in longer sides of the face's box
_SIZE_PX, _STEPS = 224, 20
_WINDOW = 5
_AT_ONCE = 20  # windows


class SyncNet(nn.Module):
    """Both towers; embeddings have 1024 values of any length. Names are those of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_layer2(1, 64, 3, padding=1),
            nn.MaxPool2d(1),
            *_layer2(64, 192, 3, padding=1),
            nn.MaxPool2d(3, (1, 2)),
            *_layer2(192, 384, 3, padding=1),
            *_layer2(384, 256, 3, padding=1),
            *_layer2(256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),
            *_layer2(256, 512, (5, 4)),
        )
        self.netfcaud = _head()
        self.netcnnlip = nn.Sequential(
            *_layer3(3, 96, (5, 7, 7), stride=2, padding=0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_layer3(256, 256, (1, 3, 3), stride=1, padding=1),
            *_layer3(256, 256, (1, 3, 3), stride=1, padding=1),
            *_layer3(256, 256, (1, 3, 3), stride=1, padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3(256, 512, (1, 6, 6), stride=1, padding=0),
        )
        self.netfclip = _head()

    def embed_sound(self, windows: Tensor) -> Tensor:
        """MFCC (B, 1, 13, 20) -> (B, 1024)."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))  # type: ignore[no-any-return]

    def embed_faces(self, frames: Tensor) -> Tensor:
        """BGR in 0..255 (B, 3, T, 224, 224) -> (B, T - 4, 1024), each of five ticks."""
        features = self.netcnnlip(frames)[..., 0, 0].transpose(1, 2)
        return self.netfclip(features.flatten(0, 1)).reshape(*features.shape[:2], -1)  # type: ignore[no-any-return]


class SyncNetExpert:
    """SyncNet as an `Expert`.

    Its crop is the published one, laid around the box of the mesh in each frame: the published
    pipeline has the box of a face detector (S3FD) there, smoothed over 13 frames. Places beyond
    the picture are black, not grey.

    Args:
        net: with its weights.
        digest: of the weights.
        threads: that it uses.
    """

    name = "syncnet_v2"
    framing = (
        f"{_SIZE_PX} px, {_SIDE} times the longer side of the mesh's box, {_DROP} of it lower down"
    )
    window = _WINDOW
    # Below the face a crop reaches 0.9 longer sides from the box's centre; MARLIN's square, of
    # 1.135 of them, ends after 0.5.
    margin = 0.4

    def __init__(self, net: SyncNet, digest: str, threads: int = 1) -> None:
        self.net, self.digest, self._threads = net.eval(), digest, threads

    @classmethod
    def of(cls, state: Tensors, where: Path, threads: int) -> Self:
        """The expert of published weights.

        Raises:
            ModelError: they do not fit.
        """
        net = SyncNet()
        load_strictly(net, state, where)
        return cls(net, tensors_sha256(state)[:12], threads)

    def view(self, image: NDArray[np.uint8], points: Floats) -> NDArray[np.generic]:
        """uint8 BGR (224, 224, 3)."""
        cx, cy, width, height = mesh_box(points)
        longer = max(width, height)
        return crop(image, cx, cy + _DROP * longer, _SIDE * longer, size=_SIZE_PX)[..., ::-1]

    def embed_faces(self, views: NDArray[np.generic]) -> Floats:
        """(T, 224, 224, 3) -> (T - 4, 1024); five ticks meet in the first layer alone."""
        count = len(views) - _WINDOW + 1
        parts = []
        with torch.inference_mode(), torch_threads(self._threads):
            for first in range(0, count, _AT_ONCE):
                part = views[first : min(first + _AT_ONCE, count) + _WINDOW - 1]
                frames = torch.from_numpy(np.ascontiguousarray(part)).permute(3, 0, 1, 2)
                parts.append(self.net.embed_faces(frames[None].float())[0].numpy())
        return np.concatenate(parts)

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> Floats:
        """(`count`, 1024)."""
        parts = []
        with torch.inference_mode(), torch_threads(self._threads):
            for first in range(0, count, _AT_ONCE):
                ticks = np.arange(first, min(first + _AT_ONCE, count))
                windows = mfcc_windows(sound, start_s + ticks / TICK_RATE, _STEPS)
                parts.append(self.net.embed_sound(torch.from_numpy(windows)[:, None]).numpy())
        return np.concatenate(parts)


def _layer2(
    n_in: int, n_out: int, kernel: int | tuple[int, int], padding: int = 0
) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, kernel, padding=padding), nn.BatchNorm2d(n_out), nn.ReLU()


def _layer3(
    n_in: int, n_out: int, kernel: tuple[int, int, int], *, stride: int, padding: int
) -> tuple[nn.Module, ...]:
    conv = nn.Conv3d(n_in, n_out, kernel, (1, stride, stride), (0, padding, padding))
    return conv, nn.BatchNorm3d(n_out), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))
