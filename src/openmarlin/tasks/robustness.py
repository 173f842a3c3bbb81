"""What is left of a model's answers when videos are not clean: corrupted crops, compressed videos.

Crops are corrupted as `tasks.corruptions` says, at five levels. c23 and c40 are the compressions of
FaceForensics++: there the whole video is compressed before a face is looked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.extraction import ClipEncoder
from openmarlin.data.manifest import Manifest, Row
from openmarlin.errors import InputError, VideoError, option
from openmarlin.output import Failures
from openmarlin.settings import nearest
from openmarlin.tasks.corruptions import CORRUPTIONS, LEVELS, corrupt
from openmarlin.tasks.evaluation import evaluate_predictions
from openmarlin.tasks.inference import (
    Answers,
    PoolingEncoder,
    answer,
    answer_windows,
    extractor_of,
    unlabelled,
)
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.resampling import Score
from openmarlin.tasks.settings import EvaluateSettings
from openmarlin.video.recompress import recompress

COMPRESSIONS = {"c23": 23, "c40": 40}
"""crf of libx264 by the name that FaceForensics++ gives it."""


class Condition(NamedTuple):
    """A kind of corruption at a level, 1 to 5; compressions of whole videos have level 0."""

    name: str
    level: int


@dataclass(frozen=True)
class Robustness:
    """The main metric under a condition.

    Attributes:
        condition: what was done to the videos.
        score: the metric.
        difference: from that of the videos as they are, on the same resamples.
    """

    condition: Condition
    score: Score
    difference: Score


def conditions_of(names: Sequence[str]) -> list[Condition]:
    """All levels of the corruptions that are named; `all` names every one.

    Raises:
        InputError: there is no such corruption.
    """
    choices = [*CORRUPTIONS, *COMPRESSIONS]
    conditions = []
    for name in choices if "all" in names else names:
        if name not in choices:
            raise InputError(
                f"{option('robustness')}: no corruption '{name}'{nearest(name, choices)}"
            )
        levels = [0] if name in COMPRESSIONS else range(1, LEVELS + 1)
        conditions += [Condition(name, level) for level in levels]
    return conditions


class CorruptingEncoder:
    """Encodes every clip under several conditions: pooled vectors side by side, (B, n * E).

    What is random is drawn from the seed, the condition and the clip's own pixels, so that it does
    not depend on what else is encoded.
    """

    def __init__(self, encoder: ClipEncoder, conditions: Sequence[Condition], seed: int) -> None:
        self.encoder, self.conditions, self.seed = encoder, conditions, seed

    def __call__(self, clips: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        vectors = []
        for condition in self.conditions:
            corrupted = [corrupt(clip, *condition, self._rng(condition, clip)) for clip in clips]
            vectors.append(self.encoder(np.stack(corrupted))[0])
        return np.concatenate(vectors, axis=1), None

    def _rng(self, condition: Condition, clip: NDArray[np.uint8]) -> np.random.Generator:
        name = zlib.crc32(condition.name.encode())
        return np.random.default_rng([self.seed, name, condition.level, zlib.crc32(clip.tobytes())])


def measure_robustness(
    model: TaskModel,
    predictions: Predictions,
    conditions: Sequence[Condition],
    path: Path,
    s: EvaluateSettings,
    *,
    progress: bool = False,
) -> list[Robustness]:
    """Answer the same rows again under every condition, and compare with the answers as they are.

    Args:
        model: of the task.
        predictions: its answers to the rows as they are; those without a label are left out.
        conditions: see `conditions_of`.
        path: a folder that keeps what is finished.
        s: how videos are read, and the resamples.
        progress: show a bar.
    """
    results = []
    for condition, answers in _answers(model, predictions.rows, conditions, path, s, progress):
        corrupted = replace(predictions, scores=answers.rows, seen=answers.seen)
        evaluation = evaluate_predictions(
            corrupted,
            resamples=s.resamples,
            seed=s.seed,
            against=predictions,
            prior=model.config.prior,
        )
        main = evaluation.main
        results.append(Robustness(condition, evaluation.scores[main], evaluation.differences[main]))
    return results


def _answers(
    model: TaskModel,
    rows: Sequence[Row],
    conditions: Sequence[Condition],
    path: Path,
    s: EvaluateSettings,
    progress: bool,
) -> Iterator[tuple[Condition, Answers]]:
    """Videos are read once for all corruptions of crops, and once for every compression."""
    manifest = Manifest(list(rows))
    failures = Failures(path / "failures.csv")
    of_crops = [condition for condition in conditions if condition.level]
    if of_crops:
        encoder = PoolingEncoder(model, s.precision)
        extractor = replace(
            extractor_of(model, encoder, batch=s.batch, workers=s.workers),
            encoder=CorruptingEncoder(encoder, of_crops, s.seed),
            dim=model.head.width * len(of_crops),
        )
        extracted = extractor.run(
            unlabelled(manifest), path, failures, verb="corrupt", progress=progress
        )
        for number, condition in enumerate(of_crops):
            vectors = np.split(extracted.features.embeddings, len(of_crops), axis=1)[number]
            own = extracted.with_vectors(np.ascontiguousarray(vectors))
            yield condition, answer_windows(model, own, len(rows))
    for condition in conditions:
        if not condition.level:
            yield condition, _answer_compressed(model, rows, condition, s, progress)


def _answer_compressed(
    model: TaskModel, rows: Sequence[Row], condition: Condition, s: EvaluateSettings, progress: bool
) -> Answers:
    """Answers to the videos compressed as a whole; what cannot be read stays as it is."""
    with TemporaryDirectory(prefix="openmarlin-") as folder:
        copies: dict[Path, Path] = {}
        for row in rows:
            if row.video not in copies:
                copy = Path(folder) / f"{len(copies)}.mp4"
                try:
                    recompress(row.video, copy, COMPRESSIONS[condition.name])
                except VideoError:
                    copy = row.video  # it fails again, and is counted
                copies[row.video] = copy
        manifest = Manifest([replace(row, video=copies[row.video], labels={}) for row in rows])
        parts = Path(folder) / "answers"
        return answer(
            model,
            manifest,
            parts,
            Failures(parts / "failures.csv"),
            precision=s.precision,
            batch=s.batch,
            workers=s.workers,
            verb=condition.name,
            progress=progress,
        )
