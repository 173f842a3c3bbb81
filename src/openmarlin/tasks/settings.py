"""Settings of the verbs that learn from labels and answer; see `openmarlin.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from openmarlin.data.pool import ray_setting
from openmarlin.model.zoo import DEFAULT_ENCODER, DEFAULT_TASK, SHIPPED_TASKS
from openmarlin.settings import Precision, Settings, UserPath, UserPlace, setting
from openmarlin.video.windows import Tail

LABELS, HEAD, WINDOWS, OUTPUT, ENCODER = "Labels", "Head", "Windows", "Output", "Encoder"
COMPARISON = "Comparison"


class LabelSettings(Settings):
    """What is learnt, for any verb that trains."""

    label: tuple[str, ...] = setting(
        (),
        "Columns to predict, perhaps with a kind: smile, valence:regression, 'au_*'. Kinds: "
        "binary, class, multilabel, regression, ordinal.",
        group=LABELS,
    )
    leaks: Literal["refuse", "allow"] = setting(
        "refuse",
        "What to do about a group, or copies of a file, in more than one part of the split.",
        group=LABELS,
    )
    seed: int = setting(0, "Of the split, if one is made, and of all chance.", group=LABELS, ge=0)


class WindowSettings(Settings):
    """Which frames and faces of a labelled video count, for any verb that reads videos."""

    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = setting(
        "largest", "In each window the largest face, all, or the N largest.", group=WINDOWS
    )
    precropped: bool = setting(
        False, "The videos are face crops already: no face is looked for.", group=WINDOWS
    )
    rate: int = setting(2, "Take every RATE-th frame.", group=WINDOWS, ge=1)
    stride: int = setting(16, "Sampled frames from one window to the next.", group=WINDOWS, ge=1)
    tail: Tail = setting(
        "pad",
        "The last, incomplete window: repeat its last frame, drop it, or do as the reference.",
        group=WINDOWS,
    )
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group=WINDOWS, gt=0
    )


class ReadSettings(Settings):
    """How videos are read and encoded."""

    precision: Precision = setting(
        "auto", "Of the arithmetic; auto is the fastest that is faithful here.", group=ENCODER
    )
    batch: int = setting(
        8, "Clips encoded at once at most, from any video.", group=ENCODER, free=True, ge=1
    )
    workers: int | None = setting(
        None, "Videos read at once; one a core without it.", group=OUTPUT, free=True, ge=1
    )


class PlaceSettings(Settings):
    """Where the results go."""

    out: UserPlace = setting(
        ..., "The folder of the results, or its URL.", group=OUTPUT, saved=False
    )
    resume: bool = setting(
        False, "Go on with the run in OUT where it stopped.", group=OUTPUT, saved=False
    )
    overwrite: bool = setting(False, "Replace an earlier run in OUT.", group=OUTPUT, saved=False)


class ProbeSettings(PlaceSettings, LabelSettings, WindowSettings, ReadSettings):
    """How a head is trained on frozen features."""

    model: str = setting(
        DEFAULT_ENCODER, "Name, folder or checkpoint; see `openmarlin models`.", group=ENCODER
    )
    features: UserPath | None = setting(
        None, "A folder of `extract` with these videos, instead of extracting.", group=ENCODER
    )
    head: Literal["linear", "attentive", "knn", "paper"] = setting(
        "linear",
        "A regularised linear layer, attention over the tokens, neighbours, or a linear layer "
        "trained as the paper trains it.",
        group=HEAD,
    )
    blocks: int = setting(
        0, "Of self-attention in the attentive head: V-JEPA 2 has 3.", group=HEAD, ge=0, le=12
    )
    class_weights: bool = setting(
        False,
        "Let classes count as if they were equally frequent (linear and attentive head).",
        group=HEAD,
    )
    shares: tuple[float, ...] = setting(
        (1.0,),
        "Shares of the training labels to learn from, such as 1,0.5,0.1; the model of the largest "
        "is kept.",
        group=LABELS,
    )
    draws: int = setting(5, "Draws of every share below 1.", group=LABELS, ge=1)
    resamples: int = setting(1000, "Of groups, for the intervals.", group=LABELS, ge=100)

    @field_validator("shares")
    @classmethod
    def _in_order(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        """From large to small, each once."""
        if not shares or not all(0 < share <= 1 for share in shares):
            raise ValueError("shares are above 0 and at most 1, such as 1,0.5,0.1")
        return tuple(sorted(set(shares), reverse=True))


class EvaluateSettings(PlaceSettings, ReadSettings):
    """How answers are compared with labels."""

    label: tuple[str, ...] = setting(
        (),
        "Columns that a table of predictions is of, where its names do not say it; a model knows "
        "its own.",
        group=LABELS,
    )
    split: Literal["train", "val", "test", "all"] = setting(
        "test", "The part to judge; in a table without a split, all is judged.", group=LABELS
    )
    against: UserPath | None = setting(
        None,
        "Another model or table of predictions: differences with paired intervals.",
        group=COMPARISON,
    )
    subgroups: tuple[str, ...] = setting(
        (), "Columns, such as sex,age, by which rows are judged apart, too.", group=COMPARISON
    )
    robustness: tuple[str, ...] = setting(
        (),
        "Corruptions under which a model is judged again, or all: saturation, contrast, block, "
        "noise, blur, pixelation, compression (of the crops, five levels each), c23, c40 (of the "
        "whole videos).",
        group=COMPARISON,
    )
    resamples: int = setting(1000, "Of groups, for the intervals.", group=COMPARISON, ge=100)
    seed: int = setting(0, "Of the resamples.", group=COMPARISON, ge=0)


class PredictSettings(PlaceSettings, ReadSettings):
    """How new videos are answered. Rate, stride and crops are those the model has learnt from."""

    model: str = setting(
        DEFAULT_TASK,
        f"{' or '.join(SHIPPED_TASKS)}, or the folder `model` of a probe or fine-tuning run.",
        group=ENCODER,
    )
    faces: Literal["largest", "all"] | Annotated[int, Field(ge=1)] = setting(
        "all", "In each window the largest face, all, or the N largest.", group=WINDOWS
    )
    limit_seconds: float | None = setting(
        None, "Read at most this much of each video.", group=WINDOWS, gt=0
    )
    overlay: bool = setting(
        False,
        "Also write each video with its sound, boxes and answers drawn on it, to OUT/overlay.",
        group=OUTPUT,
    )
    ray: str | None = ray_setting()
