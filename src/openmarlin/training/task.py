"""What a training is: the networks that learn, their losses, and how well they do.

A new training is one subclass of `Task`; `openmarlin.training.fit` does the rest. Some have one
player, as fine-tuning has; some two, as pre-training has its critic and lip sync its discriminator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from openmarlin.model.tensor_files import Tensors
from openmarlin.settings import Precision
from openmarlin.training.engine import Engine
from openmarlin.training.optim import MakeOptimizer

Batch = dict[str, Any]
"""Samples of a data set, stacked, on the device; `id` is a list of text."""

Losses = dict[str, Tensor]
"""Scalars by name: "loss" is what the player minimises, the others are logged."""


class Monitor(NamedTuple):
    """The metric of a validation that tells which checkpoint is the best."""

    metric: str
    mode: Literal["min", "max"]

    def is_better(self, value: float, than: float) -> bool:
        return value < than if self.mode == "min" else value > than


class Progress(NamedTuple):
    """How far a run has come."""

    step: int
    steps: int


@dataclass
class Player:
    """A network that learns, with an optimizer of its own.

    Attributes:
        module: the network; on the CPU until `place`.
        make_optimizer: of its optimizer.
        replicated: every process holds it whole and its gradients are averaged in one exchange:
            right for a small one. Otherwise it is copied or divided as the run's strategy says.
        updates: of its weights in a step.
        precision: of a replicated player's products, under `autocast`.
        clip_grad: bound on the norm of its gradient.
        after_update: done with the module after every update.
    """

    module: nn.Module
    make_optimizer: MakeOptimizer
    replicated: bool = False
    updates: int = 1
    precision: Precision = "auto"
    clip_grad: float | None = None
    after_update: Callable[[nn.Module], None] | None = None
    _engine: Engine = field(init=False, repr=False)
    optimizer: torch.optim.Optimizer = field(init=False, repr=False)
    call: nn.Module = field(init=False, repr=False)

    def place(self, engine: Engine, lr: float) -> None:
        """Put it on the devices; from then on `call` is the network to call."""
        self._engine = engine
        if self.replicated:
            self.call = self.module.to(engine.device)
            self.optimizer = self.make_optimizer(self.module, lr)
        else:
            self.call, self.optimizer = engine.setup(
                self.module, lambda module: self.make_optimizer(module, lr)
            )

    def autocast(self) -> AbstractContextManager[None]:
        """In which a replicated player is called; the others do it by themselves."""
        return self._engine.autocast(self.precision)

    def no_sync(self, enabled: bool) -> AbstractContextManager[None]:
        """While the first batches of a step go backward."""
        return self._engine.no_sync(self.call, enabled and not self.replicated)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        if self.replicated:
            torch.autograd.backward(loss)
        else:
            self._engine.backward(loss, self.call)

    def gather(self, content: Any) -> list[Any]:
        """What each process has, in the order of ranks."""
        return self._engine.gather(content)

    def update(self) -> None:
        """One step of the optimizer with the gradients that have come together."""
        if self.replicated:
            self._engine.average_gradients(self.module)
        if self.clip_grad is not None:
            self._engine.clip_gradients(self.call, self.optimizer, self.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.after_update is not None:
            self.after_update(self.module)


class Task(ABC):
    """What is trained.

    Attributes:
        name: a word for the log.
        players: by name, in the order in which they learn in a step. The last one is the model:
            its forward pass is what the players before it judge, its EMA is taken, it is exported.
        monitor: which metric of `validate` makes a checkpoint the best.
        frozen: modules that are put on the device and do not learn.
        publish: which checkpoint becomes the model of the run: the last, or the best, which is then
            saved at every validation that is better than all before.
    """

    name: str
    players: Mapping[str, Player]
    monitor: Monitor
    frozen: Sequence[nn.Module] = ()
    publish: Literal["last", "best"] = "last"

    @abstractmethod
    def forward(self, batch: Batch) -> Any:
        """The model's pass over a batch, made once for all players; `losses` gets what it returns.

        A step of several batches makes it twice: without gradients for the players before the
        model, and once more for the model itself. Graphs of all batches together would need the
        memory that small batches save.
        """

    @abstractmethod
    def losses(self, player: str, batch: Batch, shared: Any, generator: torch.Generator) -> Losses:
        """What a player minimises.

        Args:
            player: its name.
            batch: one batch.
            shared: what `forward` has made of it. Players before the model must detach it.
            generator: of the step and this process, on the CPU: the only source of chance.
        """

    @abstractmethod
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Metrics of held-out clips, among them the monitored one, without gradients.

        Args:
            batches: of this process; every other has as many. Metrics are averaged over processes.
        """

    @abstractmethod
    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        """Write the model to an empty folder, for use.

        Args:
            folder: to write to.
            weights: whole tensors of the last player: their EMA where there is one.
            progress: of the run.
        """

    def pictures(self) -> Sequence[Any]:
        """What there is to see of the last validation."""
        return ()

    def introduction(self) -> list[str]:
        """Lines that say what is about to be trained."""
        return []

    @property
    def model(self) -> Player:
        """The last player."""
        return list(self.players.values())[-1]
