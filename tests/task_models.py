"""Models of tasks for tests: a small untrained encoder, and heads whose answers are known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from openmarlin.data.clips import Sampling
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.tasks.heads import AttentiveHead, Head, LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskConfig, TaskModel

WIDTH = 32
SHAPE = ModelConfig(image_size=32, frames=16, patch=16, width=WIDTH, depth=1, heads=2)

FAKE = Target("binary", ("label",), ("real", "fake"))
SMILE = Target("binary", ("smile",), ("0", "1"))
MOOD = Target("class", ("mood",), ("calm", "happy", "sad"))
ACTIONS = Target("multilabel", ("talk", "nod", "blink"), ("talk", "nod", "blink"))
AFFECT = Target("regression", ("valence", "arousal"), ("valence", "arousal"))


def encoder(seed: int = 0) -> Encoder:
    return Encoder(SHAPE, torch.Generator().manual_seed(seed)).eval()


def linear_head(n_outputs: int, seed: int = 0) -> LinearHead:
    """Weights that spread the answers of an untrained encoder."""
    head = LinearHead(WIDTH, n_outputs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.linear.weight.copy_(torch.randn(n_outputs, WIDTH, generator=generator))
        head.linear.bias.zero_()
    return head.eval()


def attentive_head(n_outputs: int, seed: int = 0) -> AttentiveHead:
    head = AttentiveHead(WIDTH, n_outputs, blocks=1, heads=2)
    head.reset(torch.Generator().manual_seed(seed))
    return head.eval()


def task_model(
    target: Target = FAKE,
    head: Head | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    **config: Any,
) -> TaskModel:
    """A model with a linear head and a prior that no real answer equals."""
    n_outputs = len(target.outputs)
    head = head or linear_head(n_outputs, seed)
    values: dict[str, Any] = {"prior": (0.123,) * n_outputs, **config}
    return TaskModel(
        encoder(seed),
        head,
        TaskConfig(
            target=target.as_dict(),
            head=head.config,
            sampling=asdict(sampling or Sampling()),
            **values,
        ),
    )


def saved(path: Path, *args: Any, **kwargs: Any) -> Path:
    """The folder of a `task_model`."""
    task_model(*args, **kwargs).save(path, "A model of a test.")
    return path
