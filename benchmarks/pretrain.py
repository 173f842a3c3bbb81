"""A training step against the reference's; `python -m benchmarks.pretrain`.

The reference's step as its code does it: its own modules, float32, a forward pass for the critic
whose gradient runs back through the autoencoder, and another one for the autoencoder. Ours is the
trainer that `openmarlin pretrain` runs, from bytes on. Every contender has a process to itself, so
that none profits from another's memory; they take turns, a step each, on all cores.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.nn import functional

from benchmarks.common import console, median_ratio, save
from benchmarks.turns import take_turns
from openmarlin.masking import n_visible
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import pick
from openmarlin.model.layers import patchify, to_model_input

LR, BETAS, W_ADV = 1e-5, (0.9, 0.95), 0.01
THEIRS = "reference, fp32"
OURS: dict[str, dict[str, Any]] = {
    "openmarlin": {},
    "openmarlin, half decoded": {"decode_ratio": 0.5},
    "openmarlin, critic in fp32": {"critic_precision": "fp32"},
    "openmarlin, all in fp32": {"precision": "fp32"},
}


def make_batch(preset: str, batch: int, ratio: float) -> dict[str, torch.Tensor]:
    """Random clips, with as many tokens masked and to predict as in training."""
    config, chance = PRESETS[preset], torch.Generator().manual_seed(0)
    n_tokens, size = config.n_tokens, config.image_size
    masked = n_tokens - n_visible(n_tokens, 0.9)
    place = torch.rand(batch, n_tokens, generator=chance).argsort(dim=1).argsort(dim=1)
    shape = (batch, config.frames, size, size, 3)
    return {
        "video": torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance),
        "mask": place < masked,
        "targets": place < round(ratio * masked),
    }


def reference_step(preset: str, batch: int) -> Callable[[], object]:
    """The step of the reference (spec: two forward passes, no weight decay, no clipping)."""
    from tests.reference import reference_model

    config = PRESETS[preset]
    model = reference_model(preset, full=True).train()
    hidden = 4 * (config.decoder_width or 0)
    critic = nn.Sequential(
        nn.Linear(config.token_values, hidden), nn.LeakyReLU(0.01), nn.Linear(hidden, 1)
    )
    for_model, for_critic = (
        torch.optim.AdamW(m.parameters(), LR, betas=BETAS, weight_decay=0) for m in (model, critic)
    )
    data = make_batch(preset, batch, 1.0)
    video, mask = to_model_input(data["video"]), data["mask"]

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        target = pick(patchify(video, config.tubelet, config.patch), mask)
        return model(video, ~mask), target

    def step() -> None:
        prediction, target = forward()
        for_model.zero_grad(), for_critic.zero_grad()
        (critic(prediction).mean() - critic(target).mean()).backward()
        for_critic.step()
        prediction, target = forward()
        for_model.zero_grad(), for_critic.zero_grad()
        rec = functional.mse_loss(prediction, target)
        (rec - W_ADV * critic(prediction).mean()).backward()
        for_model.step()

    return step


def our_step(preset: str, batch: int, options: dict[str, Any]) -> Callable[[], object]:
    """What `openmarlin pretrain` does in a step."""
    from openmarlin.native import keep_freed_memory
    from openmarlin.pretraining.settings import PretrainSettings
    from openmarlin.pretraining.task import Pretraining
    from openmarlin.training.engine import Engine
    from openmarlin.training.optim import make_schedule
    from openmarlin.training.trainer import Trainer

    keep_freed_memory()  # as the command line does
    where = {"data": ".", "out": ".", "accelerator": "cpu"}
    settings = PretrainSettings.of({**where, "model": preset, "steps": 1000, **options})
    engine = Engine.of(settings).__enter__()  # for as long as the process lives
    model = Autoencoder(PRESETS[preset], torch.Generator().manual_seed(0))
    task = Pretraining(model, settings)
    trainer = Trainer(engine, task, settings, make_schedule(1000, 0.02, LR, 0, 256))
    data = make_batch(preset, batch, settings.decode_ratio)
    return lambda: trainer.step(0, [data])


def make_step(name: str, preset: str, batch: int) -> Callable[[], object]:
    """A contender's step."""
    return reference_step(preset, batch) if name == THEIRS else our_step(preset, batch, OURS[name])


def measure(
    preset: str, batch: int, rounds: int, names: list[str], threads: int | None
) -> dict[str, Any]:
    """One row a contender; ratios are medians over the rounds, of wall and of processor time."""
    makers = {name: partial(make_step, name, preset, batch) for name in names}
    turns = take_turns(makers, rounds, threads, [name for name in names if name != THEIRS])
    rows = [
        {
            "name": name,
            "clips_per_s": batch / statistics.median(times),
            "times_reference": median_ratio(turns.seconds[THEIRS], times),
            "times_reference_cpu": median_ratio(turns.busy[THEIRS], turns.busy[name]),
            "peak_memory_gb": turns.memory[name],
        }
        for name, times in turns.seconds.items()
    ]
    return {
        "preset": preset,
        "batch": batch,
        "rounds": rounds,
        "rows": rows,
        "threads": threads or torch.get_num_threads(),
        "seconds": turns.seconds,
        "cpu_seconds": turns.busy,
        "profiles": turns.profiles,
    }


def show(case: dict[str, Any]) -> None:
    title = (
        f"A training step of ViT-{case['preset']}, {case['batch']} clips, {case['threads']} threads"
    )
    table = Table("", "clips/s", "x reference", "of CPU time", "peak memory, GB", title=title)
    for row in case["rows"]:
        table.add_row(
            row["name"],
            f"{row['clips_per_s']:.2f}",
            f"{row['times_reference']:.1f}",
            f"{row['times_reference_cpu']:.1f}",
            f"{row['peak_memory_gb']:.1f}",
        )
    console.print(table)
    shares = Table("where the time goes", *case["profiles"])
    for group in next(iter(case["profiles"].values()), {}):
        shares.add_row(group, *(f"{shares_[group]:.0%}" for shares_ in case["profiles"].values()))
    console.print(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of each contender; all cores without it")
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out")
    args = parser.parse_args()
    names = [name for name in (THEIRS, *OURS) if name not in args.without]
    case = measure(args.preset, args.batch, args.rounds, names, args.threads)
    show(case)
    save("pretrain", case)


if __name__ == "__main__":
    main()
