"""The settings of `lipsync train-mouth`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from openmarlin.errors import option
from openmarlin.settings import UserPath, setting
from openmarlin.training.settings import CADENCE, RunSettings

MODEL, SAMPLES, OBJECTIVE = "Data and model", "Samples", "Objective"


SHAPE_WIDTH, RENDERER_WIDTH = 128, 32
"""Channels of the networks where nothing else is said."""


class MouthSettings(RunSettings):
    """All settings of a run; those of any training are inherited."""

    data: UserPath = setting(
        ..., "The store that `prepare --sound --points` made.", group=MODEL, free=True
    )
    damaged: Literal["fatal", "skip"] = setting(
        "fatal", "What to do about damaged shards: stop, or leave them out.", group=MODEL, free=True
    )
    stage: Literal["shape", "renderer"] = setting(
        ..., "What is trained: sound to shape, or shape to pixels.", group=MODEL
    )
    shape: UserPath | None = setting(
        None, "The run or model that hears the shape; the renderer needs it.", group=MODEL
    )
    further: bool = setting(
        False, "Train the renderer of that model further, not a new one.", group=MODEL
    )
    components: int = setting(
        10, "Numbers of a mouth's shape; of the stage shape.", group=MODEL, ge=2, le=40
    )
    size: int = setting(
        96,
        "Side of the picture of the lower face, pixels; of the renderer.",
        group=MODEL,
        ge=32,
        multiple_of=16,
    )
    width: int | None = setting(
        None,
        "Channels of the network; without it 128 of the stage shape, 32 of the renderer.",
        group=MODEL,
        ge=8,
        multiple_of=8,
    )

    per_group: int | None = setting(
        None,
        "Tracks of a group of faces in an epoch, drawn anew in each; without it all.",
        group=SAMPLES,
        ge=1,
    )
    seconds: float = setting(
        2.0, "Length of a sample of the stage shape.", group=SAMPLES, ge=0.4, le=10
    )
    dropout: float = setting(
        0.1,
        "Share of the channels that a layer of the stage shape drops.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )
    silent: float = setting(
        0.1,
        "Share of samples whose sound is taken away, and whose mouth is to close.",
        group=SAMPLES,
        ge=0,
        le=1,
    )
    noise: float = setting(
        0.3, "Share of samples whose sound gets noise on top.", group=SAMPLES, ge=0, le=1
    )
    track_frames: int = setting(
        48,
        "Frames of a track that the renderer sees, evenly spread; they lie in the run folder, "
        "38 kB each at 96 pixels.",
        group=SAMPLES,
        ge=2,
    )
    pictures_per_clip: int = setting(
        2, "Frames of a track in a sample of the renderer.", group=SAMPLES, ge=1
    )
    colour: float = setting(
        0.15,
        "Brightness, contrast and saturation times 1 - colour to 1 + colour, of the renderer.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )

    w_velocity: float = setting(
        1.0, "Weight of the shape's change from frame to frame.", group=OBJECTIVE, ge=0
    )
    w_opening: float = setting(2.0, "Weight of the opening of the lips.", group=OBJECTIVE, ge=0)
    w_mouth: float = setting(
        4.0, "What a pixel of the mouth counts beside one of the cheek.", group=OBJECTIVE, ge=1
    )
    w_edge: float = setting(1.0, "Weight of the edges of the picture.", group=OBJECTIVE, ge=0)
    w_critic: float = setting(
        0.0, "Weight of the critic of patches; 0 leaves it out.", group=OBJECTIVE, ge=0
    )
    critic_from: float = setting(
        0.6,
        "Share of the training after which the critic begins.",
        group=OBJECTIVE,
        ge=0,
        le=1,
    )

    val_share: float = setting(
        0.15, "Share of the groups of faces that is held out.", group=CADENCE, gt=0, lt=1
    )
    val_clips: int = setting(96, "Held-out samples to validate with.", group=CADENCE, ge=1)
    pictures: int = setting(
        8, "Held-out samples that are drawn at every validation.", group=CADENCE, free=True, ge=0
    )

    @model_validator(mode="after")
    def _has_a_shape(self) -> Self:
        if self.stage == "renderer" and self.shape is None:
            raise ValueError(
                f"{option('stage', 'renderer')} needs {option('shape')}: the run that trained "
                "the shape"
            )
        return self
