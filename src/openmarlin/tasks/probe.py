"""The probe: a head on frozen features, chosen on validation, and how it does with fewer labels.

problem = Problem(target, rows, labels, features, encoder, sampling, settings)
outcome = problem.learn(train)  # a TaskModel, and what was tried
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from openmarlin.data.clips import Sampling
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import weights_sha256
from openmarlin.tasks.calibration import fit_temperature, fit_thresholds
from openmarlin.tasks.heads import AttentiveHead
from openmarlin.tasks.inference import Answers, answer_windows
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.metrics import MAIN_METRIC, measure
from openmarlin.tasks.model import TaskConfig, TaskModel, as_scores, prior_of
from openmarlin.tasks.predictions import Predictions
from openmarlin.tasks.probe_attentive import fit_attentive, pool_rows, pool_windows
from openmarlin.tasks.probe_features import RowFeatures
from openmarlin.tasks.probe_linear import fit_linear
from openmarlin.tasks.probe_neighbours import fit_neighbours
from openmarlin.tasks.probe_paper import fit_paper
from openmarlin.tasks.selection import Examples, Fitted, check_choice
from openmarlin.tasks.settings import ProbeSettings
from openmarlin.tasks.splits import PARTS, TEST, TRAIN, VAL, group_of, share_of


@dataclass(frozen=True)
class Outcome:
    """A model, and how it came about.

    Attributes:
        model: encoder, head, calibration.
        fitted: what was tried on validation.
        answers: to all rows.
    """

    model: TaskModel
    fitted: Fitted
    answers: Answers


@dataclass(frozen=True)
class Draw:
    """One draw of a share of the training labels.

    Attributes:
        share: of the training rows with a face.
        draw: which one.
        rows: how many these are.
        settings: what was chosen on validation.
        metrics: on test.
        problem: why nothing could be learnt; or empty.
    """

    share: float
    draw: int
    rows: int
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, from what.

    Attributes:
        target: what is predicted.
        rows: N labelled rows, each in a part of the split.
        labels: (N, K).
        features: of the rows.
        encoder: that made them.
        sampling: which windows of the videos they are of.
        settings: of the head, seed and shares.
        history: what the model's card must say of the rows, see `TaskConfig.trained_on`.
        progress: show a progress bar.
    """

    target: Target
    rows: Sequence[Row]
    labels: Values
    features: RowFeatures
    encoder: Encoder
    sampling: Sampling
    settings: ProbeSettings
    history: dict[str, Any] = field(default_factory=dict)
    progress: bool = False

    def examples(self, part: str) -> Examples:
        """The rows of a part that show a face."""
        in_part = np.array([row.split == part for row in self.rows])
        places = np.flatnonzero(in_part & self.features.seen)
        if not len(places):
            raise InputError(
                f"none of the {in_part.sum()} {part} videos shows a face; see failures.csv"
            )
        return Examples(places, self.features.vectors[places], self.labels[places])

    def learn(self, train: Examples) -> Outcome:
        """Fit and choose a head, calibrate it, and answer all rows.

        Raises:
            InputError: the training labels are all the same, or nothing can be chosen.
        """
        val = self.examples(VAL)
        fitted = self._fit(train, val)
        model = self._calibrated(fitted, train, val)
        extracted = self.features.extracted
        if isinstance(fitted.head, AttentiveHead):
            extracted = self.features.pooled(pool_windows(fitted.head, self.features))
        return Outcome(model, fitted, answer_windows(model, extracted, len(self.rows)))

    def draws(self, outcome: Outcome) -> Iterator[Draw]:
        """Every draw of every share, large ones first; each chooses its settings anew.

        Args:
            outcome: of the first draw of the largest share, which is not done again.
        """
        train, s = self.examples(TRAIN), self.settings
        for share in s.shares:
            for draw in range(1 if share == 1 else s.draws):
                some = self.share(train, share, draw)
                if (share, draw) == (s.shares[0], 0):
                    yield self._drawn(share, draw, some, outcome)
                    continue
                try:
                    learnt = self.learn(some)
                except InputError as error:
                    yield Draw(share, draw, len(some), problem=str(error))
                else:
                    yield self._drawn(share, draw, some, learnt)

    def share(self, train: Examples, share: float, draw: int) -> Examples:
        """A share of the training rows, see `share_of`."""
        return train.take(share_of(train.labels, share, self.settings.seed, draw))

    def predictions(self, outcome: Outcome, problems: dict[str, str]) -> Predictions:
        """The answers beside the labels."""
        answers, config = outcome.answers, outcome.model.config
        return Predictions(
            self.target,
            self.rows,
            self.labels,
            answers.rows,
            answers.seen,
            config.thresholds,
            problems,
        )

    def _fit(self, train: Examples, val: Examples) -> Fitted:
        s, target = self.settings, self.target
        if s.head == "knn":
            return fit_neighbours(train, val, target)
        if s.head == "paper":
            return fit_paper(train, val, target, s.seed)
        if s.head == "linear":
            return fit_linear(train, val, target, balanced=s.class_weights)
        return fit_attentive(
            train,
            val,
            target,
            self.features,
            s.seed,
            blocks=s.blocks,
            balanced=s.class_weights,
            progress=self.progress,
        )

    def _calibrated(self, fitted: Fitted, train: Examples, val: Examples) -> TaskModel:
        logits = self._logits(fitted, val)
        temperature = fit_temperature(logits, val.labels, self.target)
        thresholds: tuple[float, ...] = ()
        if self.target.kind in ("binary", "multilabel"):
            scores = as_scores(logits, self.target, temperature)
            thresholds = fit_thresholds(scores, val.labels, self.target)
        config = TaskConfig(
            target=self.target.as_dict(),
            head=fitted.head.config,
            sampling=asdict(self.sampling),
            over_faces="max" if self.target.is_forgery else "mean",
            temperature=temperature,
            thresholds=thresholds,
            prior=prior_of(train.labels, self.target),
            trained_on={
                **self.history,
                "learnt_from": len(train),
                "windows_a_row": self.features.windows_a_row,
            },
            chosen_on={
                "rows": len(val),
                "tried": len(fitted.trials),
                "metric": MAIN_METRIC[self.target.kind],
                "value": fitted.score,
                "settings": fitted.settings,
            },
        )
        return TaskModel(self.encoder, fitted.head, config)

    @torch.inference_mode()
    def _logits(self, fitted: Fitted, val: Examples) -> Values:
        """Of the validation rows, (n, C)."""
        vectors = val.vectors
        if isinstance(fitted.head, AttentiveHead):
            windows = self.features.windows_of()
            vectors = pool_rows([fitted.head], self.features, [windows[i] for i in val.places])[0]
        return fitted.head.answer(torch.from_numpy(vectors)).double().numpy()

    def _drawn(self, share: float, draw: int, train: Examples, outcome: Outcome) -> Draw:
        test = self.predictions(outcome, {}).part(TEST)
        metrics = measure(test.labels, test.scores, self.target, test.thresholds)
        return Draw(share, draw, len(train), outcome.fitted.settings, metrics)


def history_of(
    rows: Sequence[Row], labels: Values, target: Target, encoder: Encoder, head: str
) -> dict[str, Any]:
    """What a model's card says of its rows, by part: see `card.write_card`."""
    config = encoder.config
    parts: dict[str, Any] = {}
    for part in PARTS:
        places = np.flatnonzero([row.split == part for row in rows])
        some, values = [rows[int(i)] for i in places], labels[places]
        parts[part] = {
            "rows": len(some),
            "groups": len({group_of(row) for row in some}),
            "of_class": target.count(values),
        }
    compressions = {row.labels.get("compression", "") for row in rows} - {""}
    return {
        "recipe": f"probe, {head} head on frozen features",
        **({"compression": ", ".join(sorted(compressions))} if compressions else {}),
        "parts": parts,
        "encoder": {
            "name": config.name,
            "frames": config.frames,
            "sha256": weights_sha256(encoder),
            "licence": config.licence,
            "source": config.source,
        },
    }


def check_parts(rows: Sequence[Row], labels: Values, target: Target) -> list[str]:
    """The validation rows are such that one can choose by them.

    Returns:
        Sentences on classes that validation or test has and train lacks.

    Raises:
        InputError: they are not.
    """
    notes = []
    counts = {}
    for part in PARTS:
        places = np.flatnonzero([row.split == part for row in rows])
        counts[part] = target.count(labels[places])
        if part == VAL:
            check_choice(labels[places], target)
    for part in (VAL, TEST):
        lacking = [
            f"{name} ({n} in {part})"
            for name, n in counts[part].items()
            if n and not counts[TRAIN][name] and target.kind != "regression"
        ]
        if lacking:
            notes.append(
                f"train has no {', '.join(lacking)}: these count, and no answer can be right."
            )
    return notes
