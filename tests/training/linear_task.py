"""Another training than pre-training: a linear classifier of clips, and one with a judge before it.

`python linear_task.py STORE OUT` trains in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.data.dataset import ClipDataset, SampleStream, TrainingData
from openmarlin.data.store import Store
from openmarlin.data.transforms import Clip
from openmarlin.model.tensor_files import Tensors
from openmarlin.output import OutputFolder
from openmarlin.settings import setting
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.engine import Engine
from openmarlin.training.fit import FILES, Fitted, Run, fit
from openmarlin.training.optim import make_adamw
from openmarlin.training.settings import RunSettings
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

GROUPS = 3


class ClassifierSettings(RunSettings):
    data: Path = setting(..., "The store.", group="Data")
    val_clips: int = setting(6, "Held-out clips to validate with.", group="Data")


def label(clip: Clip, rng: np.random.Generator) -> Clip:
    """A transform: whose face it is."""
    number = int(clip.track.group.removeprefix("person-"))
    return replace(clip, extras={**clip.extras, "label": torch.tensor(number)})


class Classifier(Task):
    """One player; a frozen module before it."""

    name = "classify"
    monitor = Monitor("accuracy", "max")

    def __init__(self, settings: RunSettings) -> None:
        self.pool = nn.AdaptiveAvgPool3d((2, 4, 4))
        self.frozen = [self.pool]
        linear = nn.Linear(3 * 32, GROUPS)
        nn.init.normal_(linear.weight, generator=torch.Generator().manual_seed(settings.seed))
        nn.init.zeros_(linear.bias)
        self.players = {
            "classifier": Player(linear, make_adamw(settings), clip_grad=settings.clip_grad)
        }

    def forward(self, batch: Batch) -> Tensor:
        pixels = batch["video"].permute(0, 4, 1, 2, 3).float().div(255)
        return self.model.call(self.pool(pixels).flatten(1))

    def losses(self, player: str, batch: Batch, shared: Any, generator: torch.Generator) -> Losses:
        loss = functional.cross_entropy(shared, batch["label"])
        return {"loss": loss, "chance": torch.rand((), generator=generator)}

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        hits = [self.forward(batch).argmax(dim=1) == batch["label"] for batch in batches]
        return {"accuracy": torch.cat(hits).float().mean().item()}

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        save_file(weights, folder / "head.safetensors")


class Judged(Classifier):
    """Two players: a judge learns to tell right answers from wrong ones, twice a step."""

    def __init__(self, settings: RunSettings, *, replicated: bool) -> None:
        super().__init__(settings)
        judge = nn.Linear(GROUPS, 1)
        nn.init.zeros_(judge.weight)
        nn.init.zeros_(judge.bias)
        before = Player(judge, make_adamw(settings), replicated=replicated, updates=2)
        self.players = {"judge": before, **self.players}

    def losses(self, player: str, batch: Batch, shared: Any, generator: torch.Generator) -> Losses:
        right = shared.argmax(dim=1) == batch["label"]
        if player == "judge":
            scores = self.players["judge"].call(shared.detach())[:, 0]
            loss = functional.binary_cross_entropy_with_logits(scores, right.float())
            return {"loss": loss, "judge": loss}
        return super().losses(player, batch, shared, generator)


def toy_data(settings: ClassifierSettings) -> TrainingData:
    store = Store(settings.data)

    def clips(seed: int | None) -> ClipDataset:
        tracks = range(len(store))
        return ClipDataset(store, tracks, frames=4, rate=2, transforms=[label], seed=seed)

    groups = [track.group for track in store.tracks]
    stream = SampleStream(groups, settings.seed)
    return TrainingData(clips(settings.seed), clips(None), stream, settings.val_clips)


def make_settings(data: Path, out: Path, **values: Any) -> ClassifierSettings:
    toy = {"steps": 120, "batch": 4, "base_lr": 1.0, "save_every": 7, "val_every": 10}
    toy |= {"log_every": 1, "val_clips": 6, "workers": 0, "accelerator": "cpu"}
    toy |= {"precision": "fp32", "ema": 0.5}
    return ClassifierSettings.of({**toy, "data": data, "out": out, **values})


def train(settings: ClassifierSettings, task: Task | None = None) -> Fitted:
    """What a job does, in short."""
    with OutputFolder(
        settings.out, verb="classify", settings=settings, files=FILES, resume=settings.resume
    ) as folder:
        folder.begin()
        start = Checkpoints(settings.out).newest() if settings.resume else None
        with Engine.of(settings) as engine:
            run = Run(settings, engine, folder, start)
            return fit(task or Classifier(settings), toy_data(settings), run)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(make_settings(Path(sys.argv[1]), Path(sys.argv[2])))
