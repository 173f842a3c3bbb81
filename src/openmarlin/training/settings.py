"""Settings that every training has: where it writes, how long it learns, on which machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from openmarlin import torchrun
from openmarlin.errors import option
from openmarlin.output import CONFIG_FILE, ENVIRONMENT_FILE
from openmarlin.settings import Precision, Settings, UserPath, read_settings, setting

OUTPUT, LENGTH, OPTIMISER, MACHINE, CADENCE = (
    "Output",
    "Length",
    "Optimiser",
    "Machine",
    "Validation and files",
)


Cadence = Annotated[int, Field(ge=1)] | Literal["epoch"]

Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Beta, Beta]
"""Of AdamW: how much of the running means of gradients and their squares stays at a step."""


class RunSettings(Settings):
    """Settings of a training run; a task's own ones are added by a class that inherits these."""

    out: UserPath = setting(..., "The run folder.", group=OUTPUT, saved=False)
    resume: bool = setting(
        False, "Go on with the run in out, from its newest checkpoint.", group=OUTPUT, saved=False
    )
    overwrite: bool = setting(False, "Replace the run in out.", group=OUTPUT, saved=False)

    batch: int = setting(16, "Clips that a process computes at once.", group=LENGTH, ge=1)
    accumulate: int = setting(1, "Batches of a process that make a step.", group=LENGTH, ge=1)
    epochs: float | None = setting(
        None, "Length of the training in passes over the data; or give steps.", group=LENGTH, gt=0
    )
    steps: int | None = setting(
        None, "Length of the training in steps; or give epochs.", group=LENGTH, ge=1
    )
    seed: int = setting(0, "Seed of everything that is random.", group=LENGTH, ge=0)

    warmup: float = setting(
        0.02, "Share of the steps in which the learning rate rises.", group=OPTIMISER, ge=0, le=1
    )
    base_lr: float = setting(
        1.5e-4,
        "Peak learning rate for an effective batch of 256; it scales linearly.",
        group=OPTIMISER,
        gt=0,
    )
    min_lr: float = setting(
        1e-5,
        "Where the cosine ends, or the training on a plateau, for an effective batch of 256.",
        group=OPTIMISER,
        ge=0,
    )
    schedule: Literal["cosine", "plateau"] = setting(
        "cosine",
        "How the learning rate falls: along a cosine, or by half whenever the training loss has "
        "not fallen for 7 epochs, until it is below min_lr and training ends.",
        group=OPTIMISER,
    )
    muon_lr: float | None = setting(
        None,
        "Peak learning rate of Muon for the matrices of the blocks (0.02 is usual; it does not "
        "scale with the batch); base_lr is then for the rest. Without it AdamW is for all.",
        group=OPTIMISER,
        gt=0,
    )
    betas: Betas = setting((0.9, 0.95), "Betas of AdamW.", group=OPTIMISER)
    weight_decay: float = setting(0.0, "Weight decay of AdamW and Muon.", group=OPTIMISER, ge=0)
    clip_grad: float | None = setting(
        None, "Bound on the norm of the model's gradient.", group=OPTIMISER, gt=0
    )
    ema: float | None = setting(
        None,
        "Decay of the EMA of the weights, which is then what is validated and saved as the model.",
        group=OPTIMISER,
        gt=0,
        lt=1,
    )

    accelerator: str = setting(
        "auto", "auto, cpu, cuda, ... (Lightning Fabric's names).", group=MACHINE, free=True
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = setting(
        "auto", "How many devices of each machine; auto takes all.", group=MACHINE, free=True
    )
    nodes: int = setting(
        1, "Machines; start the command on each with torchrun.", group=MACHINE, free=True, ge=1
    )
    strategy: Literal["ddp", "fsdp"] = setting(
        "ddp", "ddp copies the model to every device, fsdp divides it among them.", group=MACHINE
    )
    precision: Precision = setting(
        "auto", "Of the products; auto is bf16 where the hardware multiplies it.", group=MACHINE
    )
    compile: bool = setting(
        False,
        "Compile the transformer blocks with torch.compile (takes minutes at the start).",
        group=MACHINE,
    )
    activation_checkpointing: bool = setting(
        False, "Compute blocks twice and hold less in memory.", group=MACHINE
    )
    workers: int | None = setting(
        None,
        "Processes that load clips; without it a number that suits the machine.",
        group=MACHINE,
        free=True,
        ge=0,
    )

    val_every: Cadence = setting(
        500,
        "Steps from one validation to the next, or epoch: once in each pass over the data.",
        group=CADENCE,
        free=True,
    )
    save_every: Cadence = setting(
        500,
        "Steps from one checkpoint to the next, or epoch.",
        group=CADENCE,
        free=True,
    )
    patience: int | None = setting(
        None,
        "Validations without a better one after which training ends; without it none ends it.",
        group=CADENCE,
        ge=1,
    )
    log_every: int = setting(
        10, "Steps from one row of metrics to the next.", group=CADENCE, free=True, ge=1
    )
    keep: int = setting(
        2, "Newest checkpoints to keep; the best one stays as well.", group=CADENCE, free=True, ge=1
    )

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"give either {option('epochs')} or {option('steps')}")
        return self

    @model_validator(mode="after")
    def _has_rates_that_fit(self) -> Self:
        if self.min_lr > self.base_lr:
            lower, upper = option("min_lr", self.min_lr), option("base_lr", self.base_lr)
            raise ValueError(f"{lower} is above {upper}")
        if self.muon_lr is not None and self.strategy == "fsdp":
            fits = option("strategy", "ddp")
            raise ValueError(
                f"{option('muon_lr')} needs whole matrices, fsdp divides them: use {fits}"
            )
        return self


Request = TypeVar("Request", bound=Settings)


def read_run_settings(
    cls: type[Request],
    data: str | Path | None,
    config: str | Path | None,
    changes: Mapping[str, Any],
) -> Request:
    """The settings of a run; those of one that goes on come from its folder.

    A run that this job of torchrun began goes on: a process of it was killed, and all are started
    again with the same command.

    Args:
        cls: their class, which has a field `data`.
        data: what to train on, where it is named apart from the settings.
        config: a recipe.
        changes: what counts more than the recipe.
    """
    if data is not None:
        changes = {"data": str(data), **changes}
    out = Path(changes.get("out") or "").expanduser()
    if _began_here(out):
        changes = {**changes, "resume": True, "overwrite": False}
    saved = out / CONFIG_FILE
    if changes.get("resume") and config is None and saved.is_file():
        config = saved
    return read_settings(cls, config, changes)


def _began_here(path: Path) -> bool:
    """Whether the run in a folder was begun, or gone on with last, by this job of torchrun."""
    job = torchrun.job()
    if job is None:
        return False
    try:
        record = json.loads((path / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
        return bool(record["sittings"][-1].get("torchrun") == job)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # none, or a file that opening the folder tells of
