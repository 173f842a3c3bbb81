"""What generators are trained by: pixels, lips and sound together, critics.

Legend: B clips, F frames, S pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.errors import InputError
from openmarlin.lipsync.blocks import lower_half, swap_colours
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.experts.mouth_view import HEIGHT_PX, WIDTH_PX
from openmarlin.lipsync.experts.network import WINDOW, ExpertNet
from openmarlin.lipsync.experts.own import OwnExpert
from openmarlin.lipsync.experts.wav2lip_expert import SyncNetColor, Wav2LipExpert
from openmarlin.training.task import Batch

_LUMA = (0.299, 0.587, 0.114)
_EPS = 1e-6

JOINT_MARGIN = 1.0
"""Distance beyond which LipGAN's critic asks no more of what does not belong together."""


def pixel_loss(drawn: Tensor, target: Tensor, mouth: float) -> Tensor:
    """Mean absolute difference over whole faces (B, 3, F, S, S); the lower half counts `mouth`."""
    difference = (drawn - target).abs()
    loss = difference.mean()
    if mouth > 1:
        half = lower_half(difference).mean()
        loss = (2 * loss + (mouth - 1) * half) / (1 + mouth)
    return loss


def realness_loss(logits: Tensor, *, real: bool) -> Tensor:
    """Binary cross entropy of a critic's logits that all are real, or all drawn."""
    wanted = torch.full_like(logits, float(real))
    return functional.binary_cross_entropy_with_logits(logits, wanted)


def joint_loss(distances: Tensor, *, together: bool) -> Tensor:
    """Contrastive loss of LipGAN's critic: what belongs together is near, all else apart."""
    if together:
        return distances.square().mean()
    return (JOINT_MARGIN - distances).clamp_min(0).square().mean()


def frozen(critic: nn.Module) -> Callable[..., Tensor]:
    """A critic whose weights no gradient reaches."""
    weights = {name: tensor.detach() for name, tensor in critic.named_parameters()}
    return lambda *inputs: torch.func.functional_call(critic, weights, inputs)


class SyncLoss(Protocol):
    """A frozen expert: minus the logarithm of how far lips and sound belong together."""

    @property
    def network(self) -> nn.Module:
        """Which learns nothing."""

    def __call__(self, drawn: Tensor, batch: Batch) -> Tensor:
        """Of drawn faces (B, 3, F, S, S), RGB in [0, 1]; a scalar."""


class PublishedSync:
    """Wav2Lip's expert: binary cross entropy of the cosine with 1 (Prajwal et al., 2020).

    It sees the lower half of the face, 96 x 48 pixels. Its normalisations are frozen, too.
    """

    def __init__(self, network: SyncNetColor) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)

    def __call__(self, drawn: Tensor, batch: Batch) -> Tensor:
        frames = swap_colours(drawn).transpose(1, 2)
        pictures = functional.interpolate(
            frames.flatten(0, 1), size=(96, 96), mode="bilinear", antialias=True
        )
        halves = pictures[:, :, 48:].reshape(len(drawn), -1, 48, 96)
        faces = self.network.embed_faces(halves)
        sounds = self.network.embed_sound(batch["sync_window"][:, None])
        return -(faces * sounds).sum(1).clamp(_EPS, 1).log().mean()


class OwnSync:
    """An own expert that looks at pictures: minus log((1 + cosine) / 2)."""

    def __init__(self, network: ExpertNet) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)

    def __call__(self, drawn: Tensor, batch: Batch) -> Tensor:
        mouths = cut_mouths(drawn, batch["mouths"])
        faces = self.network.embed_faces(None, 255 * mouths)
        sounds = self.network.embed_sound(batch["sync_mel"])
        return -((1 + (faces * sounds).sum(2)) / 2).clamp_min(_EPS).log().mean()


def cut_mouths(faces: Tensor, matrices: Tensor) -> Tensor:
    """Grey pictures of mouths as `mouth_view` cuts them, with gradients.

    Args:
        faces: (B, 3, F, S, S) in [0, 1].
        matrices: (B, F, 2, 3), see `mouth_matrix`, pixels of these faces.

    Returns:
        (B, F, 48, 96) in [0, 1].
    """
    count, _, frames, size, _ = faces.shape
    luma = torch.tensor(_LUMA, device=faces.device).view(1, 3, 1, 1, 1)
    grey = (faces * luma).sum(1).flatten(0, 1)[:, None]
    rows = torch.arange(HEIGHT_PX, device=faces.device, dtype=torch.float32)
    columns = torch.arange(WIDTH_PX, device=faces.device, dtype=torch.float32)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1)
    at = torch.einsum("nij,hwj->nhwi", matrices.flatten(0, 1), places)
    grid = (2 * at + 1) / size - 1  # pixel centres, as grid_sample counts
    mouths = functional.grid_sample(grey.float(), grid, align_corners=False)
    return mouths.view(count, frames, HEIGHT_PX, WIDTH_PX)


def load_sync(path: str, ticks: int) -> SyncLoss:
    """The expert that a generator is trained against.

    Args:
        path: see `load_expert`.
        ticks: frames of a clip.

    Raises:
        ModelError: there is no such expert.
        InputError: it cannot judge what is drawn: it needs the mesh, or another number of frames.
    """
    expert = load_expert(path)
    if isinstance(expert, Wav2LipExpert):
        if expert.window != ticks:
            raise InputError(f"{path} looks at {expert.window} frames: give ticks={expert.window}")
        return PublishedSync(expert.net)
    if isinstance(expert, OwnExpert) and expert.network.config.kind == "pixels":
        if ticks < WINDOW:
            raise InputError(f"{path} looks at {WINDOW} frames: give ticks={WINDOW} or more")
        return OwnSync(expert.network)
    raise InputError(
        f"{Path(path)}: an expert for training looks at pictures alone; train one with "
        "`openmarlin lipsync train-expert --kind pixels`, or give Wav2Lip's"
    )
