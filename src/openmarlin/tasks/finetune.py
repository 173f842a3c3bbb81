"""Fine-tuning as a task: one player, an encoder with a head, learns labels of clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from openmarlin.model.encoder import Encoder
from openmarlin.model.tensor_files import Tensors
from openmarlin.tasks.finetune_losses import (
    LabelLoss,
    alignment,
    balanced_weights,
    uniformity,
)
from openmarlin.tasks.finetune_network import (
    TaskNetwork,
    choose_learning,
    parameter_groups,
)
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.heads import LinearHead, make_head
from openmarlin.tasks.labelled_store import LabelledStore
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.lora import merge
from openmarlin.tasks.metrics import MAIN_METRIC, higher_is_better, measure
from openmarlin.tasks.model import TaskConfig, TaskModel, as_scores, prior_of
from openmarlin.tasks.splits import TRAIN, Indices
from openmarlin.training.optim import make_adamw
from openmarlin.training.task import Batch, Losses, Monitor, Player, Progress, Task

VAL_LOSS = "val_loss"
_STD = 0.02  # of the head's initial weights


class Answer(NamedTuple):
    """Of a batch: features (B, D) and answers (B, C)."""

    features: Tensor
    answers: Tensor


class Finetuning(Task):
    """An encoder and a head.

    Args:
        network: both, with what learns chosen.
        labelled: the store; its training tracks tell weights of classes and the prior.
        held_out: (n,) row of each window of the validation.
        settings: of the run.
        history: what the model's card must say of the rows, see `TaskConfig.trained_on`.
    """

    name = "finetune"
    publish = "best"

    def __init__(
        self,
        network: TaskNetwork,
        labelled: LabelledStore,
        held_out: Indices,
        settings: FinetuneSettings,
        history: Mapping[str, Any] = {},
    ) -> None:
        self._history = dict(history)
        self.settings, self.labelled, self.target = settings, labelled, labelled.target
        self._held_out = held_out
        network.activation_checkpointing = settings.activation_checkpointing
        if settings.compile:
            network.encoder.blocks.compile()
        self._train_labels = labelled.labels_of(labelled.tracks(TRAIN))
        weights = None
        if settings.balance == "loss":
            weights = balanced_weights(self._train_labels, self.target)
        self._loss = LabelLoss(self.target, weights, settings.smoothing, settings.regression)
        self._plain_loss = LabelLoss(self.target, regression=settings.regression)
        groups = partial(
            parameter_groups,
            depth=network.encoder.config.depth,
            layer_decay=settings.layer_decay,
        )
        self.players = {
            "network": Player(network, make_adamw(settings, groups), clip_grad=settings.clip_grad)
        }
        self.monitor = monitor_of(self.target, labelled.labels[np.unique(held_out)])

    def introduction(self) -> list[str]:
        settings = self.settings
        parameters = list(self.model.module.parameters())
        learn, all_ = (
            sum(p.numel() for p in parameters if p.requires_grad or everything)
            for everything in (False, True)
        )
        return [
            f"{self.target.name} ({self.target.kind}: {', '.join(self.target.classes[:12])})",
            f"{settings.model}, train {settings.train}: {learn:,} of {all_:,} parameters learn",
        ]

    def forward(self, batch: Batch) -> Answer:
        video = batch["video"]
        if "cut" in batch:
            video = paste(video, batch["cut"])
        drawn = (batch.get(name) for name in ("mix", "kept", "seen"))
        return Answer(*self.model.call(video, *drawn))

    def losses(
        self,
        player: str,  # noqa: ARG002 - there is one
        batch: Batch,
        shared: Any,
        generator: torch.Generator,  # noqa: ARG002 - a clip brings what was drawn for it
    ) -> Losses:
        settings, answer = self.settings, shared
        losses = {"label": self._loss(answer.answers, batch["target"], batch.get("share"))}
        loss = losses["label"]
        unit = functional.normalize(answer.features, dim=-1)
        if settings.w_uniformity:
            losses["uniformity"] = uniformity(unit)
            loss = loss + settings.w_uniformity * losses["uniformity"]
        if settings.w_alignment:
            losses["alignment"] = alignment(unit, batch["target"])
            loss = loss + settings.w_alignment * losses["alignment"]
        return {"loss": loss, **losses} if len(losses) > 1 else {"loss": loss}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Metrics of videos: the answer to one is the mean of those to its windows."""
        places, answers = [], []
        for batch in batches:
            places.append(batch["window"].cpu())
            answers.append(self.forward(batch).answers.double().cpu())
        # Of all processes, each window once: metrics of a part are none of the whole.
        parts = self.model.gather((torch.cat(places).numpy(), torch.cat(answers).numpy()))
        windows = np.full((len(self._held_out), parts[0][1].shape[1]), np.nan)
        for numbers, logits in parts:
            windows[numbers] = logits
        labels = torch.from_numpy(self.labelled.labels[self._held_out])
        loss = self._plain_loss(torch.from_numpy(windows), labels)
        rows, scores = mean_by_row(self._held_out, as_scores(windows, self.target))
        metric = MAIN_METRIC[self.target.kind]
        value = measure(self.labelled.labels[rows], scores, self.target)[metric]
        metrics = {VAL_LOSS: float(loss)}
        return metrics if np.isnan(value) else {**metrics, f"val_{metric}": value}

    def export(self, folder: Path, weights: Tensors, progress: Progress) -> None:
        settings = self.settings
        weights = merge(weights, settings.lora_alpha / settings.lora_rank)
        network = self.model.module
        assert isinstance(network, TaskNetwork)
        config = network.encoder.config.changed(
            name=settings.out.resolve().name,
            trained=True,
            source=f"openmarlin finetune, step {progress.step}, from {settings.model}",
        )
        with torch.device("meta"):
            encoder, head = Encoder(config), make_head(network.head.config)
        for module, name in ((encoder, "encoder."), (head, "head.")):
            own = {k.removeprefix(name): t for k, t in weights.items() if k.startswith(name)}
            module.load_state_dict(own, assign=True)
        card = f"# {config.name}\n\nA checkpoint of `openmarlin finetune`, not evaluated.\n"
        TaskModel(encoder, head, self.task_config(progress)).save(folder, card, overwrite=True)

    def task_config(self, progress: Progress) -> TaskConfig:
        """What the answers mean; temperature and thresholds are chosen when training is over."""
        settings = self.settings
        prior = prior_of(self._train_labels, self.target)
        network = self.model.module
        assert isinstance(network, TaskNetwork)
        return TaskConfig(
            target=self.target.as_dict(),
            head=network.head.config,
            sampling={"rate": settings.rate, "stride": settings.stride, "faces": "all"},
            over_time="answers",
            over_faces="max" if self.target.is_forgery else "mean",
            prior=tuple(p + (1 - p) * settings.self_blend for p in prior),
            trained_on={
                **self._history,
                "learnt_from": len(self._train_labels),
                "step": progress.step,
            },
            chosen_on={"monitor": self.monitor.metric},
        )


def make_network(
    encoder: Encoder, labelled: LabelledStore, settings: FinetuneSettings
) -> TaskNetwork:
    """What is trained: an encoder with a new head.

    Args:
        encoder: to start from; it becomes a part of the network.
        labelled: tells what is predicted.
        settings: of the run.
    """
    target = labelled.target
    head = LinearHead(
        encoder.config.width,
        len(target.outputs),
        "l2" if settings.normalises_features else "none",
    )
    generator = torch.Generator().manual_seed(settings.seed)
    torch.nn.init.normal_(head.linear.weight, std=_STD, generator=generator)
    torch.nn.init.zeros_(head.linear.bias)
    if target.kind == "regression":  # from the mean on, not from 0
        means = np.nanmean(labelled.labels_of(labelled.tracks(TRAIN)), axis=0)
        head.linear.bias.data.copy_(torch.from_numpy(means))
    network = TaskNetwork(encoder, head).train()
    lora = settings.lora_rank, settings.lora_alpha
    choose_learning(network, settings.train, lora, settings.seed)
    return network


def monitor_of(target: Target, labels: Values) -> Monitor:
    """What tells the best checkpoint: the main metric of the target on validation rows (n, K).

    Where that metric is not defined (validation has one class alone), the loss.
    """
    metric = MAIN_METRIC[target.kind]
    guesses = np.random.default_rng(0).random((len(labels), len(target.outputs)))
    if target.is_one_of:
        guesses /= guesses.sum(axis=1, keepdims=True)
    if np.isnan(measure(labels, guesses, target)[metric]):
        return Monitor(VAL_LOSS, "min")
    return Monitor(f"val_{metric}", "max" if higher_is_better(metric) else "min")


def mean_by_row(row_of: Indices, answers: Values) -> tuple[Indices, Values]:
    """Answers (n, C) to windows -> rows (m,), ascending, and the means of their answers (m, C)."""
    rows, places = np.unique(row_of, return_inverse=True)
    sums = np.zeros((len(rows), answers.shape[1]))
    np.add.at(sums, places, answers)
    return rows, sums / np.bincount(places)[:, None]


def paste(video: Tensor, cut: Tensor) -> Tensor:
    """Set a rectangle of the clip at the other end of the batch into each clip.

    Args:
        video: (B, T, S, S, 3).
        cut: (B, 4) x1, y1, x2, y2 of each rectangle, pixels; without an area nothing happens.
    """
    pasted = video.clone()
    for i, (x1, y1, x2, y2) in enumerate(cut.tolist()):
        pasted[i, :, y1:y2, x1:x2] = video[-1 - i, :, y1:y2, x1:x2]
    return pasted
