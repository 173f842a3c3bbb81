"""What came of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from openmarlin.training.fit import Fitted
from openmarlin.training.task import Monitor


@dataclass(frozen=True)
class TrainingResult:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the newest model folder: `out`/model once the run has ended.
        step: finished steps.
        steps: of the whole run.
        monitor: the metric that tells which validation is the best.
        best: step and value of the best validation; None without any.
        metrics: of the newest validation.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    monitor: str
    best: tuple[int, float] | None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps

    @classmethod
    def of(cls, out: Path, fitted: Fitted, monitor: Monitor) -> Self:
        """Of a run in the folder `out`."""
        name = monitor.metric
        return cls(out, fitted.model, *fitted.progress, name, fitted.best, fitted.metrics)
