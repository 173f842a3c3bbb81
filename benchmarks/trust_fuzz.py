"""Damaged files through `extract`, `predict`, `prepare` and `pretrain`.

    python -m benchmarks.trust_fuzz --files 10000 --minutes 60

What has been tried is kept in --work, and a later call goes on with it; the totals go to
benchmarks/results/trust_fuzz.json. A fault is a crash, a hang, a traceback, memory over 2 GiB, a
result that is lost, changed or cannot be read, a temporary file that is left, a file that is
neither in the result nor listed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.trust_requests import Requests
from benchmarks.trust_runs import Tally
from benchmarks.trust_videos import VideoFuzz

SHARES = {
    "extract": 0.34,
    "predict": 0.24,
    "prepare": 0.24,
    "requests": 0.18,
}
"""Of the files: damaged videos by verb, and everything else that is no video."""

BATCH = 100


def batches(files: int) -> Iterator[tuple[str, list[int]]]:
    """What is tried together, in turns of the kinds: a run cut short has tried some of each."""
    todo = []
    for place, (kind, share) in enumerate(SHARES.items()):
        numbers = list(range(round(files * share)))
        size = BATCH if len(numbers) >= BATCH else max(1, len(numbers))
        todo += [
            ((first + size / 2) / len(numbers), place, kind, numbers[first:][:size])
            for first in range(0, len(numbers), size)
        ]
    for _, _, kind, numbers in sorted(todo):
        yield kind, numbers


def fuzz(files: int, folder: Path, *, minutes: float = 1e6) -> Tally:
    """Try damaged files until all are tried or the time is up."""
    tally, stop = Tally(folder / "tried.jsonl"), time.monotonic() + 60 * minutes
    videos, requests = VideoFuzz(folder), Requests(folder / "requests")
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("files", total=files, completed=len(tally.tried))
        for kind, numbers in batches(files):
            todo = [n for n in numbers if f"{kind} {n}" not in tally]
            if todo and time.monotonic() > stop:
                break
            if todo and kind == "requests":
                requests.batch(todo, tally)
            elif todo:
                videos.batch(kind, todo, tally)
            faults = f", {len(tally.faults)} faults" if tally.faults else ""
            bar.update(task, completed=len(tally.tried), description=f"files, last {kind}{faults}")
    return tally


def summary(tally: Tally) -> dict[str, object]:
    """Counts of outcomes, by verb and by what was done to the file."""
    counts = Counter((one.group, one.kind, one.outcome) for one in tally.tried.values())
    return {
        "files": len(tally.tried),
        "faults": [f"{one.key} ({one.kind}): {one.fault}" for one in tally.faults],
        "outcomes": [[*key, number] for key, number in sorted(counts.items())],
    }


def main() -> None:
    from benchmarks.common import save  # not above: every run is a fork that would import it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trust-fuzz")
    args = parser.parse_args()
    tally = fuzz(args.files, args.work, minutes=args.minutes)
    save("trust_fuzz", summary(tally))


if __name__ == "__main__":
    main()
