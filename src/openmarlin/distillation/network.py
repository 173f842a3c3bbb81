"""The student: an encoder, and linear heads that predict targets from what it says of a face."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openmarlin.model.encoder import Encoder

_MOMENTUM = 0.02  # of the running moments: small batches


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


class Student(nn.Module):
    """An encoder that learns what teachers see.

    Features of faces differ little beside what they have in common, so a linear layer on them
    learns slowly, and until it has, its gradients only wear down what the encoder knew. Batch
    normalisation without weights before the heads mends that (as He et al., arXiv 2111.06377,
    section A.1, do for linear probes); of a trained student it is a part of the linear map.

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
        self.feature_scale = nn.BatchNorm1d(width, affine=False, momentum=_MOMENTUM)
        self.step_scale = nn.BatchNorm1d(width, affine=False, momentum=_MOMENTUM)
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
        of_steps = tokens.reshape(len(tokens), n_steps, -1, tokens.shape[2]).mean(dim=2)
        norm = self.encoder.norm
        still = norm(self._tokens(pictures, picture_masks).mean(dim=1))
        B = len(tokens)
        features = torch.cat([norm(of_steps.mean(dim=1)), still]).float()
        steps = torch.cat([norm(of_steps).flatten(0, 1), still]).float()
        features = self.of_feature(self.feature_scale(features))
        steps = self.of_step(self.step_scale(steps))
        return Predictions(
            features[:B],
            steps[: B * n_steps].unflatten(0, (B, n_steps)),
            features[B:, : self.n_frame],
            steps[B * n_steps :],
        )

    def _tokens(self, values: Tensor, masks: Tensor) -> Tensor:
        """(B, V, D) before the final norm."""
        tokens = self.encoder.embed(values.to(torch.float32).div_(255), masks)
        device = tokens.device.type
        if torch.is_autocast_enabled(device):  # as in the autoencoder: half the memory traffic
            tokens = tokens.to(torch.get_autocast_dtype(device))
        return self.encoder.blocks(tokens)  # type: ignore[no-any-return]
