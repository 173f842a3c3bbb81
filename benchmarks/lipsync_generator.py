"""Wav2Lip's full-size generator, module against runner: `python -m benchmarks.lipsync_generator`.

The weights are random, with statistics and contrast as of trained ones (tests/vivid.py): how equal
pictures are does not depend on what they show.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.table import Table

from benchmarks.common import console, median_ratio, save
from openmarlin.lipsync.generators.make import PUBLISHED, make_generator
from openmarlin.lipsync.generators.runner import GeneratorRunner
from tests.vivid import make_vivid, psnr

MODULE = "float32 module"
RUNNERS = [("fp32", "openvino"), ("bf16", "openvino"), ("bf16", "torch")]


def in_turns(
    jobs: Mapping[str, Callable[[], object]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and core-seconds of every job in every round, after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    core_seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start, start_core = time.perf_counter(), time.process_time()
            job()
            if turn:
                seconds[name].append(time.perf_counter() - start)
                core_seconds[name].append(time.process_time() - start_core)
    return seconds, core_seconds


def measure(frames: int, rounds: int) -> dict[str, Any]:
    """One row a contender, all called with `frames` frames; ratios are medians over the rounds."""
    generator = make_generator(PUBLISHED)
    sound, faces = make_vivid(generator, 16)
    sound, faces = sound[:, :frames], faces[:, :, :frames]
    with torch.inference_mode():
        expected = generator(sound, faces)
    runners = {f"{b} {p}": GeneratorRunner(generator, p, b) for p, b in RUNNERS}
    jobs = {MODULE: lambda: generator(sound, faces)}
    jobs |= {name: lambda run=run: run(sound, faces) for name, run in runners.items()}
    with torch.inference_mode():
        seconds, core_seconds = in_turns(jobs, rounds)
    rows = [
        {
            "name": name,
            "frames_a_second": frames / statistics.median(times),
            "times_module": median_ratio(seconds[MODULE], times),
            "frames_a_core_second": frames / statistics.median(core_seconds[name]),
            "times_module_core": median_ratio(core_seconds[MODULE], core_seconds[name]),
            "psnr_db": psnr(runners[name](sound, faces), expected) if name in runners else None,
        }
        for name, times in seconds.items()
    ]
    auto = GeneratorRunner(generator)
    auto(sound, faces)
    return {
        "frames": frames,
        "rounds": rounds,
        "auto": f"{auto.backend} {auto.precision}",
        "reason": auto.reason,
        "threads": torch.get_num_threads(),
        "rows": rows,
        "seconds": seconds,
        "core_seconds": core_seconds,
    }


def show(case: dict[str, Any]) -> None:
    heads = "", "frames/s", "x module", "frames/core-s", "x module", "PSNR, dB"
    table = Table(*heads, title=f"{case['frames']} frames a call; auto = {case['auto']}")
    for row in case["rows"]:
        quality = "" if row["psnr_db"] is None else f"{row['psnr_db']:.0f}"
        wall = f"{row['frames_a_second']:.1f}", f"{row['times_module']:.2f}"
        core = f"{row['frames_a_core_second']:.1f}", f"{row['times_module_core']:.2f}"
        table.add_row(row["name"], *wall, *core, quality)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--frames", nargs="+", type=int, default=[1, 16], help="of a call, at most 16"
    )
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cases = []
    for frames in args.frames:
        cases.append(measure(frames, args.rounds))
        show(cases[-1])
    save("lipsync_generator", {"cases": cases})


if __name__ == "__main__":
    main()
