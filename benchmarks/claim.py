"""Does Fasking help, does the critic? `python -m benchmarks.claim STORE WINDOWS LABELS --out OUT`.

Pre-trains the same small model on the same clips in the same number of steps, with what MARLIN adds
to VideoMAE and without, from two seeds each; then fine-tunes each with a tenth of the labels of
LABELS, a table as `benchmarks.task_labels` writes it (actions.csv). One table has what the frozen
features know (`benchmarks.probes`) and what the fine-tuned models do, and one who is ahead of whom.

    STORE     of `openmarlin prepare`, of the clips that `benchmarks.corpus` lists
    WINDOWS   of `benchmarks.probe_windows`

Groups that pre-training held out are the test of the fine-tuning as well. The contenders see the
same labels, other ones with each seed; models that were not pre-trained are beside them. What is
finished is left as it is and what was interrupted goes on, so the command can be repeated.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.common import console, save
from benchmarks.corpus import is_held_out
from benchmarks.probe_inputs import Array, Windows, features
from benchmarks.probe_scores import Score, probe
from benchmarks.probes import Board, show
from benchmarks.task_labels import ACTIONS
from openmarlin.data.manifest import Row, read_manifest
from openmarlin.jobs.finetune import finetune
from openmarlin.jobs.prepare import prepare
from openmarlin.jobs.pretrain import pretrain
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, save_folder
from openmarlin.native import keep_freed_memory
from openmarlin.settings import read_recipe
from openmarlin.tasks.labels import infer_target
from openmarlin.tasks.predictions import PREDICTIONS_FILE, read_predictions
from openmarlin.tasks.scorecard import METRICS_JSON
from openmarlin.tasks.splits import TEST, TRAIN, VAL, share_of, write_split
from openmarlin.training.fit import MODEL

RECIPES = Path(__file__).parents[1] / "recipes"
PRETRAINING, FINETUNING = (RECIPES / f"{n}_cpu.yaml" for n in ("pretrain_tiny", "finetune_small"))
SMALL: dict[str, Any] = {"shape.image_size": 112, "warmup": 0.1}
"""The recipe's settings, with a quarter of the tokens."""
MARLIN, FASKING, TUBE, RANDOM = "fasking, critic", "fasking", "tube (VideoMAE)", "random masking"
NONE = "not pre-trained"
CONTENDERS: dict[str, dict[str, Any]] = {
    MARLIN: {"masking": "fasking"},
    FASKING: {"masking": "fasking", "w_adv": 0},
    TUBE: {"masking": "tube", "w_adv": 0},
    RANDOM: {"masking": "random", "w_adv": 0},
}
PAIRS = (
    *((name, NONE) for name in CONTENDERS),
    (MARLIN, FASKING),
    (MARLIN, TUBE),
    (MARLIN, RANDOM),
    (FASKING, TUBE),
    (FASKING, RANDOM),
    (TUBE, RANDOM),
)
SEEDS = (0, 1)
CLIPS, SHARE, VAL_SHARE = 24_000, 0.1, 0.15
SAVE_EVERY = 100
TUNED = f"actions after fine-tuning with {SHARE:.0%} of the labels (AUC)"


def run_name(name: str, seed: int) -> str:
    return f"{name.replace(' ', '_').replace(',', '')}-{seed}"


def pretrain_all(store: Path, out: Path, clips: int) -> dict[str, list[Path]]:
    """Models of every contender, a seed each; and models that learnt nothing."""
    steps = max(1, clips // read_recipe(PRETRAINING)["batch"])
    models: dict[str, list[Path]] = {}
    for seed in SEEDS:
        for name, options in CONTENDERS.items():
            run = out / run_name(name, seed)
            settings = {"epochs": None, "steps": steps, "seed": seed, **SMALL, **options}
            settings |= {"val_every": steps, "save_every": SAVE_EVERY}
            if not (run / MODEL).is_dir():
                console.print(run.name)
                made = pretrain(
                    store, out=run, config=PRETRAINING, resume=True, progress=True, **settings
                )
                stop_if(made.stopped)
            models.setdefault(name, []).append(run / MODEL)
    for seed in SEEDS:
        path = out / run_name(NONE, seed)
        if not path.is_dir():
            config = load(models[MARLIN][0], "encoder").config.encoder_alone()
            config = config.changed(name="random", trained=False, source="")
            save_folder(Encoder(config, torch.Generator().manual_seed(seed)), path)
        models.setdefault(NONE, []).append(path)
    return models


def stop_if(stopped: bool) -> None:
    """A signal ended a training early: the rest is for another time."""
    if stopped:
        raise SystemExit("Stopped early; run the command again to go on")


def part_of(row: Row) -> str:
    """By the group's name: the same as in pre-training, and some of its groups to choose by."""
    if is_held_out(row.group):
        return TEST
    number = int(hashlib.sha256(f"val {row.group}".encode()).hexdigest(), 16)
    return VAL if number % 1000 < 1000 * VAL_SHARE else TRAIN


def share_labels(labels: Path, out: Path, columns: Sequence[str], draw: int) -> Path:
    """A table with a tenth of the training rows, and all others."""
    rows = [replace(row, split=part_of(row)) for row in read_manifest(labels).rows]
    target = infer_target(columns, rows)
    train = [row for row in rows if row.split == TRAIN]
    kept = [train[i] for i in share_of(target.encode(train), SHARE, 0, draw)]
    rest = [row for row in rows if row.split != TRAIN]
    return write_split(out / f"labels-{draw}.csv", kept + rest, target)


def finetune_all(
    labels: Path, columns: Sequence[str], models: dict[str, list[Path]], out: Path
) -> dict[str, list[Score]]:
    """Of every contender and seed what it does on the test groups."""
    store = out / "labelled"
    prepare(labels, out=store, resume=True, size=SMALL["shape.image_size"], progress=True)
    tables = [share_labels(labels, out, columns, draw) for draw in SEEDS]
    scores: dict[str, list[Score]] = {}
    for seed in SEEDS:
        for name, paths in models.items():
            run = out / f"{run_name(name, seed)}-finetuned"
            if not (run / METRICS_JSON).is_file():
                console.print(run.name)
                tuned = finetune(
                    store, labels=tables[seed], label=tuple(columns), model=str(paths[seed]),
                    config=FINETUNING, seed=seed, out=run, resume=True, progress=True,
                )  # fmt: skip
                stop_if(tuned.stopped)
            scores.setdefault(name, []).append(score_of(run, tables[seed], columns))
    return scores


def score_of(run: Path, table: Path, columns: Sequence[str]) -> Score:
    """AUC, averaged over labels, of the test rows, by group."""
    every = read_manifest(table).rows
    rows, target = [row for row in every if row.split == TEST], infer_target(columns, every)
    said = read_predictions(run / PREDICTIONS_FILE, target, rows)
    values = np.stack([np.nan_to_num(said.scores, nan=0.5), said.labels], axis=1)
    groups = np.array([row.group for row in rows])
    return Score({group: values[groups == group] for group in np.unique(groups)}, mean_auc)


def mean_auc(parts: list[Array]) -> float:
    scores, labels = np.concatenate(parts).transpose(1, 2, 0)
    varied = [i for i, own in enumerate(labels) if 0 < own.mean() < 1]
    return float(np.mean([roc_auc_score(labels[i], scores[i]) for i in varied]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("windows", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=CLIPS, help="each model sees")
    parser.add_argument("--label", nargs="+", default=list(ACTIONS), help="columns of LABELS")
    args = parser.parse_args()
    keep_freed_memory()  # as the command line does
    models = pretrain_all(args.store, args.out, args.clips)
    tuned = finetune_all(args.labels, args.label, models, args.out)
    windows, board = Windows.read(args.windows), Board()
    for name, paths in models.items():
        frozen = [probe(features(load(p, "encoder"), windows), windows) for p in paths]
        both = zip(frozen, tuned[name], strict=True)
        board.add("rows", name, [{**seen, TUNED: answered} for seen, answered in both])
    for name, rival in PAIRS:
        board.lead("ahead", name, rival, f"{name}, ahead of {rival}")
    show(board.tables["rows"], f"{args.clips:,} clips each")
    show(board.tables["ahead"], "Paired differences")
    save("claim", {"clips": args.clips, "seeds": len(SEEDS), **board.tables})


if __name__ == "__main__":
    main()
