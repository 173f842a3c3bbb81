"""What `lipsync table` may be told."""

from __future__ import annotations

from typing import Literal

from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.settings import Settings, UserPath, setting

OUTPUT, DATA, TRAINING, SCORES = "Output", "Data", "Training", "Scores"

Name = Literal[
    "speech2vid", "lipgan", "wav2lip", "attn_wav2lip", "vit", "vit_videomae", "vit_marlin"
]


class TableSettings(Settings):
    """How the paper's table of lip sync is made: all systems at an equal budget."""

    out: UserPath = setting(
        ..., "A folder for runs, scores and the table.", group=OUTPUT, saved=False
    )
    resume: bool = setting(False, "Go on with the table in out.", group=OUTPUT, saved=False)
    overwrite: bool = setting(False, "Replace the table in out.", group=OUTPUT, saved=False)

    data: UserPath = setting(
        ..., "The store that `openmarlin prepare --sound --points` wrote.", group=DATA
    )
    pairs: UserPath | None = setting(
        None, "A list of test pairs, lines `SOUND FACE` (Wav2Lip's lrs2.txt).", group=DATA
    )
    val_share: float = setting(
        0.2, "Groups of faces held out, where the store has no splits.", group=DATA, ge=0, lt=1
    )

    systems: tuple[Name, ...] = setting(
        ("speech2vid", "lipgan", "wav2lip", "attn_wav2lip", "vit", "vit_marlin"),
        "Rows of the table; vit_videomae needs weights.",
        group=TRAINING,
    )
    steps: int = setting(..., "Steps of every training.", group=TRAINING, ge=1)
    seeds: int = setting(1, "Trainings of every system, with seeds 0, 1, ...", group=TRAINING, ge=1)
    batch: int = setting(16, "Clips of a step.", group=TRAINING, ge=1)
    ticks: int = setting(16, "Frames of a clip, 25 a second.", group=TRAINING, ge=16)
    width: float = setting(
        1.0, "Factor of the systems' published channels.", group=TRAINING, gt=0, le=4
    )
    size: int = setting(
        96, "Side of the faces that are drawn, pixels.", group=TRAINING, ge=64, multiple_of=32
    )
    base_lr: float = setting(
        1.6e-3, "Peak learning rate for an effective batch of 256.", group=TRAINING, gt=0
    )
    expert: str | None = setting(
        None, "The expert that systems after LipGAN are trained with.", group=TRAINING
    )
    w_sync: float = setting(0.03, "Weight of its loss.", group=TRAINING, ge=0, lt=1)
    preset: str = setting("base", "Size of the encoder of vit.", group=TRAINING)
    marlin: str = setting("marlin_vit_base", "Weights of vit_marlin: a model.", group=TRAINING)
    videomae: str | None = setting(None, "Weights of vit_videomae: a model.", group=TRAINING)
    encoder_size: int = setting(224, "Side of the faces that encoders see.", group=TRAINING, ge=32)
    workers: int | None = setting(
        None, "Processes that load clips.", group=TRAINING, free=True, ge=0
    )

    scorer: str = setting(
        DEFAULT_EXPERT, "The expert that scores; another one than trains.", group=SCORES
    )
    clips: int = setting(64, "Test pairs at most.", group=SCORES, ge=2)
    seconds: float = setting(5.0, "Of each pair at most.", group=SCORES, ge=1)
