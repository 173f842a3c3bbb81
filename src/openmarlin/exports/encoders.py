"""Encoders and models of a task as networks that take clips as they are: bytes.

Legend: B clips, T frames, H W pixels, N tokens, D width, C outputs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from torch import Tensor, nn

from openmarlin.data.clips import Sampling
from openmarlin.exports.network import Network, Port
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import to_model_input
from openmarlin.model.zoo import caution
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskModel, scores


class EncoderNetwork(nn.Module):
    """uint8 (B, T, H, W, 3) -> features (B, D), tokens (B, N, D)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder.trunk(to_model_input(clips))
        return self.encoder.norm(tokens.mean(dim=1)), self.encoder.norm(tokens)


class TaskNetwork(nn.Module):
    """uint8 (B, T, H, W, 3) -> answers (B, C), features (B, D)."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.encoder, self.head = EncoderNetwork(model.encoder), model.head
        self.target, self.temperature = model.target, model.config.temperature

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        features, tokens = self.encoder(clips)
        logits = self.head(features if self.head.reads == "feature" else tokens)
        return scores(logits, self.target, self.temperature), features


def encoder_network(encoder: Encoder) -> Network:
    """An encoder alone: features and tokens of clips."""
    config = encoder.config
    tokens = Port(("clips", config.n_tokens, config.width), "tokens in the order time, row, column")
    return Network(
        name=config.name,
        kind="encoder",
        module=EncoderNetwork(encoder).eval(),
        inputs={"clips": _clips(config)},
        outputs={"features": _features(config), "tokens": tokens},
        about={"preprocessing": _preprocessing(Sampling()), "source": source_of(config)},
        caution=caution(config),
    )


def task_network(model: TaskModel) -> Network:
    """An encoder and its head: calibrated answers to clips."""
    target, config = model.target, model.encoder.config
    holds = "values" if target.kind == "regression" else "calibrated probabilities"
    answers = Port(("clips", len(target.outputs)), f"{holds} of {', '.join(target.outputs)}")
    return Network(
        name=target.name,
        kind="task",
        module=TaskNetwork(model).eval(),
        inputs={"clips": _clips(config)},
        outputs={"answers": answers, "features": _features(config)},
        about={
            "preprocessing": _preprocessing(model.sampling),
            "labels": _labels(target, model.config.thresholds),
            "source": source_of(config),
        },
        caution=caution(config),
    )


def source_of(config: ModelConfig) -> str:
    """Where the weights come from; empty for a path of this machine, which tells others nothing."""
    return "" if PurePath(config.source).is_absolute() else config.source


def _clips(config: ModelConfig) -> Port:
    size = config.image_size
    shape = ("clips", config.frames, size, size, 3)
    return Port(shape, "face crops, RGB from 0 to 255", "uint8", high=256)


def _features(config: ModelConfig) -> Port:
    return Port(("clips", config.width), "a feature vector for each clip")


def _preprocessing(sampling: Sampling) -> dict[str, Any]:
    """How the clips come out of a video; the rest is inside the network."""
    return {
        "crop": "a square around the face, forehead to chin, as `openmarlin extract` cuts it",
        **asdict(sampling),
    }


def _labels(target: Target, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """What the columns of the answers mean."""
    limits = dict(zip(target.outputs, thresholds, strict=True)) if thresholds else {}
    return {**target.as_dict(), "outputs": list(target.outputs), "thresholds": limits}
