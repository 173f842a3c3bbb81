"""Where answers come from that are to be judged: a model of a task, or a table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from openmarlin.data.manifest import Manifest, Row, existing
from openmarlin.data.parts import FinishedVideos
from openmarlin.errors import InputError
from openmarlin.files import file_sha256
from openmarlin.model.runner import choose
from openmarlin.model.zoo import find_model
from openmarlin.native import claim_process
from openmarlin.output import Failures
from openmarlin.tasks.evaluation import labelled
from openmarlin.tasks.inference import Answers, answer, answer_windows
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.model import TaskModel, prior_of
from openmarlin.tasks.predictions import Predictions, read_predictions, read_target
from openmarlin.tasks.settings import ReadSettings
from openmarlin.tasks.splits import TRAIN
from openmarlin.video.picture import Image


@dataclass(frozen=True)
class Answered:
    """Answers to the rows, and what a model can say besides.

    Attributes:
        predictions: of the rows; NaN where a row has no label or no answer.
        windows: answers to windows, each with the row that it is of.
        uncalibrated: answers to the rows before the temperature.
    """

    predictions: Predictions
    windows: Predictions | None = None
    uncalibrated: Predictions | None = None


class Source(Protocol):
    """What can be judged.

    Attributes:
        path: of it.
        target: what it predicts.
        prior: the mean answer to the training labels; empty where those are not there.
        sha256: of what is in it.
        details: what to say of it, by heading.
    """

    path: Path
    target: Target
    prior: tuple[float, ...]
    sha256: str
    details: dict[str, Any]

    def answer(
        self, rows: Sequence[Row], path: Path, failures: Failures, progress: bool
    ) -> Answered:
        """Its answers to rows. The folder `path` keeps what is finished."""
        ...

    def pictures(self, row: Row, path: Path) -> list[Image]:
        """Crops of a row that was answered; none where there are no videos."""
        ...


def open_source(
    path: str | Path,
    labels: Sequence[str],
    rows: Sequence[Row],
    s: ReadSettings,
    like: Source | None = None,
) -> Source:
    """A model folder, or a table of predictions.

    Args:
        path: of it, or the name of a model that ships.
        labels: columns that a table predicts, see `read_target`.
        rows: all labelled rows: a table predicts some, and those of train are the prior.
        s: how videos are read.
        like: what it is to be compared with; a table need not say that it predicts the same.

    Raises:
        OpenMarlinError: it is neither, cannot be used, or predicts something else.
    """
    path = existing(find_model(path))
    if not path.is_dir():
        return TableSource(path, like.target if like else read_target(path, labels, rows), rows)
    source = ModelSource(path, s)
    if like is not None:
        check_same(like, source)
    return source


class TableSource:
    """A CSV of predictions, anybody's."""

    details: dict[str, Any]

    def __init__(self, path: Path, target: Target, rows: Sequence[Row]) -> None:
        self.path, self.target = path, target
        train = [row for row in rows if row.split == TRAIN]
        truth = self.target.encode(train) if train else np.zeros((0, 1))
        has_labels = np.isfinite(truth).any(axis=0).all() and len(truth) > 0
        self.prior = prior_of(truth, self.target) if has_labels else ()
        self.sha256 = file_sha256(path)
        self.details = {}

    def answer(
        self, rows: Sequence[Row], path: Path, failures: Failures, progress: bool
    ) -> Answered:
        del path, failures, progress
        return Answered(read_predictions(self.path, self.target, rows))

    def pictures(self, row: Row, path: Path) -> list[Image]:
        del row, path
        return []


class ModelSource:
    """A model folder: the videos are read."""

    details: dict[str, Any]

    def __init__(self, path: Path, s: ReadSettings) -> None:
        claim_process()
        self.path, self._settings = path, s
        self.model = TaskModel.load(path)
        choose(s.precision, "auto", next(self.model.encoder.parameters()).device)
        self.target, config = self.model.target, self.model.config
        self.prior = config.prior
        self.sha256 = self.model.sha256
        self.details = {
            "trained on": config.trained_on,
            "chosen on": config.chosen_on,
            "model": {
                "encoder": self.model.encoder.config.name,
                "head": config.head.get("kind"),
                "temperature": config.temperature,
                "thresholds": config.thresholds,
                "over_time": config.over_time,
                "over_faces": config.over_faces,
                **config.sampling,
            },
        }

    def answer(
        self, rows: Sequence[Row], path: Path, failures: Failures, progress: bool
    ) -> Answered:
        labels = self.target.encode(rows)
        places, s = labelled(labels, self.target), self._settings
        answers = answer(
            self.model,
            Manifest([rows[int(i)] for i in places]),
            path,
            failures,
            precision=s.precision,
            batch=s.batch,
            workers=s.workers,
            verb="evaluate",
            progress=progress,
        )

        def spread(some: Values, *, fill: float = np.nan) -> Values:
            every = np.full((len(rows), *some.shape[1:]), fill)
            every[places] = some
            return every

        predictions = Predictions(
            self.target,
            rows,
            labels,
            spread(answers.rows),
            spread(answers.seen.astype(float), fill=0.0).astype(bool),
            self.model.config.thresholds,
            failures.as_dict(),
        )
        return with_levels(self.model, predictions, predictions.take(places), answers)

    def pictures(self, row: Row, path: Path) -> list[Image]:
        thumbs = FinishedVideos(path, self.model.head.width).thumbs(row)
        return [image for thumb in thumbs for image in thumb.images]


def with_levels(
    model: TaskModel, predictions: Predictions, answered: Predictions, answers: Answers
) -> Answered:
    """Predictions of a model, with those to windows and those before the temperature.

    Args:
        model: that answered.
        predictions: of all rows.
        answered: of the rows that `answers` are to.
        answers: to rows and windows.
    """
    windows = replace(
        answered.take(answers.extracted.row_of),
        scores=answers.windows,
        seen=np.asarray(np.isfinite(answers.windows).all(axis=1)),
    )
    if model.config.temperature == 1:
        return Answered(predictions, windows)
    raw_model = replace(model, config=model.config.model_copy(update={"temperature": 1.0}))
    raw = answer_windows(raw_model, answers.extracted, len(answered))
    return Answered(predictions, windows, replace(answered, scores=raw.rows, seen=raw.seen))


def check_same(one: Source, other: Source) -> None:
    """Both predict the same.

    Raises:
        InputError: they do not.
    """
    if (one.target.kind, one.target.outputs) != (other.target.kind, other.target.outputs):
        raise InputError(
            f"{other.path} predicts {other.target.name} ({', '.join(other.target.outputs)}), "
            f"{one.path} {one.target.name} ({', '.join(one.target.outputs)}); they cannot be "
            "compared"
        )
