"""The paper's table of lip sync: every system trained for as long, drawn and scored on equal pairs.

OUT/runs/NAME-SEED/             see `lipsync train`
OUT/scores/NAME-SEED.json       a row: scores of each pair, the distance to real faces
OUT/pictures/NAME.jpg           some frames of the first pair
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.store import Store
from openmarlin.errors import InputError, option
from openmarlin.files import write_json
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.face_features import FaceNet
from openmarlin.lipsync.fid import frechet_distance
from openmarlin.lipsync.generation.drawing import (
    DrawnPair,
    draw_pair,
    real_faces,
    score_pictures,
)
from openmarlin.lipsync.generation.pairs import Pair
from openmarlin.lipsync.generation.run import train_generator
from openmarlin.lipsync.generation.settings import GeneratorSettings
from openmarlin.lipsync.generation.systems import ROWS, TableRow
from openmarlin.lipsync.generation.table_settings import TableSettings
from openmarlin.lipsync.generators.make import load_generator
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.scoring import mean_interval, steady_landmarker
from openmarlin.lipsync.store_tracks import track_sound
from openmarlin.training.fit import MODEL

RUNS, SCORES, PICTURES = "runs", "scores", "pictures"

REAL, OTHER = "real", "real_other"
"""Rows of real faces: with their own sound, and untouched with the sound of the pair."""

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class SystemScores:
    """What came of a system, of all its seeds together.

    Attributes:
        name: of the row.
        lse_d, lse_c: means over pairs, and 95 % intervals over groups of faces.
        in_sync: share of the pairs whose offset is within a tick of 0.
        fid: to the real faces of the pairs; a mean over seeds.
        pairs: that were scored, in each training.
        seeds: trainings.
    """

    name: str
    lse_d: Interval
    lse_c: Interval
    in_sync: float
    fid: float
    pairs: int
    seeds: int


def rows_of(settings: TableSettings) -> list[TableRow]:
    """The systems that are asked for.

    Raises:
        InputError: one needs weights or an expert that nobody named.
    """
    rows = [row for row in ROWS if row.name in settings.systems]
    for row in rows:
        if row.name == "vit_videomae" and settings.videomae is None:
            raise InputError(
                f"the row vit_videomae needs weights: name them by {option('videomae')}"
            )
        if row.has_expert and settings.w_sync and settings.expert is None:
            raise InputError(
                f"the row {row.name} is trained with an expert: name one by {option('expert')} (a "
                f"folder of `lipsync train-expert --kind pixels`), or give {option('w_sync', 0)}"
            )
    return rows


def request_of(row: TableRow, seed: int, settings: TableSettings) -> GeneratorSettings:
    """The training of a row."""
    run = settings.out / RUNS / f"{row.name}-{seed}"
    fields: dict[str, Any] = {
        **row.settings,
        **{
            name: getattr(settings, name)
            for name in ("data", "val_share", "steps", "batch", "ticks", "width", "size", "base_lr")
        },
        "out": run,
        "resume": run.exists(),
        "seed": seed,
        "workers": settings.workers,
        "val_every": settings.steps,
        "save_every": max(1, settings.steps // 4),
        "min_lr": settings.base_lr,
        "warmup": 0.05,
    }
    if row.has_expert and settings.w_sync:
        fields |= {"expert": settings.expert, "w_sync": settings.w_sync, "sync_below": None}
    if row.settings["system"] == "wav2lip_vit":
        weights = {
            "none": settings.preset,
            "videomae": settings.videomae,
            "marlin": settings.marlin,
        }
        fields |= {
            "encoder": weights[row.settings["init"]],
            "encoder_size": settings.encoder_size,
        }
    return GeneratorSettings(**fields)


def score_row(
    row: TableRow,
    seed: int,
    settings: TableSettings,
    pairs: Sequence[Pair],
    expert: Expert,
    net: FaceNet,
    *,
    progress: bool,
) -> list[DrawnPair]:
    """Train a system and write its scores; what an earlier sitting did is kept.

    Returns:
        The first pair as drawn, for pictures; nothing where the scores were there.
    """
    path = settings.out / SCORES / f"{row.name}-{seed}.json"
    if path.is_file():
        return []
    request = request_of(row, seed, settings)
    if not (request.out / MODEL).is_dir():
        fitted = train_generator(request, progress=progress)
        if fitted.model is None or fitted.progress.step < settings.steps:
            raise KeyboardInterrupt  # a signal ended the training: the table stops there
    generator = load_generator(request.out / MODEL)
    store = Store(settings.data)
    ticks = int(settings.seconds * TICK_RATE)
    first: list[DrawnPair] = []
    scores = []
    features: list[list[NDArray[np.float32]]] = [[], []]
    for pair in pairs:
        drawn = draw_pair(generator, store, pair, ticks)
        first = first or [drawn]
        scores.append(_score(drawn.drawn, store, pair, expert))
        features[0].append(net(drawn.drawn))
        features[1].append(net(drawn.real))
    fid = frechet_distance(np.concatenate(features[0]), np.concatenate(features[1]))
    write_json(path, {"fid": fid, "pairs": scores})
    return first


def score_real(settings: TableSettings, pairs: Sequence[Pair], expert: Expert) -> None:
    """Scores of the real faces, with their own sound and with that of the pairs."""
    store, ticks = Store(settings.data), int(settings.seconds * TICK_RATE)
    for name in (REAL, OTHER):
        path = settings.out / SCORES / f"{name}.json"
        if path.is_file():
            continue
        scores = []
        for pair in pairs:
            chosen = Pair(pair.face, pair.face if name == REAL else pair.sound)
            faces = real_faces(store, chosen, settings.size, ticks)
            scores.append(_score(faces, store, chosen, expert))
        write_json(path, {"fid": 0.0, "pairs": scores})


def _score(pictures: NDArray[np.uint8], store: Store, pair: Pair, expert: Expert) -> dict[str, Any]:
    sound = track_sound(store, pair.sound)
    offset = score_pictures(pictures, sound, expert, steady_landmarker())
    found = {} if offset is None else asdict(offset)
    found.pop("curve", None)
    return {
        "face": store.tracks[pair.face].name,
        "group": store.tracks[pair.face].group,
        "frames": len(pictures),
        **found,
    }


def measured(out: Path, name: str) -> SystemScores:
    """A row of the table from the scores in a folder."""
    files = sorted((out / SCORES).glob(f"{name}-*.json")) or [out / SCORES / f"{name}.json"]
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    scored = [pair for content in contents for pair in content["pairs"] if "lse_d" in pair]
    groups = [pair["group"] for pair in scored]
    return SystemScores(
        name,
        mean_interval([pair["lse_d"] for pair in scored], groups),
        mean_interval([pair["lse_c"] for pair in scored], groups),
        float(np.mean([abs(pair["ticks"]) <= 1 for pair in scored])) if scored else np.nan,
        float(np.mean([content["fid"] for content in contents])),
        len(scored) // max(1, len(contents)),
        len(contents),
    )
