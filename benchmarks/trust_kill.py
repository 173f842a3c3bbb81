"""`extract`, `predict`, `prepare` and `pretrain` killed and gone on with.

    python -m benchmarks.trust_kill --points 200 --minutes 60

SIGKILL to every process of a run: before a change of a file in its folder chosen by number, or at a
random moment. Some are killed again while they resume. Then `--resume`, and what is there must be
what an undisturbed run leaves: the same files, tables, numbers and weights, nothing twice, nothing
left over. What has been tried is kept in --work, and a later call goes on with it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.trust_files import write_clips
from benchmarks.trust_runs import JOBS, End, Setup, Tally, Tried, leftovers, start
from openmarlin.model.io import save_folder
from openmarlin.training.log import read_metrics
from tests.task_models import FAKE, encoder, saved
from tests.toys import TOY, toy_store

EQUAL, TOO_LATE, FAULT = "equal to an undisturbed run", "had ended before", "fault"
LIMIT_S = 600.0
_AGAIN = 0.25  # share of the runs that are killed a second time
_OF_THE_CLOCK = {"epoch", "lr", "step", "loss", "rec", "adv", "critic", "val_rec"}


def read_table(out: Path, name: str) -> Any:
    """A table as columns; vectors as one array, for they are compared with a tolerance."""
    table = pq.read_table(out / name).to_pydict()
    return {key: np.array(values) for key, values in table.items()}


def same_tables(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal but for the order of sums: batches mix videos, and a resumed run has others."""
    if one.keys() != other.keys():
        return False
    for name, values in one.items():
        if values.shape != other[name].shape:
            return False
        if values.dtype.kind == "f":
            if not np.allclose(values, other[name], atol=1e-4, equal_nan=True):
                return False
        elif not (values == other[name]).all():
            return False
    return True


def curve(out: Path) -> list[dict[str, float]]:
    """What a training said, without its speed."""
    rows = read_metrics(out / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key in _OF_THE_CLOCK} for row in rows]


def compare_tables(out: Path, whole: Path, name: str) -> str:
    same = same_tables(read_table(out, name), read_table(whole, name))
    return "" if same else f"{name} differs"


def compare_bytes(out: Path, whole: Path, patterns: tuple[str, ...]) -> str:
    names = [path.relative_to(whole) for pattern in patterns for path in whole.glob(pattern)]
    assert names
    differ = [name for name in names if (out / name).read_bytes() != (whole / name).read_bytes()]
    return f"{differ[0]} differs" if differ else ""


def compare_training(out: Path, whole: Path) -> str:
    if curve(out) != curve(whole):
        return "the curve differs"
    return compare_bytes(out, whole, ("model/*.safetensors", "checkpoints/*/*.safetensors"))


COMPARE: dict[str, Callable[[Path, Path], str]] = {
    "extract": lambda out, whole: compare_tables(out, whole, "features.parquet"),
    "predict": lambda out, whole: compare_tables(out, whole, "windows.parquet"),
    "prepare": lambda out, whole: compare_bytes(out, whole, ("shard-*.bin", "tracks.parquet")),
    "pretrain": compare_training,
}


def files(out: Path) -> list[str]:
    """Names of what a run has written; TensorBoard puts the time into its own."""
    names = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    return sorted(name for name in names if not name.startswith("tensorboard/"))


@dataclass(frozen=True)
class Whole:
    """An undisturbed run.

    Attributes:
        out: its folder.
        code: how it ended: 1 where a video is damaged.
        changes: how many files it opened to write, moved or removed.
        seconds: from the moment its folder was there.
    """

    out: Path
    code: int
    changes: int
    seconds: float


class Kills:
    """Runs that are killed.

    Args:
        folder: for everything that is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "recipe.yaml").is_file():
            _make_materials(folder)
        videos = [str(folder / "videos"), "--workers"]
        small = ["--size", "64", "--margin", "0", "--min-frames", "4", "--min-face-px", "8"]
        self.words: dict[str, list[str]] = {
            "extract": [*videos, "1", "--model", str(folder / "encoder"), "--tokens"],
            "predict": [*videos, "1", "--model", str(folder / "model")],
            "prepare": [*videos, "1", *small],
            "pretrain": [str(folder / "store"), "--config", str(folder / "recipe.yaml")],
        }
        self._whole: dict[str, Whole] = {}

    def whole(self, verb: str) -> Whole:
        """The undisturbed run of a verb; made when it is first asked for."""
        if verb not in self._whole:
            place = self.folder / f"{verb}-whole"
            shutil.rmtree(place, ignore_errors=True)
            out = place / "out"
            run = start([verb, *self.words[verb], "--out", out], place, Setup(watched=out))
            began = _wait_for(out, run)
            end = run.wait(LIMIT_S)
            assert not end.fault(), end
            assert end.code in (0, 1), end
            seconds = time.monotonic() - began
            self._whole[verb] = Whole(out, end.code, end.changes, seconds)
        return self._whole[verb]

    def try_one(self, verb: str, number: int) -> list[Tried]:
        """Kill run `number` of a verb once or twice, resume it, and compare: one line a kill."""
        rng = random.Random(f"kill {verb} {number}")
        whole, place = self.whole(verb), self.folder / f"{verb}-{number}"
        shutil.rmtree(place, ignore_errors=True)
        out = place / "out"
        words = [verb, *self.words[verb], "--out", str(out)]
        kills, killed = [], 0
        for again in range(1 + (rng.random() < _AGAIN)):
            kind, ended = self._kill(words, place, whole, rng)
            kills.append((kind, ended))
            killed += ended is None
            if again == 0:
                words.append("--resume")
        end = start(words, place, name="resume").wait(LIMIT_S)
        fault = self.look(verb, place, end)
        if not fault:
            shutil.rmtree(place)
        tried = []
        for again, (kind, ended) in enumerate(kills):
            outcome = FAULT if fault else EQUAL if ended is None else TOO_LATE
            tried.append(Tried(f"{verb} {number}.{again}", verb, kind, outcome, fault))
        return tried

    def _kill(
        self, words: list[str], place: Path, whole: Whole, rng: random.Random
    ) -> tuple[str, End | None]:
        """One kill; how it was chosen, and the end of the run if that came first."""
        out, resumes = place / "out", words[-1] == "--resume"
        if rng.random() < 0.5:
            at = rng.randint(1, whole.changes)
            end = start(words, place, Setup(kill_at=at, watched=out)).wait(LIMIT_S)
            return "resume, change of a file" if resumes else "change of a file", (
                None if end.code == -9 else end
            )
        run = start(words, place)
        _wait_for(out, run)
        time.sleep(rng.random() * whole.seconds * (0.3 if resumes else 0.6))
        over = run.process.exitcode is not None
        run.kill()
        end = run.wait(LIMIT_S)
        return "resume, random moment" if resumes else "random moment", end if over else None

    def look(self, verb: str, place: Path, end: End) -> str:
        """What is wrong with a run that was gone on with."""
        whole, out = self.whole(verb), place / "out"
        if fault := end.fault():
            return fault
        if end.code != whole.code:
            return f"exit code {end.code}, not {whole.code}: {end.line or end.log[-200:]}"
        if left := leftovers(out):
            return f"left over: {left[0]}"
        if files(out) != files(whole.out):
            odd = sorted(set(files(out)) ^ set(files(whole.out)))
            return f"files differ: {odd[0]}"
        return COMPARE[verb](out, whole.out)


def _wait_for(out: Path, run: Any) -> float:
    """Wait until a run has its folder; the time then."""
    while not (out / ".lock").exists() and run.process.exitcode is None:
        time.sleep(0.005)
    return time.monotonic()


def _make_materials(folder: Path) -> None:
    """Four short clips and a damaged one, models, a store and a recipe."""
    clips = write_clips(folder / "clips")
    (folder / "videos").mkdir()
    for clip in (*clips[:2], clips[4], clips[5]):
        shutil.copy(clip, folder / "videos")
    (folder / "videos" / "bad.mp4").write_bytes(b"no video")
    save_folder(encoder(), folder / "encoder")
    saved(folder / "model", FAKE)
    toy_store(folder / "store")
    recipe = {**TOY, "steps": 12, "save_every": 3, "val_every": 2, "ema": 0.9}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def kill(points: int, folder: Path, *, minutes: float = 1e6) -> Tally:
    """Kill runs of the verbs in turns until so many kills are tried or the time is up."""
    tally, stop = Tally(folder / "tried.jsonl"), time.monotonic() + 60 * minutes
    kills = Kills(folder)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("kills", total=points)
        for verb, number in _turns():
            done = sum(one.outcome != TOO_LATE for one in tally.tried.values())
            bar.update(task, completed=done, description=f"kills, {len(tally.faults)} faults")
            if done >= points or time.monotonic() > stop:
                break
            if f"{verb} {number}.0" not in tally:
                tally.add(kills.try_one(verb, number))
    return tally


def _turns() -> Iterator[tuple[str, int]]:
    number = 0
    while True:
        for verb in JOBS:
            yield verb, number
        number += 1


def summary(tally: Tally) -> dict[str, object]:
    """Counts of outcomes, by verb and by how the moment was chosen."""
    counts = Counter((one.group, one.kind, one.outcome) for one in tally.tried.values())
    return {
        "kills": sum(one.outcome != TOO_LATE for one in tally.tried.values()),
        "faults": [f"{one.key} ({one.kind}): {one.fault}" for one in tally.faults],
        "outcomes": [[*key, number] for key, number in sorted(counts.items())],
    }


def main() -> None:
    from benchmarks.common import save  # not above: every run is a fork that would import it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trust-kill")
    args = parser.parse_args()
    tally = kill(args.points, args.work, minutes=args.minutes)
    save("trust_kill", summary(tally))


if __name__ == "__main__":
    main()
