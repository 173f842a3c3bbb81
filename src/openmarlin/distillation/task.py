"""Distillation as a task: one player, judged by how much of the targets it explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmarlin.distillation.network import Predictions, Student
from openmarlin.distillation.settings import DistilSettings
from openmarlin.distillation.targets import IN_TIME, Targets
from openmarlin.distillation.teachers import TEACHERS
from openmarlin.errors import InputError, option
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import save_folder
from openmarlin.model.tensor_files import Tensors
from openmarlin.settings import nearest
from openmarlin.training.optim import make_optimizer
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

MONITOR = Monitor("val_r2", "max")
SPREAD = "spread"

CLIP_COUNTS_AS = 4
"""Pictures, in the loss. More, and the few clips of a step would drown the rest in their noise."""


class Distillation(Task):
    """A student of teachers and mesh.

    Args:
        encoder: what is trained.
        targets: what it learns to predict.
        settings: of the run.

    Raises:
        InputError: a weight is given for a kind of targets that there is not.
    """

    name = "distil"
    monitor = MONITOR

    def __init__(self, encoder: Encoder, targets: Targets, settings: DistilSettings) -> None:
        self.settings, self.config = settings, encoder.config
        self.n_frame = targets.plain.shape[1]
        n_spread, self.in_time = len(targets.moving), targets.in_time.tolist()
        self.kinds = {c.name: c.where for c in targets.columns}
        self.kinds[SPREAD] = slice(self.n_frame, self.n_frame + n_spread)
        self.step_kinds = _places_within(self.kinds, self.in_time)
        _check_weights(settings)
        generator = torch.Generator().manual_seed(settings.seed)
        student = Student(encoder, self.n_frame, n_spread, len(self.in_time), generator)
        self.players = {
            "student": Player(student, make_optimizer(settings), clip_grad=settings.clip_grad)
        }

    def introduction(self) -> list[str]:
        kinds = ", ".join(
            f"{name} {where.stop - where.start}" for name, where in self.kinds.items()
        )
        return [f"{self.config.name} from {self.settings.init} learns {kinds}"]

    def forward(self, batch: Batch) -> Predictions:
        predictions: Predictions = self.model.call(
            batch["clip"],
            batch["clip_mask"],
            batch["pictures"].flatten(0, 1),
            batch["picture_masks"].flatten(0, 1),
        )
        return predictions

    def losses(
        self,
        player: str,
        batch: Batch,
        shared: Any,
        generator: torch.Generator,
    ) -> Losses:
        del player, generator  # there is one, and nothing is drawn
        predictions: Predictions = shared
        pictures = batch["picture_target"].flatten(0, 1)
        steps = pictures[:, self.in_time]
        of_clips = self._errors(predictions.clips, batch["clip_target"], self.kinds)
        of_pictures = self._errors(predictions.pictures, pictures, self._frame_kinds())
        of_steps = self._errors(predictions.steps, batch["step_target"], self.step_kinds)
        of_stills = self._errors(predictions.picture_steps, steps, self.step_kinds)
        loss_of_clips = self._mean(of_clips) + self.settings.w_steps * self._mean(of_steps)
        loss_of_pictures = self._mean(of_pictures) + self.settings.w_steps * self._mean(of_stills)
        n_clips, n_pictures = CLIP_COUNTS_AS * len(predictions.clips), len(predictions.pictures)
        loss = (n_clips * loss_of_clips + n_pictures * loss_of_pictures) / (n_clips + n_pictures)
        return {
            "loss": loss / (1 + self.settings.w_steps),
            **{
                name: (of_clips[name] + of_pictures.get(name, of_clips[name])) / 2
                for name in of_clips
            },
        }

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """R² of each kind, mean over its columns, and the mean of all kinds."""
        clips, pictures = _Explained(), _Explained()
        self.model.module.eval()
        for batch in batches:
            found = self.forward(batch)
            clips.add(found.clips, batch["clip_target"])
            pictures.add(found.pictures, batch["picture_target"].flatten(0, 1))
        self.model.module.train()
        scores = {}
        for name, where in self.kinds.items():
            parts = [clips.r2(where)] + ([] if name == SPREAD else [pictures.r2(where)])
            scores[f"val_{name}"] = sum(parts) / len(parts)
        return {MONITOR.metric: sum(scores.values()) / len(scores), **scores}

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        config = self.config.encoder_alone().changed(
            name=self.settings.out.resolve().name,
            trained=True,
            source=f"openmarlin distil, step {progress.step} of {progress.steps}, store "
            f"{self.settings.data.name}",
            licence="",
        )
        with torch.device("meta"):
            encoder = Encoder(config)
        prefix = "encoder."
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        encoder.load_state_dict(own, assign=True)
        save_folder(encoder, folder)

    def _frame_kinds(self) -> dict[str, slice]:
        return {name: where for name, where in self.kinds.items() if name != SPREAD}

    def _errors(
        self, predicted: Tensor, target: Tensor, kinds: Mapping[str, slice]
    ) -> dict[str, Tensor]:
        """Mean squared error of each kind over what was measured."""
        known = torch.isfinite(target)
        squares = torch.where(known, predicted.float() - target, 0.0).square()
        return {
            name: squares[..., where].sum() / known[..., where].sum().clamp(min=1)
            for name, where in kinds.items()
        }

    def _mean(self, errors: Mapping[str, Tensor]) -> Tensor:
        weights = {name: self.settings.weights.get(name, 1.0) for name in errors}
        total = sum(weights[name] * error for name, error in errors.items())
        return total / sum(weights.values())  # type: ignore[return-value]


def _check_weights(settings: DistilSettings) -> None:
    """A recipe may weigh targets of teachers that are not there, but none that nobody knows."""
    taught = (name for teacher in TEACHERS.values() for name in teacher.says)
    known = (*IN_TIME, SPREAD, *taught)
    for name in settings.weights:
        if name not in known:
            where = option(f"weights.{name}", settings.weights[name])
            raise InputError(f"{where}: there are no such targets{nearest(name, known)}")


class _Explained:
    """How much of targets is explained, column by column."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, predicted: Tensor, target: Tensor) -> None:
        self.parts["predicted"].append(predicted.float().cpu())
        self.parts["target"].append(target.cpu())

    def r2(self, where: slice) -> float:
        predicted, target = (torch.cat(self.parts[n])[:, where] for n in ("predicted", "target"))
        known = torch.isfinite(target).all(dim=1)
        predicted, target = predicted[known], target[known]
        if len(target) < 2:
            return 0.0
        left = (predicted - target).square().sum(dim=0)
        total = (target - target.mean(dim=0)).square().sum(dim=0)
        return float((1 - left / total.clamp(min=1e-6 * len(target))).clamp(min=-1).mean())


def _places_within(kinds: Mapping[str, slice], chosen: list[int]) -> dict[str, slice]:
    """Where kinds stand among the chosen columns, if they are there whole."""
    places = {}
    for name, where in kinds.items():
        if where.start in chosen:
            first = chosen.index(where.start)
            places[name] = slice(first, first + where.stop - where.start)
    return places
