"""What `lipsync train` may be told."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from openmarlin.errors import option
from openmarlin.lipsync.generators.config import GeneratorConfig, Init, System
from openmarlin.settings import UserPath, setting
from openmarlin.training.settings import LENGTH, OPTIMISER, Betas, RunSettings

MODEL, DATA, LOSSES = "Model", "Data", "Losses"


class GeneratorSettings(RunSettings):
    """How a generator of talking faces is trained. Defaults are Wav2Lip's, without its critic."""

    data: UserPath = setting(
        ..., "The store that `openmarlin prepare --sound --points` wrote.", group=DATA
    )
    val_share: float = setting(
        0.2, "Groups of faces held out, where the store has no splits.", group=DATA, ge=0, lt=1
    )
    per_group: int | None = setting(
        None, "Clips of a group in an epoch at most, drawn anew in each.", group=DATA, ge=1
    )
    val_clips: int = setting(32, "Held-out clips that a validation takes.", group=DATA, ge=1)
    ticks: int = setting(
        16, "Frames of a clip, 25 a second; Wav2Lip has 5, MARLIN 16.", group=DATA, ge=1
    )

    system: System = setting("wav2lip", "Which network.", group=MODEL)
    width: float = setting(1.0, "Factor of its published channels.", group=MODEL, gt=0, le=4)
    size: int = setting(96, "Side of the faces it draws, pixels.", group=MODEL, ge=32)
    init: Init = setting(
        "none", "Where the encoder of wav2lip_vit gets its first weights.", group=MODEL
    )
    encoder: str = setting(
        "base", "This encoder: a preset with init none, else a model's name or folder.", group=MODEL
    )
    encoder_size: int = setting(224, "Side of the faces that it sees.", group=MODEL, ge=32)
    encoder_frozen: bool = setting(False, "Leave this encoder as it is.", group=MODEL)

    expert: str | None = setting(
        None,
        "The expert of the loss of lips and sound: a folder of `lipsync train-expert "
        "--kind pixels`, or Wav2Lip's lipsync_expert.pth (with ticks 5).",
        group=LOSSES,
    )
    w_sync: float = setting(0.01, "Weight of that loss.", group=LOSSES, ge=0, lt=1)
    sync_below: float | None = setting(
        0.75,
        "That loss counts once its validation has been below this; without it from the start.",
        group=LOSSES,
        gt=0,
    )
    w_quality: float = setting(
        0.0, "Weight of a critic of the lower half of faces; Wav2Lip's has 0.07.", group=LOSSES,
        ge=0, lt=1,
    )  # fmt: skip
    w_joint: float = setting(
        0.0, "Weight of LipGAN's critic of lips and sound; published 0.01.", group=LOSSES, ge=0,
        lt=1,
    )  # fmt: skip
    mouth: float = setting(
        1.0, "Weight of the lower half of a face in the loss of pixels.", group=LOSSES, ge=1
    )

    batch: int = setting(16, "Clips that a process computes at once.", group=LENGTH, ge=1)
    base_lr: float = setting(
        1.6e-3, "Peak learning rate for an effective batch of 256; it scales linearly.",
        group=OPTIMISER, gt=0,
    )  # fmt: skip
    betas: Betas = setting((0.9, 0.999), "Betas of AdamW.", group=OPTIMISER)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.w_joint and self.system not in ("lipgan", "speech2vid"):
            raise ValueError(f"{option('w_joint', self.w_joint)} goes with lipgan's sound")
        if self.w_joint and self.size < 64:
            raise ValueError(f"LipGAN's critic needs faces of 64 px: {option('size', 64)} or more")
        if self.w_sync + self.w_quality >= 1:
            raise ValueError(
                f"{option('w_sync')} and {option('w_quality')} leave nothing for the pixels: "
                "together they must stay below 1"
            )
        if self.system == "wav2lip_vit" and self.ticks != 16:
            raise ValueError(f"wav2lip_vit draws 16 frames at a time: {option('ticks', 16)}")
        self.generator()
        return self

    def generator(self) -> GeneratorConfig:
        """The network that they describe."""
        fields = {"system": self.system, "width": self.width, "size": self.size}
        if self.system == "wav2lip_vit":
            names = ("init", "encoder", "encoder_size", "encoder_frozen")
            fields.update({name: getattr(self, name) for name in names})
        return GeneratorConfig.of(fields, where=self.system)
