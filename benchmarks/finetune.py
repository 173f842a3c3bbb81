"""A step of fine-tuning against transformers' VideoMAE; `python -m benchmarks.finetune`.

The same clips at 224 pixels, the same shape of encoder, the same threads. Theirs is the step that
their documentation shows: `VideoMAEForVideoClassification` in float32, its own loss, torch's AdamW;
ours the trainer that `openmarlin finetune` runs, from bytes on, in the precision that it chooses.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import nn

from benchmarks.common import console, median_ratio, save
from benchmarks.turns import take_turns
from openmarlin.model.config import PRESETS

N_CLASSES = 7
THEIRS, OURS = "transformers, fp32", "openmarlin"
THEIR_NORMS = "transformers, fp32, layer norms alone"

NORMS = {"train": "layernorm", "w_uniformity": 0.5, "w_alignment": 0.1}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        THEIRS: {},
        "transformers, fp32, freed memory kept": {"keep_memory": True},
        OURS: {"train": "full"},
        "openmarlin, half of the tokens": {"train": "full", "token_drop": 0.5},
        "openmarlin, fp32": {"train": "full", "precision": "fp32"},
    },
    "base": {
        THEIRS: {},
        THEIR_NORMS: {"norms": True},
        OURS: NORMS,
        "openmarlin, half of the tokens": {**NORMS, "token_drop": 0.5},
    },
}
"""Preset -> contenders: everything of ViT-S learns, and the layer norms alone of ViT-B."""


def make_clips(preset: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes (B, T, S, S, 3) and classes (B,)."""
    config, chance = PRESETS[preset], torch.Generator().manual_seed(0)
    shape = (batch, config.frames, config.image_size, config.image_size, 3)
    video = torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance)
    return video, torch.randint(0, N_CLASSES, (batch,), generator=chance)


def their_step(
    preset: str, batch: int, *, keep_memory: bool = False, norms: bool = False
) -> Callable[[], object]:
    """The step of transformers; `norms`: layer norms and classifier learn, the rest is frozen."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    if keep_memory:
        from openmarlin.native import keep_freed_memory

        keep_freed_memory()
    config = PRESETS[preset]
    theirs = VideoMAEConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=round(config.width * config.mlp_ratio),
        num_labels=N_CLASSES,
    )
    model = VideoMAEForVideoClassification(theirs).train()
    if norms:
        model.requires_grad_(False)
        for part in model.modules():
            if isinstance(part, nn.LayerNorm) or part is model.classifier:
                part.requires_grad_(True)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    video, labels = make_clips(preset, batch)
    pixels = video.permute(0, 1, 4, 2, 3).float().div_(255)

    def step() -> None:
        optimizer.zero_grad()
        model(pixel_values=pixels, labels=labels).loss.backward()
        optimizer.step()

    return step


def our_step(preset: str, batch: int, **options: Any) -> Callable[[], object]:
    """What `openmarlin finetune` does in a step."""
    from openmarlin.data.manifest import Row
    from openmarlin.model.io import load
    from openmarlin.native import keep_freed_memory
    from openmarlin.tasks.finetune import Finetuning, make_network
    from openmarlin.tasks.finetune_settings import FinetuneSettings
    from openmarlin.tasks.labelled_store import LabelledStore
    from openmarlin.tasks.labels import Target
    from openmarlin.training.engine import Engine
    from openmarlin.training.optim import make_schedule
    from openmarlin.training.trainer import Trainer

    keep_freed_memory()  # as the command line does
    here = {"data": ".", "out": ".", "accelerator": "cpu", "model": preset}
    settings = FinetuneSettings.of({**here, **options})
    video, labels = make_clips(preset, batch)
    rows = [Row(Path(str(i)), split="train") for i in range(N_CLASSES)]
    names = tuple(map(str, range(N_CLASSES)))
    labelled = LabelledStore(
        None,  # type: ignore[arg-type]  # nothing is read
        rows,
        np.arange(N_CLASSES),
        Target("class", ("mood",), names),
        np.arange(float(N_CLASSES))[:, None],
        "",
    )
    engine = Engine.of(settings).__enter__()  # for as long as the process lives
    network = make_network(load(preset, "encoder"), labelled, settings)
    task = Finetuning(network, labelled, np.arange(N_CLASSES), settings)
    trainer = Trainer(engine, task, settings, make_schedule(1000, 0.02, 1e-5, 0, 256))
    data = {"video": video, "target": labels[:, None].float()}
    if settings.token_drop:
        n_tokens = PRESETS[preset].n_tokens
        order = torch.rand(batch, n_tokens).argsort(dim=1)
        data["seen"] = order < round((1 - settings.token_drop) * n_tokens)
    return lambda: trainer.step(0, [data])


def make_step(preset: str, name: str, batch: int) -> Callable[[], object]:
    """A contender's step."""
    make = their_step if name.startswith("transformers") else our_step
    return make(preset, batch, **CASES[preset][name])


def measure(preset: str, batch: int, rounds: int, threads: int | None) -> dict[str, Any]:
    """One row a contender; ratios are medians over the rounds, of wall and of processor time."""
    makers: Mapping[str, Any] = {
        name: partial(make_step, preset, name, batch) for name in CASES[preset]
    }
    turns = take_turns(makers, rounds, threads, list(makers))
    rows = [
        {
            "name": name,
            "clips_per_s": batch / statistics.median(times),
            "times_theirs": median_ratio(turns.seconds[THEIRS], times),
            "times_theirs_cpu": median_ratio(turns.busy[THEIRS], turns.busy[name]),
            "peak_memory_gb": turns.memory[name],
        }
        for name, times in turns.seconds.items()
    ]
    return {
        "preset": preset,
        "batch": batch,
        "rounds": rounds,
        "threads": threads or torch.get_num_threads(),
        "rows": rows,
        "seconds": turns.seconds,
        "cpu_seconds": turns.busy,
        "profiles": turns.profiles,
    }


def show(case: dict[str, Any]) -> None:
    title = f"A step of ViT-{case['preset']}, {case['batch']} clips, {case['threads']} threads"
    table = Table("", "clips/s", "x transformers", "of CPU time", "peak memory, GB", title=title)
    for row in case["rows"]:
        table.add_row(
            row["name"],
            f"{row['clips_per_s']:.3f}",
            f"{row['times_theirs']:.2f}",
            f"{row['times_theirs_cpu']:.2f}",
            f"{row['peak_memory_gb']:.1f}",
        )
    console.print(table)
    shares = Table("where the time goes", *case["profiles"])
    for group in next(iter(case["profiles"].values()), {}):
        shares.add_row(group, *(f"{shares_[group]:.0%}" for shares_ in case["profiles"].values()))
    console.print(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of each contender; all cores without it")
    parser.add_argument("--presets", nargs="*", default=list(CASES), choices=list(CASES))
    args = parser.parse_args()
    cases = [measure(preset, args.batch, args.rounds, args.threads) for preset in args.presets]
    for case in cases:
        show(case)
    save("finetune", {"cases": cases})


if __name__ == "__main__":
    main()
