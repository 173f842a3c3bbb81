"""How good the heads that ship are: `python -m benchmarks.heads WINDOWS`.

WINDOWS is what `benchmarks.probe_windows` made. Groups count alike; each number has the interval of
1,000 resamples of them. Expressions are those that people have labelled; they are few, so groups
that the encoder was trained on are judged, too. Actions are what the blendshapes of the mesh say,
of held-out groups alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.common import console, save
from benchmarks.probe_inputs import Windows, features
from benchmarks.probe_scores import Array, Score, intervals
from benchmarks.task_labels import ACTIONS, actions_of
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.tasks.model import TaskModel, decide

LABELS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
}
"""What the corpus calls an emotion, and what the head calls the expression."""


def expression(windows: Windows) -> dict[str, Score]:
    """Accuracy on labelled windows: of held-out groups, and of all. Nobody's labels were learnt
    from, but faces of the other groups were, with what the teachers say of them."""
    model = TaskModel.load("expression")
    table = windows.table
    judged = np.flatnonzero(windows.real & table.emotion.isin(list(LABELS)).to_numpy())
    vectors = features(model.encoder, windows)[judged]
    answers = decide(model.answer(vectors), model.target)[:, 0]
    labels = [model.target.classes.index(LABELS[each]) for each in table.emotion.iloc[judged]]
    held_out, hits = windows.testing[judged], answers == labels
    groups = table.group.to_numpy()[judged]
    parts = {"held-out groups": held_out, "all groups": np.ones_like(held_out)}
    return {
        name: Score(
            {group: hits[some & (groups == group)] for group in np.unique(groups[some])},
            lambda drawn: float(np.mean([hit.mean() for hit in drawn])),
        )
        for name, some in parts.items()
    }


def actions(windows: Windows) -> dict[str, Score]:
    """AUC of every action."""
    model = TaskModel.load("actions")
    seen = np.isfinite(windows.movement).all(axis=2).any(axis=1)
    judged = np.flatnonzero(windows.testing & seen)
    scores = model.answer(features(model.encoder, windows)[judged])
    labels = np.array([_actions(windows.movement[i]) for i in judged])
    groups = windows.table.group.to_numpy()[judged]
    found = {}
    for i, name in enumerate(ACTIONS):
        rows = np.stack([scores[:, i], labels[:, i]], axis=1)
        found[name] = Score({group: rows[groups == group] for group in np.unique(groups)}, _auc)
    return found


def _actions(movement: Array) -> list[int]:
    """Of one window (16, 55)."""
    measured = movement[np.isfinite(movement).all(axis=1)]
    columns = dict(zip(BLENDSHAPE_NAMES, measured.T, strict=False))
    return list(actions_of({**columns, "yaw": np.degrees(measured[:, -3])}).values())


def _auc(parts: list[Array]) -> float:
    score, label = np.concatenate(parts).T
    return float(roc_auc_score(label, score)) if 0 < label.mean() < 1 else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("windows", type=Path)
    args = parser.parse_args()
    windows = Windows.read(args.windows)
    results: dict[str, Any] = {"counts": {}}
    for name, judge in (("expression", expression), ("actions", actions)):
        scores = judge(windows)
        results[name] = intervals({key: score.draws() for key, score in scores.items()})
        results["counts"][name] = {
            key: [sum(map(len, score.groups.values())), len(score.groups)]
            for key, score in scores.items()
        }
    console.print(results)
    save("heads", results)


if __name__ == "__main__":
    main()
