"""The settings of `pretrain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from openmarlin.errors import InputError
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.settings import Precision, UserPath, nearest, setting
from openmarlin.training.settings import CADENCE, RunSettings

MODEL, SAMPLES, OBJECTIVE = "Data and model", "Clips and masks", "Objective"


class PretrainSettings(RunSettings):
    """All settings of a pre-training run; those of any training are inherited."""

    renamed: ClassVar[Mapping[str, str]] = {
        "decode_share": "decode_ratio",
        "d_steps": "critic_steps",
    }

    data: UserPath = setting(..., "The store that `prepare` made.", group=MODEL, free=True)
    damaged: Literal["fatal", "skip"] = setting(
        "fatal", "What to do about damaged shards: stop, or leave them out.", group=MODEL, free=True
    )
    model: str = setting("small", "A preset: tiny, small, base or large.", group=MODEL)
    shape: dict[str, int | float | Literal["index", "axes"]] = setting(
        {},
        "Fields of the model's config that differ from the preset's, such as image_size.",
        group=MODEL,
    )
    init: str | None = setting(
        None, "Weights to start from, anything `openmarlin.load` takes.", group=MODEL
    )
    init_part: Literal["full", "encoder"] = setting(
        "full",
        "What of them: all, or the encoder alone with a new decoder.",
        group=MODEL,
    )

    rate: int = setting(2, "Take every RATE-th frame of a track.", group=SAMPLES, ge=1)
    masking: str = setting(
        "fasking", "How tokens are masked: a name that `openmarlin masks` shows.", group=SAMPLES
    )
    mask_ratio: float = setting(
        0.9, "Share of the tokens that is masked.", group=SAMPLES, ge=0, lt=1
    )
    regions: tuple[str, ...] = setting((), "Face regions that are always masked.", group=SAMPLES)
    decode_ratio: float = setting(
        1.0,
        "Share of the masked tokens that the decoder predicts (1: all, as the paper; less: "
        "VideoMAE V2's dual masking, arXiv 2303.16727).",
        group=SAMPLES,
        gt=0,
        le=1,
    )
    flip: bool = setting(False, "Mirror half of the clips.", group=SAMPLES)
    crop: float = setting(
        0.0,
        "Random squares, 1 - crop to 1 + crop times the size of the face's.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )
    colour: float = setting(
        0.0,
        "Brightness, contrast and saturation times 1 - colour to 1 + colour.",
        group=SAMPLES,
        ge=0,
        lt=1,
    )
    per_group: int | None = setting(
        None,
        "Tracks of a group of faces in an epoch, so that a face of which there is much does not "
        "outweigh the others; without it all.",
        group=SAMPLES,
        ge=1,
    )

    w_adv: float = setting(
        0.01, "Weight of the adversarial loss; 0 leaves the critic out.", group=OBJECTIVE, ge=0
    )
    critic_steps: int = setting(
        1, "Steps of the critic for one of the autoencoder.", group=OBJECTIVE, ge=1
    )
    gradient_penalty: float = setting(
        0.0, "Weight of the critic's gradient penalty (arXiv 1704.00028).", group=OBJECTIVE, ge=0
    )
    weight_clip: float | None = setting(
        None, "Bound on the critic's weights (arXiv 1701.07875).", group=OBJECTIVE, gt=0
    )
    critic_precision: Precision = setting(
        "auto",
        "Of the critic's products; auto is the autoencoder's. Its weights, scores and sums are "
        "float32 either way, and so are the targets.",
        group=OBJECTIVE,
    )
    w_feature: float = setting(
        0.0,
        "Weight of a second prediction of the same tokens, from the clip's feature alone (the mean "
        "of the visible tokens): without it nothing asks the mean to know what is where. 0 leaves "
        "it out.",
        group=OBJECTIVE,
        ge=0,
    )
    normalize_targets: bool = setting(
        False,
        "Predict tokens less their mean, by their deviation, a channel (VideoMAE).",
        group=OBJECTIVE,
    )

    val_share: float = setting(
        0.05, "Share of the groups of faces that is held out.", group=CADENCE, ge=0, lt=1
    )
    val_clips: int = setting(64, "Held-out clips to validate with.", group=CADENCE, ge=1)
    pictures: int = setting(
        4, "Held-out clips that are drawn at every validation.", group=CADENCE, free=True, ge=0
    )

    def architecture(self) -> ModelConfig:
        """The shape of the model.

        Raises:
            OpenMarlinError: there is no such preset or field, or sizes do not fit together.
        """
        if self.model not in PRESETS:
            raise InputError(f"there is no preset '{self.model}'{nearest(self.model, PRESETS)}")
        for key in self.shape:
            if key not in ModelConfig.model_fields:
                hint = nearest(key, ModelConfig.model_fields)
                raise InputError(f"there is no setting 'shape.{key}'{hint}")
        return PRESETS[self.model].changed(
            **{**self.shape, "normalize_targets": self.normalize_targets}
        )
