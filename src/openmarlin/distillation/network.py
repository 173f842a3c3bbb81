"""The student: an encoder, and linear heads that predict targets from what it says of a face."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openmarlin.model.encoder import Encoder

_MOMENTUM = 0.02  # of the running moments: batches are small
_LEAST = 0.01  # of the mean variance, which is added to every direction's


class Predictions(NamedTuple):
    """Targets as predicted.

    Attributes:
        clips: (B, F + S), from the feature of each clip.
        steps: (B, t, I), from the mean token of each time step.
        pictures: (B * k, F), from the feature of each picture.
        picture_steps: (B * k, I), as `steps`.
    """

    clips: Tensor
    steps: Tensor
    pictures: Tensor
    picture_steps: Tensor


class Whitening(nn.Module):
    """Features without their mean, of variance 1 and uncorrelated: ZCA, by running moments.

    Moments learn from batches while training, and pass no gradients. Symmetric, so that it changes
    little from step to step, and heads can follow.

    Args:
        width: of the features.
    """

    mean: Tensor
    covariance: Tensor
    n_batches: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.register_buffer("n_batches", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, D), float32."""
        features = features.float()
        with torch.autocast(features.device.type, enabled=False):
            if self.training:
                self._observe(features.detach())
            white: Tensor = (features - self.mean) @ self._matrix()
        return white

    def _matrix(self) -> Tensor:
        """The inverse root of the covariance (D, D); directions of no variance are held back."""
        variances, axes = torch.linalg.eigh(self.covariance)
        scales = (variances.clamp(min=0) + _LEAST * variances.mean()).rsqrt()
        matrix: Tensor = (axes * scales) @ axes.T
        return matrix

    def _observe(self, features: Tensor) -> None:
        self.n_batches += 1
        share = torch.maximum(1 / self.n_batches, self.n_batches.new_tensor(_MOMENTUM))
        self.mean.lerp_(_of_all_processes(features.mean(dim=0)), share)
        centred = features - self.mean
        self.covariance.lerp_(_of_all_processes(centred.T @ centred / len(features)), share)


def _of_all_processes(moment: Tensor) -> Tensor:
    """The mean of a moment over the processes of a run, which have batches of one size."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(moment)
        moment = moment / torch.distributed.get_world_size()
    return moment


class Student(nn.Module):
    """An encoder that learns what teachers see.

    Features of faces differ little beside what they have in common, so a linear layer on them
    learns slowly, and until it has, its gradients only wear down what the encoder knew. Whitening
    before the heads mends that (docs/lab/distil.md); of a trained student it is a part of the
    linear map.

    Args:
        encoder: what is trained.
        n_frame: F, targets of a frame.
        n_spread: S, targets of a clip beyond the means of those.
        n_step: I, targets of a time step.
        generator: of the initial weights of the heads.
    """

    def __init__(
        self,
        encoder: Encoder,
        n_frame: int,
        n_spread: int,
        n_step: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.n_frame = encoder, n_frame
        width = encoder.config.width
        self.whiten_feature, self.whiten_step = Whitening(width), Whitening(width)
        self.of_feature = nn.Linear(width, n_frame + n_spread)
        self.of_step = nn.Linear(width, n_step)
        for head in (self.of_feature, self.of_step):
            nn.init.normal_(head.weight, std=0.01, generator=generator)
            nn.init.zeros_(head.bias)

    def forward(
        self, clips: Tensor, clip_masks: Tensor, pictures: Tensor, picture_masks: Tensor
    ) -> Predictions:
        """Predict targets.

        Args:
            clips: uint8 (B, V, P), the values of the tokens that are left of each clip, as many
                in each time step.
            clip_masks: bool (B, N), True = left out.
            pictures: uint8 (B * k, W, P), tokens of single time steps.
            picture_masks: bool (B * k, N).
        """
        tokens = self._tokens(clips, clip_masks)
        n_steps = self.encoder.config.grid[0]
        of_steps = tokens.reshape(len(tokens), n_steps, -1, tokens.shape[2])
        # A mean in bfloat16 would round away what tells faces apart.
        of_steps = of_steps.mean(dim=2, dtype=torch.float32)
        norm = self.encoder.norm
        still = self._tokens(pictures, picture_masks)
        still = norm(still.mean(dim=1, dtype=torch.float32))
        n_clips = len(tokens)
        features = torch.cat([norm(of_steps.mean(dim=1)), still])
        steps = torch.cat([norm(of_steps).flatten(0, 1), still])
        features = self.of_feature(self.whiten_feature(features))
        steps = self.of_step(self.whiten_step(steps))
        return Predictions(
            features[:n_clips],
            steps[: n_clips * n_steps].unflatten(0, (n_clips, n_steps)),
            features[n_clips:, : self.n_frame],
            steps[n_clips * n_steps :],
        )

    def _tokens(self, values: Tensor, masks: Tensor) -> Tensor:
        """(B, V, D) before the final norm."""
        tokens = self.encoder.embed(values.to(torch.float32).div_(255), masks)
        device = tokens.device.type
        if torch.is_autocast_enabled(device):  # as in the autoencoder: half the memory traffic
            tokens = tokens.to(torch.get_autocast_dtype(device))
        return self.encoder.blocks(tokens)  # type: ignore[no-any-return]
