"""Probes on the tokens of an encoder: a ridge on a coarse grid of them, and attention.

The attentive probe is that of `openmarlin probe --head attentive`: one learnt query looks at the
frozen tokens, twenty settings learn at once, and one is chosen on training groups that were kept
apart. A window is a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from benchmarks.probe_inputs import Array, Windows, in_cells, in_time, tokens
from benchmarks.probe_scores import (
    EMOTION,
    MOVEMENT,
    POSE,
    SPREAD,
    Score,
    accuracy,
    emotions,
    loudness,
    movement,
    movement_target,
    r2_score,
)
from openmarlin.model.encoder import Encoder
from openmarlin.tasks.labels import Target
from openmarlin.tasks.probe_attentive import fit_attentive, pool_rows
from openmarlin.tasks.selection import Examples, Fitted

FOLDS, EPOCHS = 5, 10
GRID, ATTENTIVE = "grid of tokens", "attention to tokens"


@dataclass(frozen=True)
class WindowTokens:
    """Tokens of windows, every window a row.

    Attributes:
        kept: (R, N, D) of the real windows.
        place: (W,) where a window is among them.
    """

    kept: Array
    place: Array

    @classmethod
    def of(cls, kept: Array, windows: Windows) -> WindowTokens:
        return cls(kept, np.cumsum(windows.real) - 1)

    def windows_of(self) -> list[NDArray[np.int64]]:
        return list(np.arange(len(self.place))[:, None])

    def tokens(self, windows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        return self.kept[self.place[np.asarray(windows)]].astype(np.float32)


def probe_tokens(encoder: Encoder, windows: Windows) -> dict[str, dict[str, Score]]:
    """What is found in the tokens of an encoder, by the kind of the probe."""
    kept = tokens(encoder, windows)
    cells = in_cells(kept, encoder, windows)
    found = {GRID: {**movement(cells, windows), EMOTION: emotions(cells, windows)}}
    by_window = WindowTokens.of(kept, windows)
    attended = attentive_movement(by_window, windows)
    found[ATTENTIVE] = {**attended, EMOTION: attentive_emotions(by_window, windows)}
    return found


def probe_steps(encoder: Encoder, windows: Windows) -> dict[str, Score]:
    """What the tokens of a time step know of the sound at that time."""
    return loudness(in_time(tokens(encoder, windows), encoder, windows), windows)


def attentive_movement(by_window: WindowTokens, windows: Windows) -> dict[str, Score]:
    """R² of means and spreads of the blendshapes and of head poses, learnt by one head."""
    targets, seen = {}, np.ones(len(windows.table), bool)
    for name in (MOVEMENT, SPREAD, POSE):
        targets[name], there = movement_target(windows, name)
        seen &= there
    values = np.concatenate(list(targets.values()), axis=1).astype(np.float64)
    names = tuple(map(str, range(values.shape[1])))
    train, test = np.flatnonzero(windows.training & seen), np.flatnonzero(windows.testing & seen)
    groups = windows.groups
    kept, chosen = next(GroupKFold(FOLDS).split(train, groups=groups[train]))
    target = Target("regression", names, names)
    fitted = _fit(by_window, values, target, train[kept], train[chosen])
    answers = _answers(fitted, by_window, test)
    scores, first = {}, 0
    for name, own in targets.items():
        part = answers[:, first : first + own.shape[1]]
        scores[name] = r2_score(part, own[test], groups[test])
        first += own.shape[1]
    return scores


def attentive_emotions(by_window: WindowTokens, windows: Windows) -> Score:
    """Accuracy over the labelled windows; a fold is tested, the next one chooses, others teach."""
    rows = np.flatnonzero(windows.labelled)
    words, numbers = np.unique(windows.table.emotion.to_numpy()[rows], return_inverse=True)
    labels = np.full((len(windows.table), 1), np.nan)
    labels[rows, 0] = numbers
    divide = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    groups = windows.groups[rows]
    folds = [rows[test] for _, test in divide.split(rows, numbers, groups)]
    target, right = Target("class", ("emotion",), tuple(words)), np.zeros(len(labels), bool)
    for number, test in enumerate(folds):
        val = folds[(number + 1) % FOLDS]
        train = np.setdiff1d(rows, np.concatenate([test, val]))
        answers = _answers(_fit(by_window, labels, target, train, val), by_window, test)
        right[test] = answers.argmax(axis=1) == labels[test, 0]
    return accuracy(right[rows], groups)


def _fit(
    by_window: WindowTokens, labels: Array, target: Target, train: Array, val: Array
) -> Fitted:
    width = by_window.kept.shape[-1]
    parts = (Examples(p, np.zeros((len(p), width), np.float32), labels[p]) for p in (train, val))
    return fit_attentive(*parts, target, by_window, 0, balanced=True, epochs=EPOCHS)


def _answers(fitted: Fitted, by_window: WindowTokens, rows: Array) -> Array:
    """(n, C) of some rows."""
    import torch

    vectors = pool_rows([fitted.head], by_window, list(rows[:, None]))[0]
    with torch.inference_mode():
        return np.asarray(fitted.head.answer(torch.from_numpy(vectors)))
