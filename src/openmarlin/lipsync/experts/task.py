"""Training of an own expert as a task: one player, judged by the offsets that it finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from openmarlin.lipsync.experts.judge import JudgedClip, judge, measures
from openmarlin.lipsync.experts.network import ExpertConfig, ExpertNet
from openmarlin.lipsync.experts.objective import in_clip_loss
from openmarlin.lipsync.experts.own import CONFIG_FILE, WEIGHTS_FILE
from openmarlin.lipsync.experts.settings import ExpertSettings
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.optim import make_adamw
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_auc", "max")


class ExpertTraining(Task):
    """An expert.

    Args:
        settings: of the run.
    """

    name = "expert"
    monitor = MONITOR
    publish = "best"

    def __init__(self, settings: ExpertSettings) -> None:
        self.settings = settings
        self.config = ExpertConfig(settings.kind, settings.width, dropout=settings.dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = ExpertNet(self.config)
        self.players = {
            "expert": Player(network, make_adamw(settings), clip_grad=settings.clip_grad)
        }

    def introduction(self) -> list[str]:
        parameters = sum(p.numel() for p in self.model.module.parameters())
        return [f"an expert that looks at {self.config.kind}, {parameters / 1e6:.2f} M parameters"]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        faces, sounds, scale = self.model.call(batch["points"], batch.get("mouths"), batch["mel"])
        return faces, sounds, scale

    def losses(
        self, player: str, batch: Batch, shared: Any, generator: torch.Generator
    ) -> Losses:  # fmt: skip
        del player, generator
        faces, sounds, scale = shared
        return {"loss": in_clip_loss(faces, sounds, batch["windows"], scale)}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        return {f"val_{name}": value for name, value in measures([*self._judged(batches)]).items()}

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        about = {
            **asdict(self.config),
            "trained": f"openmarlin lipsync train-expert, step {progress.step} of {progress.steps}",
            "store": self.settings.data.name,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        halves = {name: _half(value) for name, value in weights.items()}
        save_file(halves, folder / WEIGHTS_FILE)

    def _judged(self, batches: Iterable[Batch]) -> Iterator[JudgedClip]:
        network = self.model.module
        for batch in batches:
            faces, sounds, _ = network(batch["points"], batch.get("mouths"), batch["mel"])
            for face, sound, count in zip(faces, sounds, batch["windows"], strict=True):
                yield judge(face[:count].float().cpu().numpy(), sound[:count].float().cpu().numpy())


def _half(value: Tensor) -> Tensor:
    return value.half().contiguous() if value.is_floating_point() else value.contiguous()
