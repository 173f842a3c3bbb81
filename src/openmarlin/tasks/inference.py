"""Videos through a task model: the answer to every window, and to every row of the manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import Extracted, Extractor
from openmarlin.data.manifest import Manifest
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.runner import EncoderRunner, choose, start_runner
from openmarlin.native import claim_process
from openmarlin.output import Failures
from openmarlin.tasks.labels import Values
from openmarlin.tasks.model import TaskModel

Indices = NDArray[np.int64]


class PoolingEncoder:
    """The encoder and the first half of the head: clips -> pooled vectors; see `ClipEncoder`.

    Args:
        model: of the task.
        precision: of the encoder's arithmetic, see `EncoderRunner`.
        backend: what runs the encoder.

    Raises:
        OpenMarlinError: it cannot be run like this on this machine.
    """

    def __init__(self, model: TaskModel, precision: str = "auto", backend: str = "auto") -> None:
        claim_process()
        device = next(model.encoder.parameters()).device
        self.precision, self.backend, self.reason = choose(precision, backend, device)
        self.head, self._encoder = model.head, model.encoder

    @cached_property
    def started(self) -> Future[EncoderRunner]:
        """Compiling it takes a second, in which the first video can be read already."""
        return start_runner(self._encoder, self.precision, self.backend)

    @torch.inference_mode()
    def __call__(self, clips: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        run = self.started.result()
        if self.head.reads == "feature":
            return run(clips), None
        tokens = run(clips, tokens=True)[1]
        return self.head.pool(torch.from_numpy(tokens)).numpy(), None


@dataclass(frozen=True)
class Answers:
    """What a task model says of a manifest.

    Attributes:
        extracted: the windows; `features` holds the pooled vectors.
        windows: (W, C) answers, NaN where a window shows no face.
        faces: (C,) answers to a face over all its windows, by row of the manifest and face.
        rows: (N, C) answers to the rows of the manifest; the prior where `seen` is false.
        seen: (N,) whether a face was seen.
        n_windows: (N,) windows of a row, each counted once however many faces it shows.
        n_without_face: (N,) those without a face.
    """

    extracted: Extracted
    windows: Values
    faces: Mapping[tuple[int, int], Values]
    rows: Values
    seen: NDArray[np.bool_]
    n_windows: NDArray[np.int64]
    n_without_face: NDArray[np.int64]

    @property
    def judged(self) -> Values:
        """(N, C) answers to rows in which a face was seen, NaN for the others."""
        return np.where(self.seen[:, None], self.rows, np.nan)


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
    encoder = PoolingEncoder(model, precision, backend)
    extractor = extractor_of(model, encoder, batch=batch, workers=workers)
    extracted = extractor.run(unlabelled(manifest), path, failures, verb=verb, progress=progress)
    return answer_windows(model, extracted, len(manifest.rows))


def extractor_of(
    model: TaskModel,
    encoder: PoolingEncoder,
    sampling: Sampling | None = None,
    *,
    batch: int = 8,
    workers: int | None = None,
    keep_boxes: bool = False,
) -> Extractor:
    """What turns videos into the pooled vectors of a task model.

    Args:
        model: of the task.
        encoder: its encoder; it is started.
        sampling: which frames and faces; None for those that the model has learnt from.
        batch, workers, keep_boxes: see `Extractor`.

    Raises:
        InputError: the sampling is impossible.
    """
    sampling = model.sampling if sampling is None else sampling
    sampling.windows(model.encoder.config.frames)
    encoder.started  # noqa: B018 - it is compiled while the first video is being read
    return Extractor(
        encoder,
        model.encoder.config,
        model.head.width,
        sampling,
        None if sampling.precropped else shared_landmarker(),
        batch,
        workers,
        keep_boxes,
    )


def unlabelled(manifest: Manifest) -> Manifest:
    """The rows without labels, which may be called as columns of a features table."""
    return Manifest([replace(row, labels={}) for row in manifest.rows])


def answer_windows(model: TaskModel, extracted: Extracted, n_rows: int) -> Answers:
    """The answers to windows that have been encoded already.

    A face is answered over its windows as `TaskConfig.over_time` says, and the faces of a row
    become one answer as `over_faces` says. Their mean counts every window of every face alike.
    Their maximum is taken in each window, and averaged over the windows; where a face is answered
    by its mean vector, it is taken over the faces of the row. Of classes that exclude each other
    it is scaled to a sum of 1.
    """
    pooled, row_of = extracted.features.embeddings, extracted.row_of
    table = extracted.features.table
    face_of, window_of = (table.column(name).to_numpy() for name in ("face", "window"))
    windows = model.answer(pooled)
    has_face = np.isfinite(pooled).all(axis=1)
    places = _by_row_and_face(np.flatnonzero(has_face), row_of, face_of)
    faces = {
        (row, face): _of_face(model, pooled[at], windows[at])
        for row, by_face in places.items()
        for face, at in by_face.items()
    }
    prior = np.asarray(model.config.prior or [np.nan] * windows.shape[1])
    rows = np.tile(prior, (n_rows, 1))
    seen = np.zeros(n_rows, bool)
    for row, by_face in places.items():
        seen[row] = True
        answers = np.stack([faces[row, face] for face in by_face])
        if model.config.over_faces == "mean":
            rows[row] = np.average(answers, axis=0, weights=[len(at) for at in by_face.values()])
        elif model.config.over_time == "answers":
            at = np.concatenate(list(by_face.values()))
            rows[row] = _largest(model, windows[at], window_of[at])
        else:
            rows[row] = _largest(model, answers, np.zeros(len(answers)))
    counted = np.unique(np.stack([row_of, window_of]), axis=1)[0]
    return Answers(
        extracted,
        windows,
        faces,
        rows,
        seen,
        np.bincount(counted, minlength=n_rows),
        np.bincount(row_of[~has_face], minlength=n_rows),
    )


def _by_row_and_face(
    windows: Indices, row_of: Indices, face_of: Indices
) -> dict[int, dict[int, Indices]]:
    """Positions of windows in the table, by row of the manifest and face."""
    places: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i in windows.tolist():
        places[int(row_of[i])][int(face_of[i])].append(i)
    return {
        row: {face: np.array(at) for face, at in by_face.items()} for row, by_face in places.items()
    }


def _of_face(model: TaskModel, pooled: NDArray[np.float32], windows: Values) -> Values:
    """One face of a row over time: (n, E) and (n, C) -> (C,)."""
    if model.config.over_time == "answers":
        return np.asarray(windows.mean(axis=0))
    return np.asarray(model.answer(pooled.mean(axis=0, keepdims=True))[0])


def _largest(model: TaskModel, answers: Values, group_of: NDArray[np.generic]) -> Values:
    """The largest answers (n, C) of every group, averaged over the groups: (C,)."""
    largest = np.mean(
        [answers[group_of == group].max(axis=0) for group in np.unique(group_of)], axis=0
    )
    return np.asarray(largest / largest.sum() if model.target.is_one_of else largest)
