"""The encoder against the reference's: same weights, cores and run; `python -m benchmarks.encoder`.

The reference gets its float clip ready-made; ours starts from bytes. Both use every core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.table import Table

from benchmarks.common import (
    REFERENCE,
    console,
    median_ratio,
    operations,
    pair,
    save,
    side_by_side,
)
from openmarlin.model.layers import to_model_input
from openmarlin.model.runner import EncoderRunner

MATMUL = 4096
RUNNERS = [("fp32", "torch"), ("fp32", "openvino"), ("bf16", "torch"), ("bf16", "openvino")]


def matmul_job() -> Callable[[], object]:
    """A bfloat16 product of two large square matrices, into memory that is there already."""
    a, b = (torch.randn(MATMUL, MATMUL).bfloat16() for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def measure(preset: str, batch: int, rounds: int) -> dict[str, Any]:
    """One row a contender; ratios are medians over the rounds."""
    theirs, encoder = pair(preset)
    shape = (batch, encoder.config.frames, encoder.config.image_size, encoder.config.image_size, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    video = to_model_input(torch.from_numpy(clips))
    auto = EncoderRunner(encoder)
    jobs: dict[str, Callable[[], object]] = {
        "matmul": matmul_job(),
        REFERENCE: lambda: theirs.extract_features(video, keep_seq=False),
    }
    for precision, backend in RUNNERS if batch == 1 else RUNNERS[2:]:
        runner = EncoderRunner(encoder, precision, backend)
        jobs[f"{backend} {precision}"] = lambda run=runner: run(clips)
    with torch.inference_mode():
        seconds = side_by_side(jobs, rounds)
    matmul_flops, clip_flops = 2 * MATMUL**3, operations(encoder.config) * batch
    rows = [
        {
            "name": name,
            "ms_a_clip": 1e3 * statistics.median(times) / batch,
            "times_reference": median_ratio(seconds[REFERENCE], times),
            "share_of_matmul": median_ratio(seconds["matmul"], times) * clip_flops / matmul_flops,
        }
        for name, times in seconds.items()
        if name != "matmul"
    ]
    return {
        "preset": preset,
        "batch": batch,
        "rounds": rounds,
        "auto": f"{auto.backend} {auto.precision}",
        "reason": auto.reason,
        "bf16_matmul_tflops": matmul_flops / statistics.median(seconds["matmul"]) / 1e12,
        "rows": rows,
        "seconds": seconds,
    }


def show(case: dict[str, Any]) -> None:
    title = f"ViT-{case['preset']}, {case['batch']} clip(s); auto = {case['auto']}"
    table = Table("", "ms a clip", "x reference", "share of bf16 matmul", title=title)
    for row in case["rows"]:
        table.add_row(
            row["name"],
            f"{row['ms_a_clip']:.0f}",
            f"{row['times_reference']:.2f}",
            f"{row['share_of_matmul']:.0%}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["small", "base"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7, help="for one clip; fewer for batches")
    args = parser.parse_args()
    cases = []
    for preset in args.presets:
        for batch in args.batches:
            rounds = args.rounds if batch == 1 else max(2, args.rounds // 2)
            cases.append(measure(preset, batch, rounds))
            show(cases[-1])
    save("encoder", {"cases": cases})


if __name__ == "__main__":
    main()
