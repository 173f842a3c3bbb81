"""Requests around damaged files that are no videos: tables, recipes, models, stores."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.trust_files import BYTES, EXTREMES, name_of, write_clips
from benchmarks.trust_runs import CONTEXT, Setup, Tally, Tried, leftovers, limit
from benchmarks.trust_videos import FAULT, MOST_MIB, REFUSED
from openmarlin.data.features import Features
from openmarlin.data.store import Store
from openmarlin.errors import OpenMarlinError
from openmarlin.jobs.extract import extract
from openmarlin.jobs.predict import predict
from openmarlin.jobs.prepare import prepare
from openmarlin.jobs.pretrain import pretrain
from openmarlin.model.io import load, save_folder
from tests.task_models import FAKE, encoder, saved
from tests.toys import TOY, toy_store

DONE, DONE_IN_PART = "done", "done, failures listed"
HANG_S = 400.0
"""No request here takes longer than some seconds; the machine may be shared."""

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 1e308, 2**31, 2**63, 2**70, "", " ", "a", "nan", "inf", "-0"),
    *("\0", "a\0b", "\ufeff", "\u202e", "\ud83d\ude00", "../" * 40 + "etc/passwd", "a" * 300),
    *([], [[]], {}, {"a": 1}, [1, "a", None], float("nan"), float("inf")),
)

COSTS = {
    "extract": {"batch": 4, "workers": 1, "precropped": True, "rate": 2},
    "predict": {"batch": 4, "workers": 1},
    "prepare": {"size": 64, "margin": 8, "workers": 1, "min_frames": 4, "min_face_px": 8},
    "pretrain": {
        **{name: TOY[name] for name in ("model", "shape", "batch", "workers", "val_clips")},
        **{"steps": 2, "accumulate": 1, "critic_steps": 1, "devices": 1, "nodes": 1},
        **{"compile": False, "accelerator": "cpu", "pictures": 0},
    },
}
"""What may be asked for, and takes hours: fixed, so that a damaged recipe does not ask for it."""


def change_values(data: bytearray, rng: random.Random) -> None:
    """A value or two of a JSON or YAML file become something else; a key goes or is misspelt."""
    content = yaml.safe_load(bytes(data).decode())
    for _ in range(rng.choice([1, 1, 2]) if content else 0):
        place: Any = content
        while place:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            inside = place[key]
            if not (isinstance(inside, dict | list) and inside) or rng.random() < 0.2:
                break
            place = inside
        way = rng.random()
        if way < 0.75:
            place[key] = rng.choice(VALUES)
        elif way < 0.85 and isinstance(place, dict):
            place[key + "x"] = place.pop(key)
        elif len(place) > 1:
            del place[key]
    data[:] = json.dumps(content).encode()


def change_cells(data: bytearray, rng: random.Random) -> None:
    """A cell or two of a CSV become something else; a line or a column name comes twice."""
    rows = list(csv.reader(io.StringIO(bytes(data).decode())))
    for _ in range(rng.choice([1, 1, 2])):
        row = rng.choice(rows)
        value = rng.choice(VALUES)
        row[rng.randrange(len(row))] = "" if value is None else str(value)
    if rng.random() < 0.2:
        rows.insert(rng.randrange(len(rows)), list(rng.choice(rows)))
    if rng.random() < 0.2:
        rows[0][rng.randrange(len(rows[0]))] = rng.choice(rows[0])
    text = io.StringIO()
    csv.writer(text, delimiter=rng.choice(",,,;\t|")).writerows(rows)
    data[:] = text.getvalue().encode("utf-8", "surrogatepass")


def change_tensor_head(data: bytearray, rng: random.Random) -> None:
    """The JSON head of a safetensors file says something else."""
    size = int.from_bytes(data[:8], "little")
    head = bytearray(data[8 : 8 + size])
    change_values(head, rng)
    length = rng.choice(EXTREMES) if rng.random() < 0.1 else len(head)
    data[: 8 + size] = length.to_bytes(8, "little") + head


def other_text(data: bytearray, rng: random.Random) -> None:
    """What an editor, a spreadsheet or a joker makes of a text file."""
    text = bytes(data)
    bomb = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(8 * ['*' + chr(97 + i)])}]\n" for i in range(9)
    )
    ways = [b"", b"\xff\xfe" + text.decode().encode("utf-16-le"), b"\xef\xbb\xbf" + text]
    ways += [text.replace(b"\n", b"\r"), text + b"\0" * 100, bomb.encode(), b"[" * 5000]
    ways += [b"PK\x03\x04" + text, b"{" * 5000, text * 50, b"\n" * 5000, text[:-3]]
    data[:] = rng.choice(ways)


@dataclass(frozen=True)
class Target:
    """A file that is damaged.

    Attributes:
        verb: which reads it.
        name: of the row in the table.
        path: where it stands below the materials.
        argument: of the verb that names what it is part of; None for the input itself.
        given: that path, a file or a folder, below the materials.
        ways: how it is damaged beside `BYTES`.
    """

    verb: str
    name: str
    path: str
    argument: str | None
    given: str
    ways: tuple[Callable[[bytearray, random.Random], None], ...] = ()


_TEXT = (change_values, change_values, change_values, other_text)
TARGETS = (
    Target("extract", "table of videos", "videos.csv", None, "videos.csv", (change_cells,) * 9),
    Target("extract", "recipe", "extract.yaml", "config", "extract.yaml", _TEXT * 3),
    Target("extract", "model: config", "encoder/config.json", "model", "encoder", _TEXT * 3),
    Target(
        *("extract", "model: weights", "encoder/model.safetensors", "model", "encoder"),
        (change_tensor_head,) * 5,
    ),
    Target("extract", "checkpoint", "tiny.encoder.pt", "model", "tiny.encoder.pt"),
    Target("predict", "table of labels", "videos.csv", None, "videos.csv", (change_cells,) * 9),
    Target("predict", "model: config", "model/config.json", "model", "model", _TEXT * 3),
    Target(
        *("predict", "model: head", "model/head.safetensors", "model", "model"),
        (change_tensor_head,) * 5,
    ),
    Target("prepare", "table of videos", "videos.csv", None, "videos.csv", (change_cells,) * 9),
    Target("prepare", "recipe", "prepare.yaml", "config", "prepare.yaml", _TEXT * 3),
    Target("pretrain", "store: shard", "store/shard-00000.bin", None, "store"),
    Target("pretrain", "store: index", "store/index.json", None, "store", _TEXT * 3),
    Target("pretrain", "store: tracks", "store/tracks.parquet", None, "store"),
    Target("pretrain", "recipe", "pretrain.yaml", "config", "pretrain.yaml", _TEXT * 3),
    Target("pretrain", "model: config", "whole/config.json", "init", "whole", _TEXT * 3),
    Target(
        *("pretrain", "model: weights", "whole/model.safetensors", "init", "whole"),
        (change_tensor_head,) * 5,
    ),
)

VERBS: dict[str, Callable[..., Any]] = {
    **{"extract": extract, "predict": predict},
    **{"prepare": prepare, "pretrain": pretrain},
}


class Requests:
    """Requests by number: the same number gives the same damage.

    Args:
        folder: for everything that is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.good = folder, folder / "good"
        if not (self.good / "pretrain.yaml").is_file():
            make_materials(self.good)

    def batch(self, numbers: Sequence[int], tally: Tally) -> None:
        """Try these numbers, in a process that is replaced where it dies or hangs."""
        results = self.folder / "results.jsonl"
        results.unlink(missing_ok=True)
        todo = list(numbers)
        while todo:
            process = CONTEXT.Process(target=self._work, args=(todo, results))
            process.start()
            why = _watch(process, results)
            done = list(Tally(results).tried.values())
            tally.add(one for one in done if one.key not in tally)
            todo = [number for number in todo if f"requests {number}" not in tally]
            if why and todo:
                target, kind, _ = self.damage(todo[0])
                row = f"{target.verb}: {target.name}"
                tally.add([Tried(f"requests {todo.pop(0)}", row, kind, FAULT, why)])

    def damage(self, number: int) -> tuple[Target, str, bytes]:
        """Which file is damaged, how, and its bytes then."""
        rng = random.Random(f"request {number}")
        target = TARGETS[number % len(TARGETS)]
        data = bytearray((self.good / target.path).read_bytes())
        way = rng.choice((*BYTES, *target.ways))
        way(data, rng)
        return target, name_of(way), bytes(data)

    def check_good(self) -> None:
        """Undamaged, every verb does what it is asked: else nothing here means anything."""
        for target in TARGETS:
            out = self.folder / "good-out"
            came = self._call(target, self.good, out, skip=False)
            assert came == (DONE, ""), (target, came)
            shutil.rmtree(out)

    def _work(self, numbers: Sequence[int], results: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        torch.set_num_threads(1)
        temp = self.folder / "temp"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temp)
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        limit(Setup(data_bytes=6 << 30))
        tally = Tally(results)
        for number in numbers:
            tally.add([self.try_one(number, temp)])
            if tally.faults:  # its memory and threads must not be taken for the next one's
                return

    def try_one(self, number: int, temp: Path) -> Tried:
        """Make the request of this number in this process."""
        target, kind, data = self.damage(number)
        place, out = self.folder / "now", self.folder / "out"
        for old in (place, out):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(self.good, place, copy_function=os.link)
        damaged = place / target.path
        damaged.unlink()
        damaged.write_bytes(data)
        outcome, fault = self._call(target, place, out, skip=number % 3 == 0)
        left = leftovers(*(folder for folder in (out, temp) if folder.is_dir()))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if not fault and left:
            fault = f"left over: {left[0]}"
        if not fault and peak_mib > MOST_MIB:
            fault = f"memory: {peak_mib:.0f} MiB"
        row = f"{target.verb}: {target.name}"
        return Tried(f"requests {number}", row, kind, FAULT if fault else outcome, fault)

    def _call(self, target: Target, place: Path, out: Path, *, skip: bool) -> tuple[str, str]:
        words: dict[str, Any] = {"out": out, **COSTS[target.verb]}
        given = place / target.given
        source = place / ("store" if target.verb == "pretrain" else "videos.csv")
        if target.argument is not None:
            words[target.argument] = given
        if target.verb in ("extract", "predict"):
            words = {"model": place / ("encoder" if target.verb == "extract" else "model"), **words}
        if target.verb == "pretrain" and skip:
            words["damaged"] = "skip"
        try:
            result = VERBS[target.verb](source, **words)
            _look(target.verb, out)
        except OpenMarlinError as error:
            text = str(error)
            wrong = "\n" in text or not text.strip() or len(text) > 1500
            return REFUSED, f"no single line: {text[:300]!r}" if wrong else ""
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            traceback.print_exc()
            return FAULT, f"{error!r:.300} at {Path(where.filename).name}:{where.lineno}"
        failures = getattr(result, "failures", {})
        worst = next((why for why in failures.values() if "internal error" in why), "")
        return (DONE_IN_PART if failures else DONE), worst


def _watch(process: Any, results: Path) -> str:
    """Wait for a process as long as it gets on; why it did not end by itself."""
    seen, since = -1, time.monotonic()
    while process.exitcode is None:
        process.join(0.5)
        size = results.stat().st_size if results.is_file() else 0
        if size != seen:
            seen, since = size, time.monotonic()
        elif time.monotonic() > since + HANG_S:
            process.kill()
            process.join()
            return "hang: time limit"
    return f"crash: exit code {process.exitcode}" if process.exitcode else ""


def _look(verb: str, out: Path) -> None:
    """Read back what a verb has written."""
    if verb == "extract":
        Features.load(out)
    elif verb == "prepare":
        Store(out)
    elif verb == "pretrain":
        load(out / "model", "full")


def make_materials(folder: Path) -> None:
    """Good files of every kind that requests are made of."""
    clips = write_clips(folder)
    rows = [["video", "start_s", "end_s", "group", "split", "smile"]]
    for i, clip in enumerate(clips[:3]):
        rows.append([clip.name, "0", "0.6", f"person {i}", "train", str(i % 2)])
    text = "".join(",".join(row) + "\n" for row in rows)
    (folder / "videos.csv").write_text(text)
    save_folder(encoder(), folder / "encoder")
    state = {f"encoder.{k}": v for k, v in load("tiny").state_dict().items()}
    torch.save(state, folder / "tiny.encoder.pt")
    saved(folder / "model", FAKE)
    toy_store(folder / "store", tracks=4)
    recipe = {"align": False, "faces": "largest", "stride": 16, "tail": "pad", "tokens": False}
    recipe |= {"limit_seconds": 2.0, "precision": "fp32", "backend": "torch"}
    (folder / "extract.yaml").write_text(yaml.safe_dump(recipe))
    crops = {"max_frames": 100, "sound": True, "points": True, "limit_seconds": 2.0}
    (folder / "prepare.yaml").write_text(yaml.safe_dump(crops))
    training = {**TOY, "steps": 2, "masking": "fasking", "flip": True, "betas": [0.9, 0.95]}
    run = pretrain(folder / "store", out=folder / "run", **{**TOY, "steps": 1, "pictures": 0})
    assert run.model is not None
    shutil.move(run.model, folder / "whole")
    shutil.rmtree(folder / "run")
    (folder / "pretrain.yaml").write_text(yaml.safe_dump(training))
