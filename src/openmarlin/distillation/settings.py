"""The settings of `distil`."""

from __future__ import annotations

from openmarlin.settings import UserPath, setting
from openmarlin.training.settings import CADENCE, RunSettings

DATA, SAMPLES, OBJECTIVE = "Data and model", "Clips and pictures", "Objective"


class DistilSettings(RunSettings):
    """All settings of a distillation; those of any training are inherited."""

    data: UserPath = setting(..., "The store that `prepare` made.", group=DATA, free=True)
    teachers: UserPath | None = setting(
        None,
        "Folder with the OpenVINO files of teachers; without it mesh, blendshapes and head pose "
        "alone are learnt.",
        group=DATA,
        free=True,
    )
    init: str = setting(
        "tiny", "Weights to start from, anything `openmarlin.load` takes.", group=DATA
    )

    visible: float = setting(
        0.25, "Share of a clip's tokens that the student sees.", group=SAMPLES, gt=0, le=1
    )
    picture_visible: float = setting(
        0.5, "Share of a picture's tokens that it sees.", group=SAMPLES, gt=0, le=1
    )
    pictures: int = setting(
        8, "Single pictures, of any faces, beside each clip.", group=SAMPLES, ge=1
    )
    per_group: int | None = setting(
        4, "Tracks of a group of faces in an epoch; without it all.", group=SAMPLES, ge=1
    )
    flip: bool = setting(True, "Mirror half of them.", group=SAMPLES)
    turn: float = setting(10.0, "Turn them by so many degrees at most.", group=SAMPLES, ge=0, le=45)
    crop: float = setting(
        0.1,
        "Show squares of 1 - crop to 1 + crop times the size of the face's, moved by half as much.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )
    colour: float = setting(
        0.3,
        "Brightness, contrast and saturation times 1 - colour to 1 + colour; a tenth are grey.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )
    blur: float = setting(
        0.2, "Share of the samples that are shrunk and enlarged again.", group=SAMPLES, ge=0, le=1
    )

    weights: dict[str, float] = setting(
        {},
        "Weights of kinds of targets, such as pose, mesh, blendshapes, spread, dlib; 1 without.",
        group=OBJECTIVE,
    )
    w_steps: float = setting(
        0.3, "Weight of the predictions from single time steps.", group=OBJECTIVE, ge=0
    )

    val_share: float = setting(
        0.08, "Share of the groups of faces that is held out.", group=CADENCE, gt=0, lt=1
    )
    val_clips: int = setting(96, "Held-out clips to validate with.", group=CADENCE, ge=1)
