"""Folders of damaged videos with two good ones among them, through `extract`, `predict` and
`prepare`: what became of every file, and is anything lost, left over or unreadable."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trust_files import Videos, other_formats, write_clips
from benchmarks.trust_runs import Setup, Tally, Tried, leftovers, start
from openmarlin.data.features import Features
from openmarlin.data.store import Store
from openmarlin.errors import OpenMarlinError
from openmarlin.model.io import save_folder
from tests.task_models import FAKE, encoder, saved

IN_FULL, IN_PART, REFUSED, FAULT = "read in full", "read in part", "refused", "fault"
GOOD = ("00-good.mp4", "zz-good.mkv")
MOST_MIB = 2048
CPU_S, CPU_S_A_FILE, WALL_TIMES = 40, 2, 30
"""Processor time of a run, and how much longer it may take by the clock: machines are shared."""

_DATA_BYTES = 6 << 30  # threads reserve stacks; what is resident is compared with `MOST_MIB`
_NO_FACE = re.compile(r"no face (found|to keep|seen)")
_WORST = ("internal error", "the process that read it died")


@dataclass(frozen=True)
class Found:
    """What a run left of a folder of videos, by their names.

    Attributes:
        rows: something comparable for every video that is in the result.
        reasons: of failures.csv.
    """

    rows: Mapping[str, Any]
    reasons: Mapping[str, str]


def read_reasons(out: Path) -> dict[str, str]:
    path = out / "failures.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["video"]).name: row["reason"] for row in csv.DictReader(file)}


def read_features(out: Path) -> dict[str, Any]:
    features = Features.load(out)
    names = [Path(video).name for video in features.table.column("video").to_pylist()]
    vectors = features.embeddings
    return {name: vectors[[n == name for n in names]] for name in dict.fromkeys(names)}


def read_predictions(out: Path) -> dict[str, Any]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    judged = [row for row in rows if not row["note"].startswith("not read")]
    return {Path(row["video"]).name: np.array([float(row["p_fake"] or "nan")]) for row in judged}


def read_store(out: Path) -> dict[str, Any]:
    store = Store(out)
    if damage := store.verify():
        raise OpenMarlinError(damage[0])
    pictures: dict[str, list[np.ndarray]] = {}
    for number, track in enumerate(store.tracks):
        images, cells = store.read(number, range(track.n_frames))
        pictures.setdefault(Path(track.video).name, []).append(images)
        assert cells.any()
    return {name: np.concatenate(images) for name, images in pictures.items()}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "extract": read_features,
    "predict": read_predictions,
    "prepare": read_store,
}


class VideoFuzz:
    """Runs over folders of damaged videos.

    Args:
        folder: for everything that is made; what a batch needed is removed after it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clips = write_clips(folder / "clips")
        self.videos = Videos(clips, other_formats(folder / "others"))
        self.good = dict(zip(GOOD, (clips[1], clips[4]), strict=True))
        small, model = folder / "encoder", folder / "model"
        if not model.is_dir():
            save_folder(encoder(), small)
            saved(model, FAKE)
        self.options: dict[str, list[str]] = {
            "extract": ["--model", str(small), "--workers", "1"],
            "predict": ["--model", str(model), "--workers", "1"],
            "prepare": [
                "--size",
                "64",
                "--min-face-px",
                "8",
                "--min-frames",
                "4",
                "--workers",
                "1",
            ],
        }
        self._expected: dict[str, Mapping[str, Any]] = {}

    def expected(self, verb: str) -> Mapping[str, Any]:
        """What the good files give when they are alone."""
        if verb not in self._expected:
            found, fault = self._run(verb, [], f"{verb}-good")
            assert not fault, fault
            assert set(found.rows) == set(GOOD), found
            self._expected[verb] = found.rows
        return self._expected[verb]

    def batch(self, verb: str, numbers: Sequence[int], tally: Tally) -> None:
        """Try the damaged videos of these numbers as one folder; then one by one if need be."""
        name = f"{verb}-{numbers[0]:05d}"
        self.expected(verb)
        found, fault = self._run(verb, numbers, name)
        kinds = {n: self.videos.make(n)[:2] for n in numbers}
        if fault and len(numbers) > 1:
            for number in numbers:
                self.batch(verb, [number], tally)
            if not any(tally.tried[f"{verb} {n}"].fault for n in numbers):
                # None of them does it alone: it is counted for the first.
                key = f"{verb} {numbers[0]}"
                tally.add([Tried(key, verb, kinds[numbers[0]][1], FAULT, f"together: {fault}")])
            return
        tried = []
        for number, (file, kind) in kinds.items():
            outcome, why = (FAULT, fault) if fault else _outcome(found, file)
            tried.append(Tried(f"{verb} {number}", verb, kind, outcome, why))
        tally.add(tried)

    def _run(self, verb: str, numbers: Sequence[int], name: str) -> tuple[Found, str]:
        """What a run over these files leaves, and what is wrong with the run as a whole."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        videos, out = place / "videos", place / "out"
        videos.mkdir(parents=True)
        for target, source in self.good.items():
            shutil.copy(source, videos / target)
        for number in numbers:
            file, _, data = self.videos.make(number)
            (videos / file).write_bytes(data)
        cpu_s = CPU_S + CPU_S_A_FILE * len(numbers)
        words = [verb, videos, "--out", out, "--limit-seconds", "2", *self.options[verb]]
        end = start(words, place, Setup(_DATA_BYTES, cpu_s)).wait(WALL_TIMES * cpu_s)
        fault = end.fault()
        if not fault and end.peak_mib > MOST_MIB:
            fault = f"memory: {end.peak_mib:.0f} MiB"
        if not fault and end.code == 2:
            fault = f"nothing done: {end.line}"
        found = Found({}, {})
        if not fault:
            found, fault = self._look(verb, out)
        if not fault and (left := leftovers(out, place / "temp")):
            fault = f"left over: {left[0]}"
        if not fault and numbers:
            fault = _lost(self.expected(verb), found)
        if not fault:
            shutil.rmtree(place)
        return found, fault

    def _look(self, verb: str, out: Path) -> tuple[Found, str]:
        try:
            return Found(READERS[verb](out), read_reasons(out)), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the folder cannot be read
            return Found({}, {}), f"result unreadable: {error!r}"


def _lost(expected: Mapping[str, Any], found: Found) -> str:
    """Which good file has not given what it gives alone."""
    for name, values in expected.items():
        if name in found.reasons:
            return f"lost: {name} ({found.reasons[name]})"
        same = found.rows.get(name)
        if same is None or same.shape != values.shape:
            return f"lost: {name}"
        # Batches mix videos, so that sums are taken in another order.
        if not np.allclose(same, values, atol=1e-4, equal_nan=True):
            return f"changed: {name}"
    return ""


def _outcome(found: Found, name: str) -> tuple[str, str]:
    """What became of a damaged file, and what is wrong with that."""
    reason = found.reasons.get(name, "")
    if "\n" in reason or len(reason) > 600:
        return FAULT, f"no single line: {reason[:200]!r}"
    if any(word in reason for word in _WORST):
        return FAULT, reason
    if name not in found.rows and not reason:
        return FAULT, "neither in the result nor listed"
    if "partly read" in reason:
        return IN_PART, ""
    if name in found.rows or _NO_FACE.match(reason):
        return IN_FULL, ""
    return REFUSED, ""
