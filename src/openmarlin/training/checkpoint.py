"""Checkpoints: everything a run needs to go on, and a model to use, in one folder each.

    RUN/checkpoints/step-00001000/
        model/                  what the task exports: weights to use
        training.safetensors    all players' weights and optimizers, the EMA
        state.json              step, and the metrics of the last validation

A checkpoint appears whole or not at all, and older ones go only when a newer one is there.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from openmarlin.errors import InputError
from openmarlin.files import atomic_folder
from openmarlin.model.tensor_files import Tensors
from openmarlin.training.task import Monitor, Progress

FOLDER = "checkpoints"
_MODEL, _TENSORS, _STATE = "model", "training.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One that is there.

    Attributes:
        path: its folder.
        progress: how many steps are done, and of how many.
        metrics: of the validation after that very step; empty without one.
    """

    path: Path
    progress: Progress
    metrics: Mapping[str, float]

    @property
    def step(self) -> int:
        return self.progress.step

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.path / _MODEL

    def tensors(self) -> Tensors:
        """What `Trainer.restore` needs.

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
        monitor: tells which one is the best; without it none is.
        keep: newest ones that stay; the best one stays as well.
    """

    def __init__(self, run: Path, monitor: Monitor | None = None, keep: int = 1) -> None:
        self.path, self.monitor, self.keep = run / FOLDER, monitor, keep

    def all(self) -> list[Checkpoint]:
        """From the oldest to the newest.

        Raises:
            InputError: a state.json cannot be read.
        """
        return [_read(file) for file in sorted(self.path.glob(f"step-*/{_STATE}"))]

    def newest(self) -> Checkpoint | None:
        return max(self.all(), key=lambda checkpoint: checkpoint.step, default=None)

    def best(self) -> Checkpoint | None:
        """The one with the best monitored metric, if any has one; of equal ones the oldest."""
        if self.monitor is None:
            return None
        metric, mode = self.monitor
        validated = [c for c in self.all() if math.isfinite(c.metrics.get(metric, math.nan))]
        sign = 1 if mode == "min" else -1
        return min(validated, key=lambda c: sign * c.metrics[metric], default=None)

    def save(
        self,
        export: Callable[[Path], None],
        tensors: Tensors,
        progress: Progress,
        metrics: Mapping[str, float],
    ) -> Checkpoint:
        """Write one, then remove those that need not stay.

        Args:
            export: writes the model to a folder that is given to it.
            tensors: what else is needed to go on.
            progress: of the run.
            metrics: of a validation of these very weights.

        Raises:
            InputError: it cannot be written; the older ones are as they were.
        """
        path = self.path / f"step-{progress.step:08d}"
        try:
            with atomic_folder(path, overwrite=True) as folder:
                (folder / _MODEL).mkdir()
                export(folder / _MODEL)
                save_file({name: t.contiguous() for name, t in tensors.items()}, folder / _TENSORS)
                state = {**progress._asdict(), "metrics": dict(metrics)}
                text = json.dumps(state, indent=2) + "\n"
                (folder / _STATE).write_text(text, encoding="utf-8")
        except (InputError, SafetensorError) as error:
            cause = error.__cause__ or error
            reason = getattr(cause, "strerror", None) or str(cause)
            raise InputError(
                f"cannot write {path}: {reason}; make room and resume, earlier checkpoints are as "
                "they were"
            ) from None
        self._prune()
        return Checkpoint(path, progress, metrics)

    def _prune(self) -> None:
        best = self.best()
        for checkpoint in self.all()[: -self.keep]:
            if best is None or checkpoint.path != best.path:
                shutil.rmtree(checkpoint.path)


def _read(file: Path) -> Checkpoint:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        return Checkpoint(file.parent, Progress(state["step"], state["steps"]), state["metrics"])
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"{file}: damaged; remove {file.parent} to go on from the checkpoint before it"
        ) from None
