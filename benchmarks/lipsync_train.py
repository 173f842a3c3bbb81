"""Steps a second of the trainings of lip sync: `python -m benchmarks.lipsync_train`.

Each training with the settings of its recipe, on random samples of the usual shape: the step that
the verbs run, in the precision of the recipe and in the other one, against a plain loop in float32
over the same networks and losses, with torch's AdamW as it comes. Contenders are processes of their
own and take turns, a step each.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.common import console, median_ratio, save
from benchmarks.turns import take_turns

RECIPES = Path(__file__).parents[1] / "recipes"
PLAIN, OURS = "plain loop, fp32", "openmarlin"
TRAININGS = ("expert, points", "mouth shape", "mouth renderer", "wav2lip, width .25")

Chance = Callable[..., torch.Tensor]


def make_training(name: str, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any], int]:
    """Settings, task, a batch, and how many frames of video it has."""
    chance = partial(torch.rand, generator=torch.Generator().manual_seed(0))
    make = {
        "expert, points": _expert,
        "mouth shape": _shape,
        "mouth renderer": _renderer,
        "wav2lip, width .25": _generator,
    }
    return make[name]({"data": ".", "out": ".", "accelerator": "cpu", **options}, chance)


def _recipe(name: str) -> dict[str, Any]:
    from openmarlin.settings import read_recipe

    return read_recipe(RECIPES / f"{name}.yaml")


def _expert(where: dict[str, Any], chance: Chance) -> tuple[Any, Any, dict[str, Any], int]:
    from openmarlin.lipsync.experts.mouth_view import POINTS
    from openmarlin.lipsync.experts.network import WINDOW, sound_columns
    from openmarlin.lipsync.experts.settings import ExpertSettings
    from openmarlin.lipsync.experts.task import ExpertTraining

    settings = ExpertSettings.of({**_recipe("lipsync_expert_cpu"), **where})
    clips, windows = settings.batch, settings.ticks - WINDOW + 1
    batch = {
        "points": chance(clips, settings.ticks, len(POINTS), 2),
        "mel": 4 * chance(clips, 80, sound_columns(windows)) - 2,
        "windows": torch.full((clips,), windows),
    }
    return settings, ExpertTraining(settings), batch, clips * settings.ticks


def _shape(where: dict[str, Any], chance: Chance) -> tuple[Any, Any, dict[str, Any], int]:
    from openmarlin.lipsync.mel import MEL_RATE
    from openmarlin.lipsync.small.settings import MouthSettings
    from openmarlin.lipsync.small.shape_data import FRAME_RATE
    from openmarlin.lipsync.small.shape_net import CONTEXT, N_BLOCKS
    from openmarlin.lipsync.small.shape_task import ShapeTask

    settings, dubber = MouthSettings.of({**_recipe("lipsync_shape_cpu"), **where}), _dubber()
    clips, frames = settings.batch, round(settings.seconds * FRAME_RATE)
    columns = round(settings.seconds * MEL_RATE) + 2 * CONTEXT
    batch = {
        "mel": 4 * chance(clips, 80, columns) - 2,
        "places": (columns - 1) * chance(clips, frames),
        "kept": torch.ones(clips, N_BLOCKS, dubber.config.shape_width),
        "shapes": chance(clips, frames, dubber.config.components),
        "valid": torch.ones(clips, frames, dtype=torch.bool),
    }
    return settings, ShapeTask(dubber, {}, settings), batch, clips * frames


def _renderer(where: dict[str, Any], chance: Chance) -> tuple[Any, Any, dict[str, Any], int]:
    """Before the critic begins."""
    from openmarlin.lipsync.small.renderer_task import RendererTask
    from openmarlin.lipsync.small.settings import MouthSettings
    from openmarlin.lipsync.small.window import CHANNELS

    recipe = {**_recipe("lipsync_renderer_cpu"), "shape": ".", "w_critic": 0}
    settings = MouthSettings.of({**recipe, **where})
    shape = (settings.batch, settings.pictures_per_clip, settings.size, settings.size, CHANNELS)
    batch = {"channels": (255 * chance(shape)).byte(), "epoch": torch.zeros(settings.batch)}
    return settings, RendererTask(_dubber(), settings, 1.0), batch, shape[0] * shape[1]


def _generator(where: dict[str, Any], chance: Chance) -> tuple[Any, Any, dict[str, Any], int]:
    from openmarlin.lipsync.generation.settings import GeneratorSettings
    from openmarlin.lipsync.generation.task import GeneratorTraining

    small = {"system": "wav2lip", "width": 0.25, "batch": 4, "steps": 1000}
    settings = GeneratorSettings.of({**small, **where})
    faces = (settings.batch, settings.ticks, settings.size, settings.size, 3)
    batch = {
        "faces": (255 * chance(faces)).byte(),
        "reference": (255 * chance(faces)).byte(),
        "sound": 4 * chance(*faces[:2], 1, 80, 16) - 2,
    }
    return settings, GeneratorTraining(settings), batch, faces[0] * faces[1]


def _dubber() -> Any:
    from openmarlin.lipsync.shipped import DEFAULT_MOUTH_MODEL
    from openmarlin.lipsync.small.model import SmallDubber
    from openmarlin.model.zoo import find_model

    return SmallDubber.load(find_model(DEFAULT_MOUTH_MODEL))


def plain_step(name: str) -> Callable[[], object]:
    """As it would be written down."""
    _, task, batch, _ = make_training(name, {"precision": "fp32"})
    (player,) = task.players.values()
    player.call = player.module.train()
    optimizer = torch.optim.AdamW(player.module.parameters(), 1e-5)
    generator = torch.Generator()

    def step() -> None:
        optimizer.zero_grad()
        task.losses("", batch, task.forward(batch), generator)["loss"].backward()
        optimizer.step()

    return step


def our_step(name: str, options: dict[str, Any]) -> Callable[[], object]:
    """What the verb does in a step."""
    from openmarlin.native import keep_freed_memory
    from openmarlin.training.engine import Engine
    from openmarlin.training.optim import make_schedule
    from openmarlin.training.trainer import Trainer

    keep_freed_memory()  # as the command line does
    settings, task, batch, _ = make_training(name, options)
    engine = Engine.of(settings).__enter__()  # for as long as the process lives
    trainer = Trainer(engine, task, settings, make_schedule(1000, 0.02, 1e-5, 0, 256))
    task.model.module.train()
    return lambda: trainer.step(0, [batch])


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """One row a contender; ratios are medians over the rounds, of wall and of processor time."""
    makers = {
        PLAIN: partial(plain_step, name),
        OURS: partial(our_step, name, {}),
        **{f"{OURS}, {p}": partial(our_step, name, {"precision": p}) for p in ("fp32", "bf16")},
    }
    turns, frames = take_turns(makers, rounds, threads), make_training(name, {})[3]
    rows = [
        {
            "name": contender,
            "steps_per_s": 1 / statistics.median(times),
            "frames_per_s": frames / statistics.median(times),
            "times_plain": median_ratio(turns.seconds[PLAIN], times),
            "times_plain_cpu": median_ratio(turns.busy[PLAIN], turns.busy[contender]),
            "peak_memory_gb": turns.memory[contender],
        }
        for contender, times in turns.seconds.items()
    ]
    return {
        "training": name,
        "frames": frames,
        "rounds": rounds,
        "threads": threads,
        "rows": rows,
        "seconds": turns.seconds,
        "cpu_seconds": turns.busy,
    }


def show(case: dict[str, Any]) -> None:
    title = f"A step of {case['training']}, {case['frames']} frames, {case['threads']} threads"
    table = Table("", "steps/s", "frames/s", "x plain", "of CPU time", title=title)
    for row in case["rows"]:
        table.add_row(
            row["name"],
            f"{row['steps_per_s']:.2f}",
            f"{row['frames_per_s']:.0f}",
            f"{row['times_plain']:.2f}",
            f"{row['times_plain_cpu']:.2f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--trainings", nargs="*", default=list(TRAININGS), choices=TRAININGS)
    args = parser.parse_args()
    cases = [measure(name, args.rounds, args.threads) for name in args.trainings]
    for case in cases:
        show(case)
    save("lipsync_train", {"cases": cases})


if __name__ == "__main__":
    main()
