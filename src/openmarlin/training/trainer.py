"""A step: the critic learns to tell predictions from pixels, the autoencoder to be taken for them.

Both take their gradients from one forward pass. The critic goes first, as in the reference, so the
autoencoder meets the critic as it is after its step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openmarlin.errors import TrainingError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.critic import Critic
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify, to_model_input
from openmarlin.training.engine import Engine, Tensors
from openmarlin.training.objective import (
    MaskedPrediction,
    Prediction,
    adversarial_loss,
    clip_weights,
    critic_loss,
    denormalize,
    reconstruction_loss,
)
from openmarlin.training.optimizer import FACTOR, MuonAndAdamW, adamw
from openmarlin.training.schedule import Schedule
from openmarlin.training.settings import PretrainSettings

Batch = dict[str, Any]
"""`video`, `mask`, `wanted` on the device, stacked `openmarlin.data.samples.Sample`s; and `id`."""


class NonFiniteLossError(TrainingError):
    """A loss is infinite or not a number."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A clip to look at: video uint8 (T, H, W, 3), mask (N,), its masked cubes as pixels (M, P)."""

    video: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    cubes: NDArray[np.float32]


@dataclass(slots=True)
class Validation:
    """Mean reconstruction loss of held-out clips, and some of them to look at."""

    rec: float
    clips: list[Reconstruction] = field(default_factory=list)


class Trainer:
    """The two networks, their optimizers, and the averaged weights.

    Args:
        engine: launched.
        model: the autoencoder to train, on the CPU.
        settings: of the run.
        schedule: of the learning rate.
    """

    def __init__(
        self, engine: Engine, model: Autoencoder, settings: PretrainSettings, schedule: Schedule
    ) -> None:
        self.engine, self.settings, self.schedule = engine, settings, schedule
        self.config = model.config
        self.module = MaskedPrediction(
            model,
            normalize_targets=settings.normalize_targets,
            from_feature=settings.w_feature > 0,
            activation_checkpointing=settings.activation_checkpointing,
        )
        if settings.compile:
            for blocks in (model.encoder.blocks, model.decoder.blocks):
                blocks.compile()
        self.wrapped, self.optimizer = engine.setup(self.module, self._make_optimizer)
        self.critic: Critic | None = None
        if settings.w_adv:
            seed = torch.Generator().manual_seed(settings.seed + 1)
            self.critic = Critic(model.config, seed).to(engine.device)
            self.critic_optimizer = adamw(self.critic, **self._adamw)
        self.average: list[Tensor] | None = None
        if settings.ema is not None:
            self.average = [p.clone() for p in engine.held(self.module)]

    def step(self, number: int, batches: list[Batch]) -> dict[str, float]:
        """Learn from the batches of one step.

        With several batches the predictions that the critic sees are made once more for the
        autoencoder: their graphs together would need the memory that small batches save.

        Args:
            number: of the step, 0 and up.
            batches: what this process has of it.

        Returns:
            loss, rec, rec_feature where it is asked for, and adv and critic where there is one:
            means over all processes.

        Raises:
            NonFiniteLossError: the autoencoder is then left as it was.
        """
        self._set_lr(self.schedule.lr(number))
        share = 1 / len(batches)
        made: list[Prediction] = []
        values = torch.zeros(5, device=self.engine.device)
        if self.critic is not None:
            with torch.set_grad_enabled(len(batches) == 1):
                made = [self._predict(batch) for batch in batches]
            values[4] = self._train_critic(self.critic, number, made)
        for i, batch in enumerate(batches):
            with self.engine.holding_back(self.wrapped, enabled=i < len(batches) - 1):
                ready = made and len(batches) == 1
                losses = self._losses(made[i] if ready else self._predict(batch))
                self.engine.backward(share * losses[0], self.wrapped)
            values[:4] += share * losses.detach()
        checked = self._checked(values)
        self._update()
        return checked

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch], keep: int) -> Validation:
        """Reconstruct held-out clips with the weights that are saved.

        Args:
            batches: this process's, as many as every other's.
            keep: clips to return.
        """
        total, count = torch.zeros((), device=self.engine.device), 0
        kept: list[Reconstruction] = []
        with self.averaged():
            for batch in batches:
                prediction, target, _ = self._predict(batch)
                total += (prediction - target).square().mean(dim=(1, 2)).sum()
                count += len(prediction)
                kept += self._reconstructions(batch, prediction, keep - len(kept))
        return Validation(self.engine.mean(total / count).item(), kept)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, where there are any."""
        if self.average is None:
            yield
            return
        parameters = self.engine.held(self.module)
        trained = [p.clone() for p in parameters]
        torch._foreach_copy_(parameters, self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(parameters, trained)

    def state(self) -> tuple[Tensors, Tensors]:
        """Weights as they are to be used, and what else is needed to go on. A call of all."""
        weights, moments = self.engine.state(self.module, self.optimizer)
        rest = {f"optimizer.{name}": tensor for name, tensor in moments.items()}
        if self.average is not None:
            rest |= {f"trained.{name}": tensor.clone() for name, tensor in weights.items()}
            with self.averaged():
                weights, _ = self.engine.state(self.module, self.optimizer)
                weights = {name: tensor.clone() for name, tensor in weights.items()}
        if self.critic is not None:
            critic, moments = self.engine.state(self.critic, self.critic_optimizer)
            rest |= {f"critic.{name}": tensor for name, tensor in critic.items()}
            rest |= {f"critic_optimizer.{name}": tensor for name, tensor in moments.items()}
        return {name.removeprefix("model."): t for name, t in weights.items()}, rest

    def restore(self, rest: Tensors) -> None:
        """Undo `state`, in a trainer that was made with the weights it returned."""

        def part(name: str) -> Tensors:
            return {
                key.removeprefix(f"{name}."): tensor
                for key, tensor in rest.items()
                if key.startswith(f"{name}.")
            }

        if self.average is not None:
            self.engine.load_weights(self.module, part("trained"))
        self.engine.load_moments(self.module, self.optimizer, part("optimizer"))
        if self.critic is not None:
            self.engine.load_weights(self.critic, part("critic"))
            moments = part("critic_optimizer")
            self.engine.load_moments(self.critic, self.critic_optimizer, moments)

    @property
    def _adamw(self) -> dict[str, Any]:
        asked = self.settings
        return {
            "lr": self.schedule.peak,
            "betas": asked.betas,
            "weight_decay": asked.weight_decay,
        }

    def _make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        if self.settings.muon_lr is None:
            return adamw(module, **self._adamw)
        return MuonAndAdamW(module, muon_lr=self.settings.muon_lr, **self._adamw)

    def _predict(self, batch: Batch) -> Prediction:
        made: Prediction = self.wrapped(batch["video"], batch["mask"], batch["wanted"])
        return made

    def _losses(self, made: Prediction) -> Tensor:
        """The whole loss and its parts: rec, rec_feature, adv."""
        rec = reconstruction_loss(made.from_tokens, made.target)
        rec_feature = adv = rec.new_zeros(())
        if made.from_feature is not None:
            rec_feature = reconstruction_loss(made.from_feature, made.target)
        if self.critic is not None:
            with self.engine.autocast(self.settings.critic_precision):
                adv = adversarial_loss(self.critic, made.from_tokens)
        loss = rec + self.settings.w_feature * rec_feature + self.settings.w_adv * adv
        return torch.stack([loss, rec, rec_feature, adv])

    def _train_critic(self, critic: Critic, number: int, made: list[Prediction]) -> Tensor:
        chance = torch.Generator().manual_seed(self._seed(number))
        value = torch.zeros((), device=self.engine.device)
        for _ in range(self.settings.d_steps):
            value = torch.zeros_like(value)
            for fake, real, _ in made:
                with self.engine.autocast(self.settings.critic_precision):
                    gap, loss = critic_loss(
                        critic, fake.detach(), real, self.settings.gradient_penalty, chance
                    )
                torch.autograd.backward(loss / len(made))
                value += gap.detach() / len(made)
            self.engine.average_gradients(critic)
            self.critic_optimizer.step()
            self.critic_optimizer.zero_grad()
            if self.settings.weight_clip is not None:
                clip_weights(critic, self.settings.weight_clip)
        return value

    def _checked(self, values: Tensor) -> dict[str, float]:
        names = ("loss", "rec", "rec_feature", "adv", "critic")
        losses = dict(zip(names, self.engine.mean(values).tolist(), strict=True))
        if not all(map(math.isfinite, losses.values())):
            self.optimizer.zero_grad()
            told = ", ".join(f"{name} {value}" for name, value in losses.items())
            raise NonFiniteLossError(f"the loss is not finite ({told})")
        if not self.settings.w_feature:
            del losses["rec_feature"]
        if self.critic is None:
            del losses["adv"], losses["critic"]
        return losses

    def _update(self) -> None:
        if self.settings.clip_grad is not None:
            self.engine.clip_gradients(self.wrapped, self.optimizer, self.settings.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None and self.settings.ema is not None:
            held = self.engine.held(self.module)
            torch._foreach_lerp_(self.average, held, 1 - self.settings.ema)

    def _set_lr(self, lr: float) -> None:
        groups = list(self.optimizer.param_groups)
        if self.critic is not None:
            groups += self.critic_optimizer.param_groups
        for group in groups:
            group["lr"] = lr * group.get(FACTOR, 1)

    def _seed(self, number: int) -> int:
        parts = [self.settings.seed, number, self.engine.rank]
        return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def _reconstructions(
        self, batch: Batch, prediction: Tensor, count: int
    ) -> list[Reconstruction]:
        if count <= 0:
            return []
        video, mask, prediction = (
            batch["video"][:count],
            batch["mask"][:count],
            prediction[:count].float(),
        )
        if self.settings.normalize_targets:
            cubes = patchify(to_model_input(video), self.config.tubelet, self.config.patch)
            prediction = denormalize(prediction, pick(cubes, mask))
        arrays = (video.cpu().numpy(), mask.cpu().numpy(), prediction.cpu().numpy())
        return [Reconstruction(*clip) for clip in zip(*arrays, strict=True)]
