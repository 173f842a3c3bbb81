"""`pretrain`: a store of faces -> a pre-trained model folder."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.samples import ClipDataset, Key, SampleStream, StepBatches, split_tracks
from openmarlin.data.store import INDEX_FILE, Store, sha256_of
from openmarlin.errors import InputError, TrainingError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import load
from openmarlin.report.pretrain import write_run_report
from openmarlin.report.reconstruction import draw_reconstructions
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import Engine, Tensors, is_main_process
from openmarlin.training.log import Pace, RunLog
from openmarlin.training.run import (
    CONFIG_FILE,
    NON_FINITE_FILE,
    PICTURES,
    RunFolder,
    stop_signals,
)
from openmarlin.training.schedule import count_steps, make_schedule
from openmarlin.training.settings import PretrainSettings, read_settings
from openmarlin.training.start import initial_model
from openmarlin.training.trainer import Batch, NonFiniteLossError, Trainer, Validation


@dataclass(frozen=True)
class Pretraining:
    """What came of a run.

    Attributes:
        out: the run folder.
        model: the newest model folder: `out`/model once the run has ended.
        step: finished steps.
        steps: of the whole run.
        val_rec: reconstruction loss on held-out clips, the newest; None without a validation.
    """

    out: Path
    model: Path | None
    step: int
    steps: int
    val_rec: float | None

    @property
    def stopped(self) -> bool:
        """A signal ended it early; with `resume` it goes on."""
        return self.step < self.steps


def pretrain(
    config: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Pretraining:
    """Pre-train a model on a store.

    Args:
        config: a recipe, a YAML file of settings; None for none, or with `resume` the run's own.
        changes: settings that differ from it, as the command line gives them: `{"batch": "8",
            "shape.image_size": "64"}`.
        resume: go on with the run in `out`, from its newest checkpoint.
        overwrite: replace an earlier run in `out`.
        progress: show a progress bar and say what is going on.
        settings: the same as `changes`, as keywords: data=..., out=..., steps=...; see
            `openmarlin.training.settings.PretrainSettings` for all of them.

    Raises:
        OpenMarlinError: the request cannot be carried out, or training cannot go on.
    """
    asked = _settings(config, {**(changes or {}), **settings}, resume)
    with ExitStack() as stack:
        run = _Run(asked)
        folder = None
        if is_main_process():
            folder = stack.enter_context(RunFolder(asked, resume=resume, overwrite=overwrite))
        run.load(run.checkpoints.newest() if resume else None)
        if folder is not None:
            folder.begin()
        run.engine.launch()
        stack.callback(run.engine.close)
        return run(folder, progress)


def _settings(
    config: str | Path | None, changes: Mapping[str, Any], resume: bool
) -> PretrainSettings:
    if resume and config is None and "out" in changes:
        config = Path(changes["out"]).expanduser() / CONFIG_FILE
        if not config.is_file():
            raise InputError(f"{config.parent}: no run to resume (no {CONFIG_FILE} there)")
    return read_settings(Path(config) if config is not None else None, changes)


class _Run:
    """One sitting in one process."""

    def __init__(self, asked: PretrainSettings) -> None:
        self.asked, self.config = asked, asked.architecture()
        self.store = Store(asked.data, asked.damaged)
        train, held_out = split_tracks(self.store.tracks, asked.val_share)
        self.clips = ClipDataset(self.store, train, self.config, asked)
        self.held_out = ClipDataset(
            self.store, held_out or train, self.config, asked, held_out=True
        )
        self.n_held_out = len(held_out)
        _ = self.clips[0, 0]  # what does not fit shows here, not in a loader worker
        self.engine = Engine(
            accelerator=asked.accelerator,
            devices=asked.devices,
            nodes=asked.nodes,
            strategy=asked.strategy,
            precision=asked.precision,
        )
        self.effective_batch = asked.batch * asked.accumulate * self.engine.world
        groups = [self.store.tracks[number].group for number in train]
        self.stream = SampleStream(groups, asked.seed, asked.per_group)
        steps = asked.steps or count_steps(
            asked.epochs or 1, len(self.stream), self.effective_batch
        )
        self.schedule = make_schedule(
            steps, asked.warmup, asked.base_lr, asked.min_lr, self.effective_batch
        )
        self.checkpoints = Checkpoints(asked.out, asked.keep)
        self.folder: RunFolder | None = None
        self.log: RunLog | None = None
        self.done = self.saved = self.validated = 0
        self.val_rec: float | None = None

    def load(self, checkpoint: Checkpoint | None) -> None:
        """Go on from the checkpoint, or begin at the start."""
        self.rest: Tensors = {}
        if checkpoint is not None:
            self._check(checkpoint)
            self.model = load(checkpoint.model, part="full")
            self.done = self.saved = self.validated = checkpoint.step
            self.val_rec, self.rest = checkpoint.state["val_rec"], checkpoint.tensors()
        else:
            self.model = initial_model(self.asked, self.config)

    def __call__(self, folder: RunFolder | None, progress: bool) -> Pretraining:
        """Train to the end or a signal."""
        self.trainer = Trainer(self.engine, self.model, self.asked, self.schedule)
        if self.rest:
            self.trainer.restore(self.rest)
            self.rest = {}
        with ExitStack() as stack:
            self.stop = stack.enter_context(stop_signals())
            if folder is not None:
                self.folder = folder
                self.checkpoints.sweep()
                self.log = stack.enter_context(
                    RunLog(folder.path, self.done, self.schedule.steps, progress=progress)
                )
            self._introduce()
            batches = stack.enter_context(closing(self._batches()))
            self._train(batches)
            newest = self.checkpoints.newest()
            published = newest.model if newest is not None else None
            if folder is not None and newest is not None and self.done == self.schedule.steps:
                published = folder.publish(newest.model)
            if folder is not None:
                self._say(f"report: {write_run_report(folder.path)}")
        return Pretraining(self.asked.out, published, self.done, self.schedule.steps, self.val_rec)

    def _train(self, batches: Iterator[Batch]) -> None:
        asked, total = self.asked, self.schedule.steps
        pace = Pace(self.effective_batch)
        while self.done < total:
            with pace.waiting():
                step_batches = [next(batches) for _ in range(asked.accumulate)]
            if self.engine.any(self.stop.is_set()):
                self._say(f"stopped by a signal after {self.done} steps; resume to go on")
                if self.done > self.saved:
                    self._save()
                return
            self._tell(self._step(step_batches), pace)
            saves = self.done % asked.save_every == 0 or self.done == total
            if saves or self.done % asked.val_every == 0:
                with pace.pausing():
                    self._validate()
            if saves:
                with pace.pausing():
                    self._save()

    def _step(self, batches: list[Batch]) -> dict[str, float]:
        try:
            losses = self.trainer.step(self.done, batches)
        except NonFiniteLossError as error:
            ids = self.engine.gather([batch["id"] for batch in batches])
            told = f"{error} in step {self.done}"
            if self.folder is not None:
                content = {"step": self.done, "error": str(error), "ids": ids}
                file = self.folder.write_json(NON_FINITE_FILE, content)
                told += f"; {file} lists its clips"
            raise TrainingError(f"{told}; {self._other_way()}") from None
        self.done += 1
        return losses

    def _other_way(self) -> str:
        newest = self.checkpoints.newest()
        start = f"init={newest.model}, " if newest is not None else ""
        return f"start a new run with {start}a lower base_lr, clip_grad=1 or precision=fp32"

    def _tell(self, losses: dict[str, float], pace: Pace) -> None:
        pace.steps += 1
        if self.log is None:
            return
        speed, wait = pace.clips_per_s, pace.wait_share
        note = f"rec {losses['rec']:.5f}  {speed:.1f} clips/s  waits {wait:.0%} for data"
        self.log.advance(self.done, note)
        if self.done % self.asked.log_every == 0 or self.done == 1:
            values = {
                **losses,
                "epoch": self.done * self.effective_batch / len(self.stream),
                "lr": self.schedule.lr(self.done - 1),
                "clips_per_s": round(speed, 3),
                "data_wait": round(wait, 4),
                "memory_gb": round(self.engine.peak_memory_gb(), 3),
            }
            self.log.row(self.done, values)
            self.log.write(f"step {self.done} {note}")
            pace.restart()

    def _validate(self) -> None:
        """Every process takes as many clips as the others: divided models need that."""
        asked, engine = self.asked, self.engine
        own = max(1, asked.val_clips // engine.world)
        keys: list[Key] = [(0, engine.rank * own + i) for i in range(own)]
        batches = [keys[start : start + asked.batch] for start in range(0, own, asked.batch)]
        with closing(engine.load(self.held_out, batches, asked.workers)) as loaded:
            found: Validation = self.trainer.validate(loaded, asked.pictures)
        self.val_rec, self.validated = found.rec, self.done
        if not math.isfinite(found.rec):
            raise TrainingError(
                f"after step {self.done} the validation loss is {found.rec}; {self._other_way()}"
            )
        if self.log is None or self.folder is None:
            return
        self.log.row(self.done, {"val_rec": found.rec})
        self._say(f"step {self.done} of {self.schedule.steps}: validation rec {found.rec:.5f}")
        if found.clips:
            path = self.folder.path / PICTURES / f"step-{self.done:08d}.png"
            draw_reconstructions(path, [astuple(clip) for clip in found.clips], self.config)

    def _save(self) -> None:
        weights, rest = self.trainer.state()
        if self.folder is not None:
            asked, steps = self.asked, self.schedule.steps
            source = f"openmarlin pretrain, step {self.done} of {steps}, store {asked.data.name}"
            config = self.config.changed(
                name=asked.out.resolve().name, trained=True, source=source, licence=""
            )
            with torch.device("meta"):
                model = Autoencoder(config)
            model.load_state_dict(weights, assign=True)
            val_rec = self.val_rec if self.validated == self.done else None
            state = {**self._identity(), "step": self.done, "steps": steps, "val_rec": val_rec}
            self.checkpoints.save(model, rest, state)
        self.saved = self.done
        self.engine.barrier()

    def _batches(self) -> Generator[Batch, None, None]:
        asked, engine = self.asked, self.engine
        batches = StepBatches(
            self.stream,
            range(self.done, self.schedule.steps),
            batch=asked.batch,
            accumulate=asked.accumulate,
            rank=engine.rank,
            world=engine.world,
        )
        return engine.load(self.clips, batches, asked.workers)

    def _identity(self) -> dict[str, Any]:
        """What must be the same when the run goes on."""
        return {
            "processes": self.engine.world,
            "store": sha256_of(self.asked.data / INDEX_FILE),
            "tracks": len(self.store),
        }

    def _check(self, checkpoint: Checkpoint) -> None:
        here = self._identity()
        before = checkpoint.state["processes"]
        if here["processes"] != before:
            raise InputError(
                f"{self.asked.out}: the run had {before} process(es), this one has "
                f"{here['processes']}; resume with as many, or start a new run with "
                f"init={checkpoint.model}"
            )
        if any(here[what] != checkpoint.state[what] for what in ("store", "tracks")):
            raise InputError(
                f"{self.asked.data}: not the store the run in {self.asked.out} was started with; "
                f"give that one, or start a new run with init={checkpoint.model}"
            )

    def _introduce(self) -> None:
        """Say what is about to happen, and why."""
        asked, engine, schedule = self.asked, self.engine, self.schedule
        parameters = sum(p.numel() for p in self.trainer.module.parameters())
        start = (
            f"goes on at step {self.done}"
            if self.done
            else f"starts from {asked.init or 'scratch'}"
        )
        held_out = (
            f"{self.n_held_out} tracks held out"
            if self.n_held_out
            else "none held out: one group of faces alone, so validation shows training clips"
        )
        self._say(
            f"{asked.model}, {parameters / 1e6:.1f} M parameters, {start}, masking "
            f"{asked.masking}, w_adv {asked.w_adv:g}"
        )
        an_epoch = f" ({len(self.stream)} an epoch)" if asked.per_group else ""
        self._say(f"{len(self.clips)} tracks to train on{an_epoch}, {held_out}")
        for problem in self.store.problems:
            self._say(f"left out: {problem}")
        self._say(
            f"effective batch {self.effective_batch} = {asked.batch} clips x {asked.accumulate} "
            f"batches x {engine.world} processes; learning rate up to {schedule.peak:.3g} in "
            f"{schedule.warmup} of {schedule.steps} steps, then down to {schedule.floor:.3g}"
        )
        self._say(f"on {engine.device.type} in {engine.precision}: {engine.reason}")

    def _say(self, text: str) -> None:
        if self.log is not None:
            self.log.say(text)


def announce(result: Pretraining) -> None:
    """Say in a line or two what was made and where to look."""
    if not is_main_process():
        return
    val_rec = "" if result.val_rec is None else f", validation rec {result.val_rec:.5f}"
    console.print(
        f"{result.step} of {result.steps} steps{val_rec} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    if result.stopped:
        console.print("Stopped early; run again with --resume to go on")
