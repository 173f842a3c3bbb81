"""The one loop of every training.

A step: `Trainer.step` (training/trainer.py) with batches of `Engine.load`. Every so often a row of
metrics, a validation, a checkpoint; a signal ends it after a checkpoint.

    RUN/metrics.jsonl, log.txt, tensorboard/    see `openmarlin.training.log`
    RUN/checkpoints/                            see `openmarlin.training.checkpoint`
    RUN/pictures/                               what there is to see of a validation
    RUN/nonfinite.json                          clips whose losses were not finite
    RUN/model/                                  the model, when the run has ended
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from openmarlin.data.dataset import Key, StepBatches, TrainingData
from openmarlin.errors import InputError, TrainingError, option
from openmarlin.files import atomic_folder
from openmarlin.output import OutputFolder
from openmarlin.training import checkpoint, log
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import Engine, is_out_of_memory
from openmarlin.training.log import Pace, RunLog
from openmarlin.training.optim import schedule_of
from openmarlin.training.settings import Cadence, RunSettings
from openmarlin.training.signals import stop_signals
from openmarlin.training.task import Batch, Progress, Task
from openmarlin.training.trainer import NonFiniteLossError, Trainer

NON_FINITE_FILE, MODEL, PICTURES = "nonfinite.json", "model", "pictures"
FILES = (NON_FINITE_FILE, MODEL, PICTURES, checkpoint.FOLDER, *log.FILES)
"""What a training writes to its folder."""


Draw = Callable[[Path, int, Sequence[Any]], None]
"""Makes files of a task's pictures: their folder, the step, the pictures."""


@dataclass(frozen=True)
class Run:
    """Where and how a task is trained.

    Attributes:
        settings: of the run.
        engine: entered.
        folder: begun; None in processes that do not write.
        start: what to go on from.
        draw: makes files of the task's `pictures`.
        progress: show a bar on the terminal, and what is going on.
    """

    settings: RunSettings
    engine: Engine
    folder: OutputFolder | None
    start: Checkpoint | None = None
    draw: Draw | None = None
    progress: bool = False


@dataclass(frozen=True)
class Fitted:
    """What came of a training.

    Attributes:
        progress: finished steps, and steps of the whole run: as many, if it ended early.
        model: the newest exported model, the run's own once it has ended; None without any.
        metrics: of the newest validation.
        best: step and value of the best validation, by the task's monitor; None without any.
    """

    progress: Progress
    model: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: tuple[int, float] | None = None


def fit(task: Task, data: TrainingData, run: Run) -> Fitted:
    """Train to the end or a signal.

    Every process of the run must call it.

    Args:
        task: what is trained; its players are put on the devices.
        data: what it sees.
        run: where and how.

    Raises:
        TrainingError: a loss is not finite.
        InputError: a disk is full, data are damaged.
    """
    with ExitStack() as stack:
        loop = _Loop(task, data, run, stack.enter_context(stop_signals()))
        if run.folder is not None:
            loop.log = stack.enter_context(
                RunLog(
                    run.folder.path,
                    task.name,
                    loop.done,
                    loop.schedule.steps,
                    progress=run.progress,
                )
            )
        loop.introduce()
        batches = stack.enter_context(closing(loop.batches()))
        loop.train(batches)
        model = loop.model()
        if run.folder is not None and model is not None and loop.has_ended:
            model = _publish(model, run.folder.path / MODEL)
    return Fitted(loop.progress, model, loop.metrics, loop.best)


class _Loop:
    """The state of a training in one process: what is done, validated and saved."""

    def __init__(self, task: Task, data: TrainingData, run: Run, stop: threading.Event) -> None:
        self.task, self.data, self.run, self.stop = task, data, run, stop
        settings, engine = run.settings, run.engine
        self.effective_batch = settings.batch * settings.accumulate * engine.world
        self.schedule = schedule_of(settings, len(data.stream), self.effective_batch)
        self.checkpoints = Checkpoints(settings.out, task.monitor, settings.keep)
        self.trainer = Trainer(engine, task, settings, self.schedule)
        self.log: RunLog | None = None
        self.done = self.saved = self.validated = 0
        self.metrics: Mapping[str, float] = {}
        self.history: list[tuple[int, float]] = []  # steps and monitored values of validations
        if run.start is not None:
            self.trainer.restore(run.start.tensors())
            self.done = self.saved = self.validated = run.start.step
            self.metrics = run.start.metrics
            self.history = self.past_validations()

    @property
    def progress(self) -> Progress:
        return Progress(self.done, self.done if self.has_ended else self.schedule.steps)

    @property
    def has_ended(self) -> bool:
        """All steps are done, or more of them would not help."""
        return self.done == self.schedule.steps or self.ends_early

    @property
    def ends_early(self) -> bool:
        """The schedule or the patience is exhausted."""
        patience = self.run.settings.patience
        if patience is None or self.best is None:
            return self.schedule.has_ended
        later = sum(step > self.best[0] for step, _ in self.history)
        return later >= patience or self.schedule.has_ended

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best validation; of equal ones the first."""
        best: tuple[int, float] | None = None
        for step, value in self.history:
            if best is None or self.task.monitor.is_better(value, best[1]):
                best = step, value
        return best

    def past_validations(self) -> list[tuple[int, float]]:
        """Those of earlier sittings, up to the step that this one goes on from."""
        rows = log.read_metrics(self.run.settings.out / log.METRICS_FILE)
        metric = self.task.monitor.metric
        return [(r["step"], r[metric]) for r in rows if metric in r and r["step"] <= self.done]

    def is_due(self, cadence: Cadence) -> bool:
        """Whether something is done after so many steps."""
        if cadence != "epoch":
            return self.done % cadence == 0
        epoch_steps = len(self.data.stream) / self.effective_batch
        return int(self.done / epoch_steps) > int((self.done - 1) / epoch_steps)

    def model(self) -> Path | None:
        """The exported model that the task asks for, of those that are there."""
        best = self.checkpoints.best() if self.task.publish == "best" else None
        chosen = best or self.checkpoints.newest()
        return None if chosen is None else chosen.model

    def batches(self) -> Generator[Batch, None, None]:
        """This process's, from the first step that is not done."""
        settings, engine = self.run.settings, self.run.engine
        keys = StepBatches(
            self.data.stream,
            range(self.done, self.schedule.steps),
            batch=settings.batch,
            accumulate=settings.accumulate,
            rank=engine.rank,
            world=engine.world,
        )
        return engine.load(self.data.train, keys, settings.workers)

    def train(self, batches: Iterator[Batch]) -> None:
        settings = self.run.settings
        pace = Pace(self.effective_batch)
        while not self.has_ended:
            with pace.waiting():
                step_batches = [next(batches) for _ in range(settings.accumulate)]
            # All processes have to agree: the others would wait for one that has left the loop.
            if self.run.engine.any(self.stop.is_set()):
                self.say(f"stopped by a signal after {self.done} steps; resume to go on")
                if self.done > self.saved:
                    self.save()
                return
            self.report(self.step(step_batches), pace)
            saves = self.is_due(settings.save_every) or self.has_ended
            # Before every checkpoint too, so that the best one can be told.
            if saves or self.is_due(settings.val_every):
                with pace.pausing():
                    self.validate()
                is_best = self.best is not None and self.best[0] == self.done
                saves = saves or self.has_ended or (is_best and self.task.publish == "best")
            if saves:
                with pace.pausing():
                    self.save()
        if self.ends_early:
            self.say(f"ended after {self.done} steps: {self.why_early()}")

    def step(self, batches: list[Batch]) -> dict[str, float]:
        try:
            losses = self.trainer.step(self.done, batches)
        except NonFiniteLossError as error:
            ids = self.run.engine.gather([batch["id"] for batch in batches])
            line = f"{error} in step {self.done}"
            if self.run.folder is not None:
                content = {"step": self.done, "error": str(error), "ids": ids}
                file = self.run.folder.write_json(NON_FINITE_FILE, content)
                line += f"; {file} lists its clips"
            raise TrainingError(f"{line}; {self.remedy()}") from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory in step {self.done}; give a smaller {option('batch')}, and "
                f"{option('accumulate')} for as many clips a step"
            ) from error
        self.done += 1
        return losses

    def validate(self) -> None:
        """Every process takes as many clips as the others: divided models need that."""
        settings, engine = self.run.settings, self.run.engine
        own = max(1, math.ceil(self.data.val_clips / engine.world))
        keys: list[Key] = [(0, engine.rank * own + i) for i in range(own)]
        batches = [keys[start : start + settings.batch] for start in range(0, own, settings.batch)]
        with closing(engine.load(self.data.held_out, batches, settings.workers)) as loaded:
            self.metrics = self.trainer.validate(loaded)
        self.validated = self.done
        if (value := self.metrics.get(self.task.monitor.metric)) is not None:
            self.history.append((self.done, value))
        text = ", ".join(f"{name} {value:.5f}" for name, value in self.metrics.items())
        if not all(map(math.isfinite, self.metrics.values())):
            raise TrainingError(
                f"the validation after step {self.done} is not finite ({text}); {self.remedy()}"
            )
        if self.log is None:
            return
        self.log.row(self.done, dict(self.metrics))
        self.say(f"step {self.done} of {self.schedule.steps}: {text}")
        if self.run.draw is not None and (pictures := self.task.pictures()):
            self.run.draw(self.run.settings.out / PICTURES, self.done, pictures)

    def save(self) -> None:
        weights, rest = self.trainer.state()
        if self.run.folder is not None:
            export = partial(self.task.export, weights=weights, progress=self.progress)
            metrics = self.metrics if self.validated == self.done else {}
            self.checkpoints.save(export, rest, self.progress, metrics)
        self.saved = self.done
        self.run.engine.barrier()

    def report(self, losses: dict[str, float], pace: Pace) -> None:
        """Move the bar; every so often a row of metrics."""
        pace.steps += 1
        if self.log is None:
            return
        speed, wait = pace.clips_per_s, pace.wait_share
        note = f"loss {losses['loss']:.5f}  {speed:.1f} clips/s  waits {wait:.0%} for data"
        self.log.advance(self.done, note)
        if self.done % self.run.settings.log_every == 0 or self.done == 1:
            values = {
                **losses,
                "epoch": self.done * self.effective_batch / len(self.data.stream),
                "lr": self.schedule.lr(self.done - 1),
                "clips_per_s": round(speed, 3),
                "data_wait": round(wait, 4),
                "memory_gb": round(self.run.engine.peak_memory_gb(), 3),
            }
            self.log.row(self.done, values)
            self.log.write(f"step {self.done} {note}")
            pace.restart()

    def introduce(self) -> None:
        """Say what is about to happen, and why."""
        settings, engine, schedule = self.run.settings, self.run.engine, self.schedule
        lines = [*self.task.introduction(), *self.data.notes]
        if self.done:
            lines.append(f"goes on after step {self.done}")
        lines.append(
            f"effective batch {self.effective_batch} = {settings.batch} clips x "
            f"{settings.accumulate} batches x {engine.world} processes; learning rate up to "
            f"{schedule.peak:.3g} in {schedule.warmup} of {schedule.steps} steps, then down to "
            f"{schedule.floor:.3g}"
        )
        lines.append(f"on {engine.device.type} in {engine.precision}: {engine.reason}")
        for line in lines:
            self.say(line)

    def why_early(self) -> str:
        if self.schedule.has_ended:
            return f"the learning rate has fallen below {self.schedule.floor:.3g}"
        assert self.best is not None
        return f"the validation after step {self.best[0]} is the best of the last ones"

    def say(self, text: str) -> None:
        if self.log is not None:
            self.log.say(text)

    def remedy(self) -> str:
        """What to do about losses that are not finite."""
        newest = self.checkpoints.newest()
        start = f" from {newest.model}" if newest is not None else ""
        return (
            f"start a new run{start} with a lower {option('base_lr')}, {option('clip_grad', 1)} or "
            f"{option('precision', 'fp32')}"
        )


def _publish(model: Path, target: Path) -> Path:
    """Copy a checkpoint's model to its place in the run folder, whole or not at all."""
    try:
        with atomic_folder(target, overwrite=True) as folder:
            shutil.copytree(model, folder, dirs_exist_ok=True)
    except InputError as error:
        raise InputError(f"{error}; the model is in {model}") from None
    return target
