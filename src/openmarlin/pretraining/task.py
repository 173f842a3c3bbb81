"""Pre-training as a task: masked tokens are predicted, a critic tells predictions from pixels.

Both learn from one pass of the autoencoder. The critic goes first, as in the reference, so the
autoencoder meets the critic as it is after its update.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmarlin.model.autoencoder import Autoencoder, denormalize, normalize, pick_values
from openmarlin.model.critic import Critic
from openmarlin.model.io import save_folder
from openmarlin.model.tensor_files import Tensors
from openmarlin.pretraining.objective import (
    adversarial_loss,
    clip_weights,
    critic_loss,
    reconstruction_loss,
)
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.training.optim import make_adamw, make_optimizer
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_rec", "min")
"""Not the whole loss, which the critic moves about."""


class Prediction(NamedTuple):
    """The tokens to predict, (B, M, P): pixel values in [0, 1], or normalised.

    Attributes:
        from_tokens: as predicted from the visible tokens.
        from_feature: as predicted from the clip's feature alone, where that is learnt.
        target: as they are, float32.
    """

    from_tokens: Tensor
    from_feature: Tensor | None
    target: Tensor


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A clip to look at.

    Attributes:
        video: uint8 (T, H, W, 3).
        mask: bool (N,).
        values: (M, P) float32, its masked tokens as predicted, pixels in [0, 1].
    """

    video: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    values: NDArray[np.float32]


class Pretraining(Task):
    """The autoencoder, and unless `w_adv` is 0 the critic before it.

    Args:
        model: the autoencoder to train.
        settings: of the run.
    """

    name = "pretrain"
    monitor = MONITOR

    def __init__(self, model: Autoencoder, settings: PretrainSettings) -> None:
        self.settings, self.config = settings, model.config
        model.activation_checkpointing = settings.activation_checkpointing
        if settings.compile:
            for blocks in (model.encoder.blocks, model.decoder.blocks):
                blocks.compile()
        self.players = {}
        if settings.w_adv:
            self.players["critic"] = self._make_critic()
        self.players["autoencoder"] = Player(
            model, make_optimizer(settings), clip_grad=settings.clip_grad
        )
        self._reconstructions: list[Reconstruction] = []

    def introduction(self) -> list[str]:
        settings = self.settings
        parameters = sum(p.numel() for p in self.model.module.parameters())
        return [
            f"{settings.model}, {parameters / 1e6:.1f} M parameters, from "
            f"{settings.init or 'scratch'}, masking {settings.masking}, w_adv {settings.w_adv:g}"
        ]

    def forward(self, batch: Batch) -> Prediction:
        # From the feature only where it is learnt from: validation does not ask for it.
        from_feature = self.settings.w_feature > 0 and torch.is_grad_enabled()
        prediction = self.model.call(
            batch["video"], batch["mask"], batch["targets"], from_feature=from_feature
        )
        from_tokens, of_feature = prediction if from_feature else (prediction, None)
        target = pick_values(batch["video"], batch["targets"], self.config)
        if self.settings.normalize_targets:
            target = normalize(target)
        return Prediction(from_tokens, of_feature, target)

    def losses(
        self,
        player: str,
        batch: Batch,  # noqa: ARG002 - the prediction holds all of it
        shared: Any,
        generator: torch.Generator,
    ) -> Losses:
        prediction: Prediction = shared
        if player == "critic":
            return self._critic_losses(prediction, generator)
        losses = {"rec": reconstruction_loss(prediction.from_tokens, prediction.target)}
        zero = losses["rec"].new_zeros(())
        if prediction.from_feature is not None:
            losses["rec_feature"] = reconstruction_loss(prediction.from_feature, prediction.target)
        if "critic" in self.players:
            critic = self.players["critic"]
            with critic.autocast():
                losses["adv"] = adversarial_loss(critic.module, prediction.from_tokens)
        loss = losses["rec"]
        loss = loss + self.settings.w_feature * losses.get("rec_feature", zero)
        loss = loss + self.settings.w_adv * losses.get("adv", zero)
        return {"loss": loss, **losses}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean squared error of the masked tokens."""
        total, count = torch.zeros(()), 0
        self._reconstructions = []
        for batch in batches:
            prediction = self.forward(batch)
            difference = prediction.from_tokens - prediction.target
            total = total.to(difference.device) + difference.square().mean(dim=(1, 2)).sum()
            count += len(difference)
            missing = self.settings.pictures - len(self._reconstructions)
            self._reconstructions += self._reconstruct(batch, prediction.from_tokens, missing)
        return {"val_rec": (total / count).item()}

    def pictures(self) -> Sequence[Reconstruction]:
        return self._reconstructions

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        settings = self.settings
        config = self.config.changed(
            name=settings.out.resolve().name,
            trained=True,
            source=f"openmarlin pretrain, step {progress.step} of {progress.steps}, store "
            f"{settings.data.name}",
            licence="",
        )
        with torch.device("meta"):
            model = Autoencoder(config)
        model.load_state_dict(weights, assign=True)
        save_folder(model, folder)

    def _make_critic(self) -> Player:
        settings = self.settings
        bound = settings.weight_clip
        return Player(
            Critic(self.config, torch.Generator().manual_seed(settings.seed + 1)),
            make_adamw(settings),
            replicated=True,
            updates=settings.critic_steps,
            precision=settings.critic_precision,
            after_update=None if bound is None else partial(clip_weights, bound=bound),
        )

    def _critic_losses(self, prediction: Prediction, generator: torch.Generator) -> Losses:
        critic = self.players["critic"]
        with critic.autocast():
            gap, loss = critic_loss(
                critic.module,
                prediction.from_tokens.detach(),
                prediction.target,
                self.settings.gradient_penalty,
                generator,
            )
        return {"loss": loss, "critic": gap}

    def _reconstruct(self, batch: Batch, prediction: Tensor, count: int) -> list[Reconstruction]:
        """The first `count` clips of a batch in pixels."""
        if count <= 0:
            return []
        video, mask = batch["video"][:count], batch["mask"][:count]
        prediction = prediction[:count].float()
        if self.settings.normalize_targets:
            prediction = denormalize(prediction, pick_values(video, mask, self.config))
        arrays = (video.cpu().numpy(), mask.cpu().numpy(), prediction.cpu().numpy())
        return [Reconstruction(*clip) for clip in zip(*arrays, strict=True)]
