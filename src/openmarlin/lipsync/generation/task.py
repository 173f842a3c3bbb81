"""Training of a generator as a task: perhaps critics before it, perhaps a frozen expert beside it.

The loss of Wav2Lip (Prajwal et al., 2020, section 3.4):

    (1 - w_sync - w_quality) pixels + w_sync sync + w_quality realness  (+ w_joint LipGAN's)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmarlin.lipsync.blocks import lower_half
from openmarlin.lipsync.generation.losses import (
    SyncLoss,
    frozen,
    joint_loss,
    load_sync,
    pixel_loss,
    realness_loss,
)
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generators.critics import QualityCritic, SyncCritic
from openmarlin.lipsync.generators.generator import network_inputs
from openmarlin.lipsync.generators.make import make_generator, save_generator
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.log import METRICS_FILE, read_metrics
from openmarlin.training.optim import make_adamw
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_mouth", "min")
_PICTURES = 4


class Faces(NamedTuple):
    """What is drawn and what should be, (B, 3, F, S, S) in [0, 1]."""

    drawn: Tensor
    target: Tensor


class DrawnClip(NamedTuple):
    """A clip to look at, uint8 (F, S, S, 3): as it is, as the generator sees it, as it draws it."""

    target: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    drawn: NDArray[np.uint8]


class GeneratorTraining(Task):
    """A generator, its critics before it.

    Args:
        settings: of the run.
    """

    name = "generator"
    monitor = MONITOR

    def __init__(self, settings: GeneratorSettings) -> None:
        self.settings, self.config = settings, settings.generator()
        self.sync: SyncLoss | None = None
        if settings.expert is not None:
            self.sync = load_sync(settings.expert, settings.ticks)
            self.frozen = (self.sync.network,)
        self._sync_counts = settings.sync_below is None
        make = make_adamw(settings)
        self.players = {}
        if settings.w_quality:
            self.players["quality"] = Player(_seeded(QualityCritic, settings), make)
        if settings.w_joint:
            self.players["joint"] = Player(_seeded(SyncCritic, settings), make)
        generator = make_generator(self.config, seed=settings.seed)
        self.players["generator"] = Player(generator, make, clip_grad=settings.clip_grad)
        self._pictures: list[DrawnClip] = []

    def recall(self, out: Path, step: int) -> None:
        """Go on as a run had it after a step: the expert counts once it has begun to count."""
        below = self.settings.sync_below
        for row in read_metrics(out / METRICS_FILE):
            if below is not None and row["step"] <= step and row.get("val_sync", np.inf) < below:
                self._sync_counts = True

    def introduction(self) -> list[str]:
        learning = sum(p.numel() for p in self.model.module.parameters() if p.requires_grad)
        beside = ", ".join(name for name in self.players if name != "generator") or "no critic"
        return [f"{self.config.system}, {learning / 1e6:.2f} M parameters learn; {beside}"]

    def forward(self, batch: Batch) -> Faces:
        target, inputs = network_inputs(batch["faces"], batch["reference"])
        return Faces(self.model.call(batch["sound"], inputs), target)

    def losses(self, player: str, batch: Batch, shared: Any, generator: torch.Generator) -> Losses:
        faces: Faces = shared
        if player == "quality":
            critic = self.players["quality"].call
            real = realness_loss(critic(faces.target), real=True)
            drawn = realness_loss(critic(faces.drawn.detach()), real=False)
            return {"loss": (real + drawn) / 2}
        if player == "joint":
            return {"loss": self._joint_critic_loss(faces, batch, generator)}
        return self._generator_losses(faces, batch)

    def _joint_critic_loss(self, faces: Faces, batch: Batch, generator: torch.Generator) -> Tensor:
        """Real faces with their sound are near; drawn ones, or others' sound, by turns, are far."""
        critic, sound = self.players["joint"].call, batch["sound"]
        near = joint_loss(critic(faces.target, sound), together=True)
        if torch.rand((), generator=generator) < 0.5:
            far = critic(faces.drawn.detach(), sound)
        else:
            far = critic(faces.target, sound.roll(1, 0))
        return (near + joint_loss(far, together=False)) / 2

    def _generator_losses(self, faces: Faces, batch: Batch) -> Losses:
        settings = self.settings
        pixels = pixel_loss(faces.drawn, faces.target, settings.mouth)
        losses, left = {"pixels": pixels}, 1.0
        loss = torch.zeros_like(pixels)
        if self.sync is not None and self._sync_counts:
            losses["sync"] = self.sync(faces.drawn, batch)
            loss, left = loss + settings.w_sync * losses["sync"], left - settings.w_sync
        if settings.w_quality:
            logits = frozen(self.players["quality"].module)(faces.drawn)
            losses["realness"] = realness_loss(logits, real=True)
            loss, left = loss + settings.w_quality * losses["realness"], left - settings.w_quality
        if settings.w_joint:
            distances = frozen(self.players["joint"].module)(faces.drawn, batch["sound"])
            losses["joint"] = joint_loss(distances, together=True)
            loss = loss + settings.w_joint * losses["joint"]
        return {"loss": loss + left * pixels, **losses}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Pixels of the lower half; whether the sound matters; the expert's loss."""
        totals: dict[str, float] = {}
        n_clips, self._pictures = 0, []
        for batch in batches:
            faces = self.forward(batch)
            other = self.forward({**batch, "sound": batch["sound"].roll(1, 0)})
            count = len(faces.drawn)
            values = {
                "val_mouth": lower_half((faces.drawn - faces.target).abs()).mean(),
                "val_sound_matters": lower_half((faces.drawn - other.drawn).abs()).mean(),
            }
            if self.sync is not None:
                values["val_sync"] = self.sync(faces.drawn, batch)
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + count * value.item()
            n_clips += count
            self._keep_pictures(batch, faces)
        metrics = {name: value / n_clips for name, value in totals.items()}
        below = self.settings.sync_below
        if below is not None and metrics.get("val_sync", np.inf) < below:
            self._sync_counts = True
        return metrics

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        settings = self.settings
        generator = make_generator(self.config, seed=settings.seed)
        generator.load_state_dict(weights)
        about = {
            "trained": f"openmarlin lipsync train, step {progress.step} of {progress.steps}",
            "store": settings.data.name,
        }
        save_generator(folder, generator, about, overwrite=True)

    def pictures(self) -> Sequence[DrawnClip]:
        return self._pictures

    def _keep_pictures(self, batch: Batch, faces: Faces) -> None:
        for i in range(min(len(faces.drawn), _PICTURES - len(self._pictures))):
            target = batch["faces"][i].cpu().numpy()
            masked = target.copy()
            masked[:, target.shape[1] // 2 :] = 0
            drawn = (255 * faces.drawn[i].float()).round().byte().permute(1, 2, 3, 0)
            reference = batch["reference"][i].cpu().numpy()
            self._pictures.append(DrawnClip(target, masked, reference, drawn.cpu().numpy()))


def _seeded(network: type[QualityCritic] | type[SyncCritic], settings: GeneratorSettings) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed + 1)
        return network(settings.width, settings.size)
