"""`extract --ray local` beside `extract` alone: `python -m benchmarks.cluster FOLDER`.

Each run is a process of its own, as a user starts it, Ray's start and end included; in a round
every way runs once, so that ratios are of the same machine. What a cluster costs before the first
video is the clock of the whole run less that of the videos, which meta.json tells.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import console, median_ratio, save
from openmarlin.data.manifest import read_manifest, write_manifest

ALONE = "alone, 2 threads"
WAYS = {
    "alone, 1 thread": ["--workers", "1"],
    ALONE: ["--workers", "2"],
    "ray, 1 worker": ["--workers", "1", "--ray", "local"],
    "ray, 2 workers": ["--workers", "2", "--ray", "local"],
    "ray, 4 workers": ["--workers", "4", "--ray", "local"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of videos with faces")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="openmarlin_face_tiny")
    args = parser.parse_args()
    rows = read_manifest(args.folder).rows
    rows = rows[:: max(1, len(rows) // args.clips)][: args.clips]
    wall_s: dict[str, list[float]] = {name: [] for name in WAYS}
    videos_s: dict[str, list[float]] = {name: [] for name in WAYS}
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        table = write_manifest(Path(folder) / "clips.csv", rows)
        for turn in range(args.rounds + 1):
            for name, options in WAYS.items():
                out = Path(folder) / "out"
                began = time.perf_counter()
                meta = _extract(table, out, args.model, options)
                if turn:  # the first round fills the cache of files
                    wall_s[name].append(time.perf_counter() - began)
                    videos_s[name].append(meta["throughput"]["wall_s"])
                seconds = meta["throughput"]["video_s"]
                console.print(f"round {turn}, {name}: {time.perf_counter() - began:.1f} s")
    results = {
        "clips": len(rows),
        "video_s": seconds,
        "model": args.model,
        "rounds": args.rounds,
        "ways": {
            name: {
                "wall_s": statistics.median(wall_s[name]),
                "videos_s": statistics.median(videos_s[name]),
                "wall_to_alone": median_ratio(wall_s[name], wall_s[ALONE]),
                "videos_to_alone": median_ratio(videos_s[name], videos_s[ALONE]),
            }
            for name in WAYS
        },
    }
    console.print_json(json.dumps(results))
    save("cluster", results)


def _extract(table: Path, out: Path, model: str, options: list[str]) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "openmarlin", "extract", str(table), "--out", str(out)]
    run = subprocess.run(
        [*command, "--model", model, *options], capture_output=True, text=True, check=False
    )
    if not (out / "meta.json").is_file():
        raise SystemExit(run.stdout + run.stderr)
    meta: dict[str, Any] = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    return meta


if __name__ == "__main__":
    main()
