"""Learning to draw mouths: the renderer, and late in the training a critic of patches before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.lipsync.small.renderer import DRAWN, DrawnWindow, PatchCritic
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.lipsync.small.window import DRAWING, HOLE, LIPS, REFERENCE
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.optim import make_adamw
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_lips", "min")


@dataclass(frozen=True)
class DrawnMouth:
    """A held-out picture.

    Attributes:
        target: uint8 (S, S, 3) as it was filmed.
        seen: what the renderer saw of it, with the drawing of the shape in the hole.
        references: (2, S, S, 3) what it could copy from.
        result: (S, S, 3).
    """

    target: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    references: NDArray[np.uint8]
    result: NDArray[np.uint8]


class RendererTask(Task):
    """The renderer, and with `w_critic` the critic before it.

    Args:
        dubber: the model.
        settings: of the run.
        critic_epoch: from which epoch on the critic learns and counts.
    """

    name = "mouth renderer"
    monitor = MONITOR

    def __init__(self, dubber: SmallDubber, settings: MouthSettings, critic_epoch: float) -> None:
        assert dubber.renderer is not None
        self.dubber, self.settings, self.critic_epoch = dubber, settings, critic_epoch
        self.players = {}
        if settings.w_critic:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed + 1)
                critic = PatchCritic()
            self.players["critic"] = Player(critic, make_adamw(settings), replicated=True)
        self.players["renderer"] = Player(
            dubber.renderer, make_adamw(settings), clip_grad=settings.clip_grad
        )
        self._pictures: list[DrawnMouth] = []

    def introduction(self) -> list[str]:
        count = sum(p.numel() for p in self.model.module.parameters())
        size = self.dubber.config.size
        return [
            f"{count / 1e6:.2f} M parameters, windows of {size} px, faces of {self.dubber.size}"
        ]

    def forward(self, batch: Batch) -> DrawnWindow:
        drawn: DrawnWindow = self.model.call(batch["channels"].flatten(0, 1))
        return drawn

    def losses(
        self,
        player: str,
        batch: Batch,
        shared: Any,
        generator: torch.Generator,  # noqa: ARG002 - chance is in the samples
    ) -> Losses:
        drawn: DrawnWindow = shared
        channels = batch["channels"].flatten(0, 1).permute(0, 3, 1, 2)
        drawing = channels[:, DRAWING][:, :DRAWN].float() / 255
        if player == "critic":
            return self._critic_losses(batch, drawn, drawing)
        lips = channels[:, LIPS : LIPS + 1].float() / 255
        losses = picture_losses(drawn, lips, self.settings.w_mouth)
        loss = losses["l1"] + self.settings.w_edge * losses["edge"]
        if self._critic_counts(batch):
            critic = self.players["critic"]
            frozen = {name: p.detach() for name, p in critic.module.named_parameters()}
            call = partial(torch.func.functional_call, critic.module, frozen)
            with critic.autocast():
                losses["adv"] = -call((drawn.image, drawing)).mean()
            loss = loss + self.settings.w_critic * losses["adv"]
        return {"loss": loss, **losses}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean absolute error of colours in [0, 1], in the hole and around the lips."""
        net = self.model.module.eval()
        sums = torch.zeros(4, dtype=torch.float64)
        self._pictures = []
        for batch in batches:
            channels = batch["channels"].flatten(0, 1)
            drawn: DrawnWindow = net(channels)
            error = (drawn.image - drawn.target).abs().mean(dim=1, keepdim=True)
            lips = channels[..., LIPS].float()[:, None] / 255 * drawn.hole
            parts = [(error * drawn.hole), drawn.hole, error * lips, lips]
            sums += torch.stack([part.sum().double().cpu() for part in parts])
            missing = self.settings.pictures - len(self._pictures)
            self._pictures += _draw(channels[: max(0, missing)], drawn)
        net.train()
        hole, n_hole, mouth, n_mouth = sums.tolist()
        return {"val_lips": mouth / max(1, n_mouth), "val_hole": hole / max(1, n_hole)}

    def pictures(self) -> Sequence[DrawnMouth]:
        return self._pictures

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        note = f"Stage renderer, step {progress.step} of {progress.steps}."
        self.dubber.with_renderer(weights).write(folder, note)

    def _critic_counts(self, batch: Batch) -> bool:
        return "critic" in self.players and float(batch["epoch"].min()) >= self.critic_epoch

    def _critic_losses(self, batch: Batch, drawn: DrawnWindow, drawing: Tensor) -> Losses:
        critic = self.players["critic"]
        if not self._critic_counts(batch):
            nothing = torch.stack([p.sum() for p in critic.module.parameters()]).sum() * 0
            return {"loss": nothing, "critic": nothing.detach()}
        with critic.autocast():
            filmed = critic.module(drawn.target, drawing)
            made = critic.module(drawn.image.detach(), drawing)
        # The hinge loss (arXiv 1705.02894).
        loss = functional.relu(1 - filmed).mean() + functional.relu(1 + made).mean()
        return {"loss": loss, "critic": loss}


def picture_losses(drawn: DrawnWindow, lips: Tensor, w_mouth: float) -> Losses:
    """Weighted means of the errors of colours and of edges, inside the hole.

    Args:
        drawn: what the renderer made.
        lips: (B, 1, S, S) in [0, 1], what surrounds the lips.
        w_mouth: what its pixels count beside the others.
    """
    error = drawn.image - drawn.target
    weights = (drawn.hole > 0) * (1 + (w_mouth - 1) * lips)
    total = 3 * weights.sum().clamp(min=1)
    across, along = error.diff(dim=3).abs(), error.diff(dim=2).abs()
    edges = (across * weights[..., 1:]).sum() + (along * weights[..., 1:, :]).sum()
    return {"l1": (error.abs() * weights).sum() / total, "edge": edges / total}


def _draw(channels: Tensor, drawn: DrawnWindow) -> list[DrawnMouth]:
    pictures = []
    for planes, image in zip(channels.cpu().numpy(), drawn.image.cpu().numpy(), strict=False):
        target, references = planes[..., :3], planes[..., REFERENCE]
        hidden = planes[..., HOLE : HOLE + 1] > 0
        seen = np.where(hidden, planes[..., DRAWING][..., :3] // 2 + 64, target)
        result = (image.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8)
        both = np.stack([references[..., :3], references[..., 3:]])
        pictures.append(DrawnMouth(target.copy(), seen, both, result))
    return pictures
