"""Does Fasking help, does the critic? `python -m benchmarks.compare STORE --out RUNS [--steps N]`.

Pre-trains the same small model on the same clips in the same number of steps, with what MARLIN adds
to VideoMAE and without, from two seeds each. Finished runs are left as they are and interrupted
ones go on, so the command can be repeated. `benchmarks.probes` then says what the features know.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.common import console
from openmarlin.jobs.pretrain import pretrain
from openmarlin.native import keep_freed_memory
from openmarlin.training.fit import MODEL

RECIPE = Path(__file__).parents[1] / "recipes" / "pretrain_tiny_cpu.yaml"
SMALL: dict[str, Any] = {"shape.image_size": 112, "warmup": 0.1}
"""The recipe's settings, with a quarter of the tokens."""
CONTENDERS: dict[str, dict[str, Any]] = {
    "fasking, critic": {"masking": "fasking"},
    "fasking": {"masking": "fasking", "w_adv": 0},
    "tube (VideoMAE)": {"masking": "tube", "w_adv": 0},
    "random masking": {"masking": "random", "w_adv": 0},
}
SEEDS = (0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    keep_freed_memory()  # as the command line does
    models: dict[str, list[str]] = {}
    for seed in SEEDS:
        for name, options in CONTENDERS.items():
            run = args.out / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
            settings = {"epochs": None, "steps": args.steps, "seed": seed, **SMALL, **options}
            settings |= {"val_every": args.steps, "save_every": 200}
            if not (run / MODEL).is_dir():
                pretrain(args.store, out=run, config=RECIPE, resume=True, progress=True, **settings)
            models.setdefault(name, []).append(str(run / MODEL))
    pairs = " ".join(f'"{name}={",".join(paths)}"' for name, paths in models.items())
    console.print(f"python -m benchmarks.probes WINDOWS {pairs}", soft_wrap=True)


if __name__ == "__main__":
    main()
