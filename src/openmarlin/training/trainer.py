"""One step of a training: every player of a task learns in its turn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from openmarlin.errors import TrainingError
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.engine import Engine
from openmarlin.training.optim import EMA, FACTOR, Schedule
from openmarlin.training.settings import RunSettings
from openmarlin.training.task import Batch, Losses, Player, Task

_SCHEDULE = "schedule"


class NonFiniteLossError(TrainingError):
    """A loss is infinite or not a number."""


class Trainer:
    """The players of a task on the devices, and the EMA of the model's weights.

    Args:
        engine: launched.
        task: its players are put on the devices.
        settings: of the run.
        schedule: of the learning rate.
    """

    def __init__(
        self, engine: Engine, task: Task, settings: RunSettings, schedule: Schedule
    ) -> None:
        self.engine, self.task, self.settings, self.schedule = engine, task, settings, schedule
        for player in task.players.values():
            player.place(engine, schedule.peak)
        for module in task.frozen:
            module.to(engine.device).requires_grad_(False)
        self.ema: EMA | None = None
        if settings.ema is not None:
            self.ema = EMA(engine.local_parameters(task.model.module), settings.ema)

    def step(self, number: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Learn from the batches of one step.

        Args:
            number: of the step, 0 and up.
            batches: what this process has of it.

        Returns:
            The losses by name, means over batches and processes: those of the model, and of the
            players before it all but their "loss".

        Raises:
            NonFiniteLossError: the model is then left as it was.
        """
        self._set_lr(self.schedule.lr(number))
        generator = torch.Generator().manual_seed(self._seed(number))
        *judges, name = self.task.players
        outputs: list[Any] | None = None
        others: Losses = {}
        if judges:
            # One batch: they and the model learn from the same pass. Several: see Task.forward.
            with torch.set_grad_enabled(len(batches) == 1):
                outputs = [self.task.forward(batch) for batch in batches]
        for judge in judges:
            player = self.task.players[judge]
            for _ in range(player.updates):
                losses = self._gather_gradients(judge, batches, outputs, generator)
                player.update()
            others |= {key: value for key, value in losses.items() if key != "loss"}
        if len(batches) > 1:
            outputs = None
        losses = self._gather_gradients(name, batches, outputs, generator) | others
        # Before the update: a step that is not a number must not reach the model's weights.
        values = self._check(losses)
        self.schedule.observe(number, values["loss"])
        self.task.model.update()
        if self.ema is not None:
            self.ema.update()
        return values

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Metrics of held-out clips with the weights that are exported, means over processes."""
        with self.exported_weights():
            metrics = self.task.validate(batches)
        values = torch.tensor(list(metrics.values()), device=self.engine.device)
        return dict(zip(metrics, self.engine.mean(values).tolist(), strict=True))

    @contextmanager
    def exported_weights(self) -> Iterator[None]:
        """The EMA in place of the trained weights, where there is one."""
        if self.ema is None:
            yield
        else:
            with self.ema.in_place():
                yield

    def state(self) -> tuple[Tensors, Tensors]:
        """The model's weights as they are to be used, and all that is needed to go on.

        Every process must call it.
        """
        rest: Tensors = {}
        for name, player in self.task.players.items():
            weights, moments = self.engine.state(player.module, player.optimizer)
            rest |= {f"{name}/weights/{key}": tensor for key, tensor in weights.items()}
            rest |= {f"{name}/optimizer/{key}": tensor for key, tensor in moments.items()}
        # `weights` are now the last player's: the model's.
        if self.ema is not None:
            rest = {key: tensor.clone() for key, tensor in rest.items()}  # the EMA takes its place
            model = self.task.model
            with self.exported_weights():
                weights, _ = self.engine.state(model.module, model.optimizer)
                weights = {key: tensor.clone() for key, tensor in weights.items()}
            rest |= {f"ema/{key}": tensor for key, tensor in weights.items()}
        rest[_SCHEDULE] = torch.tensor(self.schedule.state(), dtype=torch.float64)
        return weights, rest

    def restore(self, rest: Tensors) -> None:
        """Undo `state`."""

        def part(prefix: str) -> Tensors:
            return {
                key.removeprefix(prefix): tensor
                for key, tensor in rest.items()
                if key.startswith(prefix)
            }

        if self.ema is not None:  # by way of the weights: the EMA may be divided as they are
            self.engine.load_weights(self.task.model.module, part("ema/"))
            self.ema.reset()
        for name, player in self.task.players.items():
            self.engine.load_weights(player.module, part(f"{name}/weights/"))
            moments = part(f"{name}/optimizer/")
            self.engine.load_optimizer(player.module, player.optimizer, moments)
        if _SCHEDULE in rest:  # not in checkpoints of earlier versions
            self.schedule.restore(rest[_SCHEDULE].tolist())

    def _gather_gradients(
        self,
        name: str,
        batches: Sequence[Batch],
        outputs: list[Any] | None,
        generator: torch.Generator,
    ) -> Losses:
        """A player's losses over the batches, whose gradients it then has."""
        player: Player = self.task.players[name]
        share = 1 / len(batches)
        means: Losses = {}
        for i, batch in enumerate(batches):
            with player.no_sync(i < len(batches) - 1):
                output = self.task.forward(batch) if outputs is None else outputs[i]
                losses = self.task.losses(name, batch, output, generator)
                player.backward(share * losses["loss"])
            for key, loss in losses.items():
                means[key] = share * loss.detach() + means.get(key, 0)
        return means

    def _check(self, losses: Losses) -> dict[str, float]:
        """One exchange and one wait for the device a step, for all losses together."""
        values = self.engine.mean(torch.stack(list(losses.values()))).tolist()
        named = dict(zip(losses, values, strict=True))
        if not all(map(math.isfinite, values)):
            self.task.model.optimizer.zero_grad()
            text = ", ".join(f"{name} {value}" for name, value in named.items())
            raise NonFiniteLossError(f"the loss is not finite ({text})")
        return named

    def _set_lr(self, lr: float) -> None:
        for player in self.task.players.values():
            for group in player.optimizer.param_groups:
                group["lr"] = lr * group.get(FACTOR, 1)

    def _seed(self, number: int) -> int:
        parts = [self.settings.seed, number, self.engine.rank]
        return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
