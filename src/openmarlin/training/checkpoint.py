"""Checkpoints: everything a run needs to go on, and a model to use, in one folder each.

    RUN/checkpoints/step-00001000/
        model/                  what `openmarlin.load` reads
        training.safetensors    optimizers, critic; the trained weights where model/ has averages
        state.json              step, settings, validation loss

A checkpoint appears whole or not at all, and older ones go only when a newer one is there.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from openmarlin.errors import InputError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import save_folder
from openmarlin.output import atomic_folder
from openmarlin.training.engine import Tensors

FOLDER = "checkpoints"
_MODEL, _TENSORS, _STATE = "model", "training.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One that is there.

    Attributes:
        path: its folder.
        state: what state.json says; `step` counts the steps that are done, `val_rec` is the loss
            on held-out clips or None.
    """

    path: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.state["step"])

    @property
    def val_rec(self) -> float:
        value = self.state.get("val_rec")
        return float("inf") if value is None else float(value)

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.path / _MODEL

    def tensors(self) -> Tensors:
        """Optimizers, critic and so on.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return load_file(self.path / _TENSORS)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{self.path}: damaged ({str(error).splitlines()[0]}); remove this folder to go on "
                "from the checkpoint before it"
            ) from None


class Checkpoints:
    """The checkpoints of a run.

    Args:
        run: the run folder.
        keep: newest ones that stay; the one with the least validation loss stays as well.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self.path, self.keep = run / FOLDER, keep

    def all(self) -> list[Checkpoint]:
        """From the oldest to the newest.

        Raises:
            InputError: a state.json cannot be read.
        """
        found = []
        for file in sorted(self.path.glob(f"step-*/{_STATE}")):
            try:
                found.append(Checkpoint(file.parent, json.loads(file.read_text(encoding="utf-8"))))
            except (OSError, ValueError):
                raise InputError(
                    f"{file}: damaged; remove {file.parent} to go on from the checkpoint before it"
                ) from None
        return found

    def newest(self) -> Checkpoint | None:
        return max(self.all(), key=lambda checkpoint: checkpoint.step, default=None)

    def best(self) -> Checkpoint | None:
        """The one with the least validation loss, if any has one."""
        validated = [checkpoint for checkpoint in self.all() if math.isfinite(checkpoint.val_rec)]
        return min(validated, key=lambda checkpoint: checkpoint.val_rec, default=None)

    def save(self, model: Autoencoder, tensors: Tensors, state: dict[str, Any]) -> Checkpoint:
        """Write one, then remove those that need not stay.

        Args:
            model: the model to use.
            tensors: what else is needed to go on.
            state: JSON values; `step` and `val_rec` among them.

        Raises:
            InputError: it cannot be written; the older ones are as they were.
        """
        path = self.path / f"step-{state['step']:08d}"
        try:
            with atomic_folder(path, overwrite=True) as folder:
                save_folder(model, folder / _MODEL)
                save_file({name: t.contiguous() for name, t in tensors.items()}, folder / _TENSORS)
                text = json.dumps(state, indent=2) + "\n"
                (folder / _STATE).write_text(text, encoding="utf-8")
        except InputError as error:
            reason = getattr(error.__cause__, "strerror", None) or str(error.__cause__)
            raise InputError(
                f"cannot write {path}: {reason}; make room and resume, earlier checkpoints are as "
                "they were"
            ) from None
        self._prune()
        return Checkpoint(path, state)

    def sweep(self) -> None:
        """Remove what a killed process left half written."""
        for left in self.path.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _prune(self) -> None:
        best = self.best()
        for checkpoint in self.all()[: -self.keep]:
            if best is None or checkpoint.path != best.path:
                shutil.rmtree(checkpoint.path)
