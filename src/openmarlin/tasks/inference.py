"""Videos through a task model: the answer to every window, and to every row of the manifest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.extraction import Extracted, Extractor
from openmarlin.data.manifest import Manifest
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.runner import start_runner
from openmarlin.output import Failures
from openmarlin.tasks.labels import Values
from openmarlin.tasks.model import TaskModel


class PoolingEncoder:
    """The encoder and the first half of the head: clips -> pooled vectors; see `ClipEncoder`.

    Args:
        model: of the task.
        precision: of the encoder's arithmetic, see `EncoderRunner`.
        backend: what runs the encoder.
    """

    def __init__(self, model: TaskModel, precision: str = "auto", backend: str = "auto") -> None:
        self.head = model.head
        self._runner = start_runner(model.encoder, precision, backend)

    @torch.inference_mode()
    def __call__(self, clips: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        runner = self._runner.result()
        if self.head.reads == "feature":
            return runner(clips), None
        tokens = runner(clips, tokens=True)[1]
        return self.head.pool(torch.from_numpy(tokens)).numpy(), None


@dataclass(frozen=True)
class Answers:
    """What a task model says of a manifest.

    Attributes:
        extracted: the windows; `features` holds the pooled vectors.
        windows: (W, C) answers, NaN where a window shows no face.
        rows: (N, C) answers to the rows of the manifest; the prior where `seen` is false.
        seen: (N,) whether a face was seen.
        n_windows: (N,) windows of a row.
        n_without_face: (N,) those without a face.
    """

    extracted: Extracted
    windows: Values
    rows: Values
    seen: NDArray[np.bool_]
    n_windows: NDArray[np.int64]
    n_without_face: NDArray[np.int64]


def answer(
    model: TaskModel,
    manifest: Manifest,
    path: Path,
    failures: Failures,
    *,
    precision: str = "auto",
    backend: str = "auto",
    batch: int = 8,
    workers: int | None = None,
    verb: str = "predict",
    progress: bool = False,
) -> Answers:
    """Read the videos of a manifest and answer; the folder `path` keeps what is finished."""
    plain = Manifest(
        [replace(row, labels={}) for row in manifest.rows]
    )  # any column may be a label
    sampling = model.sampling
    extractor = Extractor(
        PoolingEncoder(model, precision, backend),
        model.encoder.config,
        model.head.width,
        sampling,
        None if sampling.precropped else shared_landmarker(),
        batch,
        workers,
    )
    extracted = extractor.run(plain, path, failures, verb=verb, progress=progress)
    return answer_windows(model, extracted, len(manifest.rows))


def answer_windows(model: TaskModel, extracted: Extracted, n_rows: int) -> Answers:
    """The answers to windows that have been encoded already."""
    pooled, row_of = extracted.features.embeddings, extracted.row_of
    faces = extracted.features.table.column("face").to_numpy()
    has_face = np.isfinite(pooled).all(axis=1)
    windows = model.answer(pooled)
    prior = np.asarray(model.config.prior or [np.nan] * windows.shape[1])
    rows = np.tile(prior, (n_rows, 1))
    seen = np.zeros(n_rows, bool)
    places: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i in np.flatnonzero(has_face):
        places[int(row_of[i])][int(faces[i])].append(int(i))
    for row, by_face in places.items():
        answers = [_of_face(model, pooled[i], windows[i]) for i in by_face.values()]
        weights = [len(i) for i in by_face.values()]
        seen[row] = True
        rows[row] = (
            np.max(answers, axis=0)
            if model.config.over_faces == "max"
            else np.average(answers, axis=0, weights=weights)
        )
    return Answers(
        extracted,
        windows,
        rows,
        seen,
        np.bincount(row_of, minlength=n_rows),
        np.bincount(row_of[~has_face], minlength=n_rows),
    )


def _of_face(model: TaskModel, pooled: NDArray[np.float32], windows: Values) -> Values:
    """One face of a row over time: (n, E) and (n, C) -> (C,)."""
    if model.config.over_time == "answers":
        return np.asarray(windows.mean(axis=0))
    return np.asarray(model.answer(pooled.mean(axis=0, keepdims=True))[0])
