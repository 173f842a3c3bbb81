"""The settings of `finetune`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from openmarlin.errors import option
from openmarlin.model.zoo import DEFAULT_ENCODER
from openmarlin.settings import UserPath, setting
from openmarlin.tasks.settings import LABELS, LabelSettings
from openmarlin.training.settings import CADENCE, LENGTH, OPTIMISER, Betas, Cadence, RunSettings

MODEL, CLIPS, OBJECTIVE = "Model", "Clips", "Objective"

_EPOCHS = 30


class FinetuneSettings(LabelSettings, RunSettings):
    """All settings of a fine-tuning run; those of any training are inherited."""

    data: UserPath = setting(
        ...,
        "A store that `prepare` made, or what `prepare` takes, such as a CSV: a store is then made "
        "in the run folder.",
        group=LABELS,
        free=True,
    )
    labels: UserPath | None = setting(
        None,
        "A CSV with labels, splits and groups of the store's videos, instead of the store's own.",
        group=LABELS,
        free=True,
    )
    exclude: str | None = setting(
        None,
        "COLUMN=VALUE, such as method=Deepfakes: such rows are not trained or chosen on, and of "
        "the test only they and the negative rows stay.",
        group=LABELS,
    )

    model: str = setting(
        DEFAULT_ENCODER, "Weights to start from, anything `openmarlin.load` takes.", group=MODEL
    )
    image_size: int | None = setting(
        None, "Side of the pictures in pixels, where other than the model's.", group=MODEL, ge=32
    )
    train: Literal["full", "head", "layernorm", "lora"] = setting(
        "full",
        "What learns beside the head: everything, nothing, the layer norms, or low-rank changes of "
        "the matrices.",
        group=MODEL,
    )
    lora_rank: int = setting(8, "Rank of those changes.", group=MODEL, ge=1)
    lora_alpha: float = setting(
        16.0, "How much they count, divided by the rank.", group=MODEL, gt=0
    )
    drop_path: float = setting(
        0.0,
        "How often the last block's branches are left out in training; the first's never are.",
        group=MODEL,
        ge=0,
        lt=1,
    )

    rate: int = setting(2, "Take every RATE-th frame of a track.", group=CLIPS, ge=1)
    stride: int = setting(
        16,
        "Sampled frames from one window to the next, where answers are given.",
        group=CLIPS,
        ge=1,
    )
    flip: bool = setting(True, "Mirror half of the clips.", group=CLIPS)
    crop: float = setting(
        0.0,
        "Random squares, 1 - crop to 1 + crop times the size of the face's.",
        group=CLIPS,
        ge=0,
        lt=1,
    )
    colour: float = setting(
        0.0,
        "Brightness, contrast and saturation times 1 - colour to 1 + colour.",
        group=CLIPS,
        ge=0,
        lt=1,
    )
    token_drop: float = setting(
        0.0,
        "Share of the tokens of a training clip that is left out, which saves more than that share "
        "of a step's time (PatchDropout, arXiv 2208.07220).",
        group=CLIPS,
        ge=0,
        lt=1,
    )
    self_blend: float = setting(
        0.0,
        "Share of the negative (real) clips that are made fakes by blending the face into itself; "
        "the store needs mesh points.",
        group=CLIPS,
        ge=0,
        le=1,
    )
    recompress: tuple[int, ...] = setting(
        (),
        "Half of the clips are compressed by libx264, at a crf drawn from these, such as 23,40.",
        group=CLIPS,
    )
    pairs: str | None = setting(
        None,
        "Each fake comes with its own real in one batch. The column that names the real video of a "
        "fake; or group, where a group has one real video.",
        group=CLIPS,
    )
    balance: Literal["none", "loss", "sampling"] = setting(
        "none",
        "Rare classes count more in the loss, or are seen more often.",
        group=CLIPS,
    )

    smoothing: float = setting(
        0.0, "Share of a label that is spread over all classes.", group=OBJECTIVE, ge=0, lt=1
    )
    mixup: float = setting(
        0.0,
        "Clips are mixed in pairs, with a share drawn from Beta(mixup, mixup).",
        group=OBJECTIVE,
        ge=0,
    )
    cutmix: float = setting(
        0.0,
        "Clips get a rectangle of another, its area drawn from Beta(cutmix, cutmix); with mixup, "
        "half of the clips each.",
        group=OBJECTIVE,
        ge=0,
    )
    regression: Literal["ccc", "mse"] = setting(
        "ccc",
        "Loss of quantities: 1 - concordance correlation of a batch, or the mean squared error.",
        group=OBJECTIVE,
    )
    w_uniformity: float = setting(
        0.0,
        "Weight of the uniformity of features of length 1 (arXiv 2005.10242).",
        group=OBJECTIVE,
        ge=0,
    )
    w_alignment: float = setting(
        0.0,
        "Weight of the distance of features with equal labels (arXiv 2005.10242).",
        group=OBJECTIVE,
        ge=0,
    )

    batch: int = setting(8, "Clips that a process computes at once.", group=LENGTH, ge=1)
    epochs: float | None = setting(
        None,
        f"Length of the training in passes over the data, {_EPOCHS} without it and steps.",
        group=LENGTH,
        gt=0,
    )
    warmup: float = setting(
        0.05, "Share of the steps in which the learning rate rises.", group=OPTIMISER, ge=0, le=1
    )
    base_lr: float = setting(
        1e-3,
        "Peak learning rate for an effective batch of 256; it scales linearly.",
        group=OPTIMISER,
        gt=0,
    )
    betas: Betas = setting((0.9, 0.999), "Betas of AdamW.", group=OPTIMISER)
    weight_decay: float = setting(
        0.05, "Weight decay of AdamW; biases and norms have none.", group=OPTIMISER, ge=0
    )
    layer_decay: float = setting(
        1.0,
        "From each layer to the one below it the learning rate falls by this.",
        group=OPTIMISER,
        gt=0,
        le=1,
    )
    val_every: Cadence = setting(
        "epoch",
        "Steps from one validation to the next, or epoch: once in each pass over the data.",
        group=CADENCE,
        free=True,
    )
    save_every: Cadence = setting(
        "epoch", "Steps from one checkpoint to the next, or epoch.", group=CADENCE, free=True
    )
    val_windows: int = setting(
        4,
        "Windows of a track in a validation, evenly spread; the test takes all.",
        group=CADENCE,
        ge=1,
    )
    keep: int = setting(
        1, "Newest checkpoints to keep; the best one stays as well.", group=CADENCE, free=True, ge=1
    )

    @property
    def normalises_features(self) -> bool:
        """The head reads features of length 1."""
        return self.train == "layernorm" or self.w_uniformity > 0 or self.w_alignment > 0

    @model_validator(mode="before")
    @classmethod
    def _have_a_length(cls, values: Any) -> Any:
        if isinstance(values, dict) and not (values.get("epochs") or values.get("steps")):
            return {**values, "epochs": _EPOCHS}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.muon_lr is not None:
            raise ValueError(f"{option('muon_lr')} is for training from scratch: leave it out")
        if self.exclude is not None and not all(self.exclude.partition("=")):
            raise ValueError(
                f"{option('exclude', self.exclude)}: write COLUMN=VALUE, such as method=Deepfakes"
            )
        if self.pairs is not None and self.balance == "sampling":
            raise ValueError(
                f"{option('pairs', self.pairs)} shows as many real clips as fakes already: leave "
                f"{option('balance', 'sampling')} out"
            )
        if self.train == "head" and self.drop_path:
            raise ValueError(
                f"{option('drop_path')} needs blocks that learn: leave it out, or choose another "
                f"{option('train')}"
            )
        return self
