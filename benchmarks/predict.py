"""`predict` beside `extract` on the same videos and encoder: `python -m benchmarks.predict`.

Both run as a user calls them, loading and report included, in turns within each round. Ratios are
medians over the rounds; processor time tells more than the clock where others use the machine.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

import openmarlin
from benchmarks.common import console, median_ratio, save
from benchmarks.videos import EXAMPLES, FPS, HEIGHT, WIDTH, face_video
from openmarlin.data.clips import Sampling
from openmarlin.model.io import load, save_folder
from openmarlin.tasks.heads import AttentiveHead, Head, LinearHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskConfig, TaskModel

TARGET = Target("binary", ("smile",), ("0", "1"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="small")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        videos, out = Path(folder) / "videos", Path(folder) / "out"
        shutil.copytree(EXAMPLES, videos)
        face_video(videos / "face.mp4", args.seconds)
        encoder = load(args.model)
        models = {name: Path(folder) / name for name in ("extract", "linear", "attentive")}
        save_folder(encoder, models["extract"])
        heads = AttentiveHead(encoder.config.width, 1, heads=encoder.config.heads)
        heads.reset(torch.Generator().manual_seed(0))
        _save(models["linear"], encoder, LinearHead(encoder.config.width, 1))
        _save(models["attentive"], encoder, heads)

        def job(name: str) -> Callable[[], object]:
            verb = openmarlin.extract if name == "extract" else openmarlin.predict
            return lambda: verb(videos, model=models[name], out=out, faces="all", overwrite=True)

        wall_s: dict[str, list[float]] = {name: [] for name in models}
        core_s: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(args.rounds + 1):
            for name in models:
                shutil.rmtree(out, ignore_errors=True)
                began = time.perf_counter(), time.process_time()
                job(name)()
                if turn:  # the first round warms up
                    wall_s[name].append(time.perf_counter() - began[0])
                    core_s[name].append(time.process_time() - began[1])
    ratios = {
        name: {
            "wall": median_ratio(wall_s[name], wall_s["extract"]),
            "core": median_ratio(core_s[name], core_s["extract"]),
        }
        for name in ("linear", "attentive")
    }
    for name, ratio in ratios.items():
        console.print(
            f"predict, {name} head: {ratio['core']:.3f} of extract's core-seconds, "
            f"{ratio['wall']:.3f} of its time"
        )
    what = f"{WIDTH}x{HEIGHT}, {FPS} fps, {args.seconds} s, and the example clips; {args.model}"
    save("predict", {"videos": what, "ratios": ratios, "core_s": core_s, "wall_s": wall_s})


def _save(path: Path, encoder: openmarlin.Encoder, head: Head) -> None:
    config = TaskConfig(
        target=TARGET.as_dict(), head=head.config, sampling=asdict(Sampling()), prior=(0.5,)
    )
    TaskModel(encoder, head.eval(), config).save(path, "A model of a benchmark.")


if __name__ == "__main__":
    main()
