"""What the measurements share: timing side by side, facts of the machine, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.native import cpu_features
from tests.reference import reference_model

RESULTS = Path(__file__).parent / "results"
REFERENCE = f"marlin-pytorch {version('marlin-pytorch')}, float32"
LOAD = os.getloadavg()[0]  # before anything here ran
BUSY = 0.5
console = Console(width=140)


def side_by_side(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every job in every round; each round runs every job once, after one warm-up round.

    Numbers of the same round saw the same machine, so their ratio means something even on one that
    others use too.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(above: list[float], below: list[float]) -> float:
    """Median over the rounds of above / below."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def pair(preset: str) -> tuple[Any, Encoder]:
    """The reference's model with random weights, and our encoder with the same weights."""
    theirs = reference_model(preset, full=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{preset}.encoder.pt"
        torch.save(theirs.state_dict(), path)
        return theirs, load(path, "encoder")


def operations(config: ModelConfig) -> float:
    """Floating-point operations of one clip: two for each multiply-add of every matrix product."""
    tokens, width = config.n_tokens, config.width
    block = tokens * width * (width * (4 + 2 * config.mlp_ratio) + 2 * tokens)
    return 2 * (tokens * width * config.token_values + config.depth * block)


def machine() -> dict[str, Any]:
    """Facts that the numbers depend on."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "features": [name for name, has in cpu_features().items() if has],
        "load_before": LOAD,
        "versions": {n: version(n) for n in ("openmarlin", "torch", "openvino", "marlin-pytorch")},
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n", "utf-8")
    console.print(f"-> {path}")
    if LOAD > BUSY:
        console.print(f"[yellow]The machine was busy before (load {LOAD:.1f}): measure again.")
    return path
