"""What `lipsync train-expert` may be told."""

from __future__ import annotations

from typing import Literal

from openmarlin.settings import UserPath, setting
from openmarlin.training.settings import LENGTH, RunSettings

MODEL, DATA = "Model", "Data"


class ExpertSettings(RunSettings):
    """How an own lip-sync expert is trained. Defaults train from points, in minutes."""

    data: UserPath = setting(
        ..., "The store that `openmarlin prepare --sound --points` wrote.", group=DATA, saved=True
    )
    val_share: float = setting(
        0.2, "Groups of faces held out, where the store has no splits.", group=DATA, ge=0, lt=1
    )
    per_group: int | None = setting(
        16, "Stretches of a group in an epoch at most, drawn anew in each.", group=DATA, ge=1
    )

    kind: Literal["points", "pixels", "mouth"] = setting(
        "points", "Look at points of lips and jaw, at pictures of mouths, or at both.", group=MODEL
    )
    width: int = setting(96, "Channels of the layers over time.", group=MODEL, ge=8)
    dropout: float = setting(0.1, "Dropout between those layers.", group=MODEL, ge=0, lt=1)

    ticks: int = setting(
        60, "Ticks of 1/25 s of a stretch to learn from; shorter clips are padded.", group=LENGTH,
        ge=24,
    )  # fmt: skip
    batch: int = setting(24, "Stretches that a process computes at once.", group=LENGTH, ge=1)
    base_lr: float = setting(
        2e-2, "Peak learning rate for an effective batch of 256; it scales linearly.",
        group="Optimiser", gt=0,
    )  # fmt: skip
    weight_decay: float = setting(0.05, "Weight decay of AdamW and Muon.", group="Optimiser", ge=0)
