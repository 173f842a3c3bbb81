"""The folder of a run: who may write there, what was asked for, and on which machine.

config.yaml         all settings, as they were resolved
environment.json    machine and versions, a record for every sitting
metrics.jsonl, log.txt, tensorboard/    see `openmarlin.training.log`
checkpoints/        see `openmarlin.training.checkpoint`
pictures/           held-out clips as they are reconstructed
model/              the model, when the run has ended
report.html         see `openmarlin.report.pretrain`
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import yaml

from openmarlin.errors import InputError
from openmarlin.output import atomic
from openmarlin.training import checkpoint, log
from openmarlin.training.settings import PretrainSettings, read_recipe

try:
    import fcntl
except ImportError:  # Windows: nobody watches for two runs in one folder
    fcntl = None  # type: ignore[assignment]

CONFIG_FILE, ENVIRONMENT_FILE, NON_FINITE_FILE = "config.yaml", "environment.json", "nonfinite.json"
MODEL, PICTURES, REPORT_FILE = "model", "pictures", "report.html"
_LOCK = ".lock"
_OURS = (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    NON_FINITE_FILE,
    MODEL,
    PICTURES,
    checkpoint.FOLDER,
    *log.FILES,
    REPORT_FILE,
)
_PACKAGES = ("openmarlin", "torch", "lightning-fabric", "numpy", "opencv-python-headless")

FREE = {"data", "out", "damaged", "accelerator", "devices", "nodes", "workers"}
FREE |= {"val_every", "save_every", "log_every", "keep", "pictures"}
"""Settings that may differ when a run is resumed: they do not change what is learnt."""


class RunFolder:
    """Takes a folder for one run and keeps others out until the process ends or `close`.

    What is in it stays as it was until `begin`.

    Args:
        settings: of the run.
        resume: go on with the run that is there.
        overwrite: remove an earlier run first (only files that a run writes).

    Raises:
        InputError: it is in use, not empty, not a run, or a run with other settings.
    """

    def __init__(
        self, settings: PretrainSettings, *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.path, self.settings, self.resume = settings.out, settings, resume
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; name a folder")
        content = {file.name for file in self.path.iterdir()} if self.path.is_dir() else set()
        content.discard(_LOCK)
        ours = CONFIG_FILE in content
        if resume and not ours:
            raise InputError(f"{self.path}: no run to resume (no {CONFIG_FILE} there)")
        if content and not ours:
            raise InputError(f"{self.path}: not empty and not a run; name another folder")
        if content and not (resume or overwrite):
            raise InputError(
                f"{self.path}: a run is there; add --resume to go on with it, --overwrite to "
                "start anew, or name another folder"
            )
        if not resume and settings.init and _lies_in(self.path, Path(settings.init)):
            raise InputError(
                f"init={settings.init} lies in {self.path}, which --overwrite empties: name "
                "another folder"
            )
        self._lock()
        try:
            if resume:
                _same_settings(self.path, settings)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def begin(self) -> None:
        """Remove an earlier run, unless it goes on, and write down what this one is."""
        if not self.resume:
            self._clear()
        with atomic(self.path / CONFIG_FILE) as part:
            dump = self.settings.model_dump(mode="json")
            part.write_text(yaml.safe_dump(dump, sort_keys=False), encoding="utf-8")
        file = self.path / ENVIRONMENT_FILE
        earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        self.write_json(ENVIRONMENT_FILE, [*earlier, environment()])

    def write_json(self, name: str, content: Any) -> Path:
        """A JSON file in the folder."""
        with atomic(self.path / name) as part:
            part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return self.path / name

    def publish(self, model: Path) -> Path:
        """Copy a checkpoint's model folder to `model/`."""
        target = self.path / MODEL
        part = self.path / f".{MODEL}"
        try:
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(model, part)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"cannot write {target}: {reason}; the model is in {model}") from None
        return target

    def _lock(self) -> None:
        """A record lock: other than flock's, loader workers that outlive the run do not hold it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._file = (self.path / _LOCK).open("a+")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None
        if fcntl is None:
            return
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InputError(
                f"{self.path}: another run is using this folder; wait for it or name another"
            ) from None

    def _clear(self) -> None:
        for name in _OURS:
            old = self.path / name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """The event is set by SIGTERM or Ctrl-C; a second Ctrl-C interrupts at once."""
    event = threading.Event()

    def handle(number: int, _frame: Any) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment() -> dict[str, Any]:
    """What a reader must know to run the same again."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _lies_in(folder: Path, other: Path) -> bool:
    return other.exists() and folder.resolve() in (other.resolve(), *other.resolve().parents)


def _same_settings(path: Path, settings: PretrainSettings) -> None:
    before, now = read_recipe(path / CONFIG_FILE), settings.model_dump(mode="json")
    changed = [key for key in now if key not in FREE and before.get(key) != now[key]]
    if changed:
        told = ", ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in changed)
        raise InputError(
            f"{path}: the run has other settings ({told}); resume with the same, or start a new "
            "run with init= one of its checkpoints"
        )
