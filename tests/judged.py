"""Answers to judge: toy predictions of every kind of label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.data.manifest import Row
from openmarlin.tasks.labels import Target
from openmarlin.tasks.predictions import Predictions

BINARY = Target("binary", ("forged",), ("real", "fake"))
EMOTION = Target("class", ("emotion",), ("happy", "sad", "angry"))
TAGS = Target("multilabel", ("a", "b", "c"), ("a", "b", "c"))
MOOD = Target("regression", ("valence", "arousal"), ("valence", "arousal"))
LEVEL = Target("ordinal", ("level",), ("0", "1", "2", "3"))
TARGETS = [BINARY, EMOTION, TAGS, MOOD, LEVEL]


def rows_of(n: int, a_group: int = 3, **labels: Any) -> list[Row]:
    """n videos, so many a group; labels: column -> a function of the number of a row."""
    return [
        Row(
            Path(f"v{i}.mp4"),
            group=f"g{i // a_group}" if a_group > 1 else "",
            labels={name: str(value(i)) for name, value in labels.items()},
        )
        for i in range(n)
    ]


def toy_predictions(
    target: Target, n: int = 60, seed: int = 0, a_group: int = 3, **labels: Any
) -> Predictions:
    rng = np.random.default_rng(seed)
    n_outputs = len(target.outputs)
    if target.kind == "regression":
        truth = rng.normal(size=(n, n_outputs))
        scores = 0.8 * truth + 0.4 * rng.normal(size=truth.shape)
    elif target.is_one_of:
        truth = rng.integers(0, n_outputs, (n, 1)).astype(float)
        scores = np.exp(rng.normal(size=(n, n_outputs)) + 1.5 * (truth == np.arange(n_outputs)))
        scores /= scores.sum(axis=1, keepdims=True)
    else:
        truth = (rng.random((n, n_outputs)) < 0.4).astype(float)
        scores = 1 / (1 + np.exp(1 - 2 * truth + rng.normal(size=truth.shape)))
    return Predictions(target, rows_of(n, a_group, **labels), truth, scores, np.ones(n, bool))
