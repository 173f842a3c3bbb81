"""What a pre-training run is asked for: a recipe (YAML), and changes to it by `key=value`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from openmarlin.data.samples import SampleSettings
from openmarlin.errors import InputError
from openmarlin.model.config import PRESETS, ModelConfig

Precision = Literal["auto", "fp32", "bf16"]


class PretrainSettings(SampleSettings):
    """All settings of a run; those of the samples are inherited.

    Attributes:
        data: the store that `prepare` made.
        out: the run folder.
        damaged: what to do about damaged shards: `fatal`, or `skip` them.
        model: a preset: tiny, small, base, large.
        shape: fields of the model's config that differ from the preset's, such as image_size.
        init: weights to start from, anything `openmarlin.load` takes.
        init_part: what of them: `full`, or the `encoder` alone with a new decoder.

        w_adv: weight of the adversarial loss; 0 leaves the critic out.
        d_steps: steps of the critic for one of the autoencoder.
        gradient_penalty: weight of the critic's gradient penalty (arXiv 1704.00028).
        weight_clip: bound on the critic's weights (arXiv 1701.07875).
        w_feature: weight of a second prediction of the same cubes, from the clip's feature alone
            (the mean of the visible tokens): without it nothing asks the mean to know what is
            where. 0 leaves it out.
        normalize_targets: cubes less their mean, by their deviation, a channel (VideoMAE).

        per_group: tracks of a group of faces in an epoch, so that a face of which there is much
            does not outweigh the others; None for all.
        batch: clips a process computes at once.
        accumulate: batches of a process that make a step.
        epochs: length of the training in passes over the tracks...
        steps: ...or in steps.
        warmup: share of the steps in which the learning rate rises.
        base_lr: peak learning rate for an effective batch of 256; it scales linearly.
        min_lr: what the cosine ends in, for an effective batch of 256.
        muon_lr: peak learning rate of Muon for the matrices of the blocks (0.02 is usual; it does
            not scale with the batch); base_lr is then for the rest. None: AdamW for all.
        betas: of AdamW.
        weight_decay: of AdamW and Muon.
        clip_grad: bound on the norm of the autoencoder's gradient.
        ema: decay of the averaged weights, which are then what is validated and saved as model.

        accelerator: auto, cpu, cuda, ... (Lightning Fabric's names).
        devices: how many, or `auto` for all there are.
        nodes: machines; start the command on each with torchrun.
        strategy: `ddp` copies the model to every device, `fsdp` divides it among them.
        precision: of the autoencoder; `auto` is bf16 where the hardware multiplies it.
        critic_precision: of the critic's products; `auto` is the autoencoder's. Its weights, scores
            and sums are float32 either way, and so are the targets.
        compile: compile the transformer blocks with torch.compile (takes minutes at the start).
        activation_checkpointing: compute blocks twice and hold less in memory.
        workers: processes that load clips; None for a number that suits the machine.

        val_share: share of the groups of faces that is held out.
        val_clips: held-out clips to validate with.
        val_every: steps from one validation to the next.
        save_every: steps from one checkpoint to the next.
        log_every: steps from one row of metrics to the next.
        keep: newest checkpoints to keep; the best one stays as well.
        pictures: held-out clips that are drawn at every validation.
    """

    data: Path
    out: Path
    damaged: Literal["fatal", "skip"] = "fatal"
    model: str = "small"
    shape: dict[str, int | float | Literal["index", "axes"]] = Field(default_factory=dict)
    init: str | None = None
    init_part: Literal["full", "encoder"] = "full"

    w_adv: float = Field(0.01, ge=0)
    d_steps: int = Field(1, ge=1)
    gradient_penalty: float = Field(0.0, ge=0)
    weight_clip: float | None = Field(None, gt=0)
    w_feature: float = Field(0.0, ge=0)
    normalize_targets: bool = False

    per_group: int | None = Field(None, ge=1)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    epochs: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    warmup: float = Field(0.02, ge=0, le=1)
    base_lr: float = Field(1.5e-4, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    muon_lr: float | None = Field(None, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.0, ge=0)
    clip_grad: float | None = Field(None, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)

    accelerator: str = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    nodes: int = Field(1, ge=1)
    strategy: Literal["ddp", "fsdp"] = "ddp"
    precision: Precision = "auto"
    critic_precision: Precision = "auto"
    compile: bool = False
    activation_checkpointing: bool = False
    workers: int | None = Field(None, ge=0)

    val_share: float = Field(0.05, ge=0, lt=1)
    val_clips: int = Field(64, ge=1)
    val_every: int = Field(500, ge=1)
    save_every: int = Field(500, ge=1)
    log_every: int = Field(10, ge=1)
    keep: int = Field(2, ge=1)
    pictures: int = Field(4, ge=0)

    @field_validator("data", "out")
    @classmethod
    def _at_home(cls, path: Path) -> Path:
        # No shell does it in `out=~/run`; pathlib's own fails where there is no such user.
        return Path(os.path.expanduser(path))  # noqa: PTH111

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        if self.min_lr > self.base_lr:
            raise ValueError(f"min_lr {self.min_lr:g} is above base_lr {self.base_lr:g}")
        return self

    @model_validator(mode="after")
    def _has_whole_matrices(self) -> Self:
        if self.muon_lr is not None and self.strategy == "fsdp":
            raise ValueError("muon_lr needs whole matrices, fsdp divides them: use strategy=ddp")
        return self

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Validate; an unknown key is answered with the nearest one there is.

        Raises:
            InputError: in one line.
        """
        for key in values:
            if key not in cls.model_fields:
                raise InputError(f"unknown setting '{key}'{_nearest(key, cls.model_fields)}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise InputError(_one_line(error)) from None

    def architecture(self) -> ModelConfig:
        """The shape of the model.

        Raises:
            OpenMarlinError: there is no such preset or field, or sizes do not fit together.
        """
        if self.model not in PRESETS:
            raise InputError(f"unknown model '{self.model}'{_nearest(self.model, PRESETS)}")
        for key in self.shape:
            if key not in ModelConfig.model_fields:
                hint = _nearest(key, ModelConfig.model_fields)
                raise InputError(f"unknown setting 'shape.{key}'{hint}")
        return PRESETS[self.model].changed(
            **{**self.shape, "normalize_targets": self.normalize_targets}
        )


def read_settings(config: Path | None, changes: Mapping[str, Any]) -> PretrainSettings:
    """A recipe with changes; see `merge` for how they are written.

    Raises:
        InputError: the recipe cannot be read, or a setting is unknown, missing or wrong.
    """
    recipe = read_recipe(config) if config is not None else {}
    return PretrainSettings.of(**merge(recipe, changes))


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        InputError: it is missing, or not a table of settings.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path}: is not a recipe: it must be lines of `key: value`")
    return content


def merge(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with changes on top.

    Args:
        recipe: settings.
        changes: `{"batch": 8}`; dotted keys reach inside, `{"shape.image_size": 64}`. Values that
            are text are read as YAML, as the command line gives them; paths and names are not.
    """
    merged = dict(recipe)
    for key, value in changes.items():
        name, dot, inner = key.partition(".")
        if isinstance(value, str):
            value = _read_value(key, value)
        if dot:
            old = merged.get(name) or {}
            if not isinstance(old, dict):
                raise InputError(f"setting '{name}' has no parts, so '{key}' cannot be set")
            merged[name] = {**old, inner: value}
        else:
            merged[name] = value
    return merged


def _read_value(key: str, text: str) -> Any:
    if (field := PretrainSettings.model_fields.get(key)) is not None:
        kinds = set(get_args(field.annotation) or (field.annotation,))
        if kinds <= {str, Path, NoneType}:  # in YAML "faces #2" were "faces", and "2024" a number
            return None if text == "null" else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{key}={text}: the value cannot be read; quote it") from None


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean '{found[0]}'?" if found else f": choose from {', '.join(known)}"


def _one_line(error: ValidationError) -> str:
    errors = error.errors()
    words = errors[0]["loc"][:2] == ("shape", "positions")  # the one field that is no number
    first = errors[-1 if words else 0]
    parts = first["loc"][: 2 if first["loc"][:1] == ("shape",) else 1]  # then come names of types
    where = ".".join(map(str, parts))
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing" and first["loc"] == (where,):
        return f"setting '{where}' is missing: add {where}=..."
    got = f" (got {first['input']!r})" if where else ""
    return f"setting '{where}': {what}{got}" if where else f"settings: {what}"
