"""The probes: what is asked of features, on whom, and how sure the answer is.

Everything is split by group of faces (real or fake: by source). A `Score` holds what every group
contributes, so that any two can be compared on the same resamples of groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.probe_inputs import Array, Windows

Rows = dict[str, dict[str, list[float]]]  # contender -> probe -> number, low, high
Draws = dict[str, Array]  # probe -> number, then that of every resample
N_POSE = 3
LEAST_SPREAD = 0.02  # of a target over windows; what hardly varies is not regressed
RESAMPLES = 1000
ALPHAS = np.logspace(0, 5, 11)
FALSE = 0.01  # of pairs of strangers that are taken for one person
MOVEMENT, SPREAD, POSE = "movement, mean (R²)", "movement, spread (R²)", "head pose, mean (R²)"
EMOTION, LOUDNESS = "emotion (accuracy)", "loudness (correlation)"
LEAST_DB = 3.0  # deviation of the loudness in a window; below it nobody speaks and pauses
LEAST_STEPS = 4


@dataclass(frozen=True)
class Score:
    """What every group contributes, and how contributions become a number."""

    groups: dict[str, Array]
    number: Callable[[list[Array]], float]

    def draws(self) -> Array:
        """(1 + RESAMPLES,): the number, then that of resampled groups, the same in every Score."""
        parts = [self.groups[group] for group in sorted(self.groups)]
        draws = np.random.default_rng(0).integers(len(parts), size=(RESAMPLES, len(parts)))
        drawn = [self.number([parts[i] for i in draw]) for draw in draws]
        return np.array([self.number(parts), *drawn])


def draws(seeds: list[dict[str, Score]]) -> Draws:
    """Of the mean over seeds."""
    return {key: np.mean([s[key].draws() for s in seeds], axis=0) for key in seeds[0]}


def intervals(drawn: Draws) -> dict[str, list[float]]:
    """Number, 2.5th and 97.5th percentile of its resamples."""
    return {
        key: [float(v[0]), *np.nanpercentile(v[1:], [2.5, 97.5]).tolist()]
        for key, v in drawn.items()
    }


def probe(features: Array, windows: Windows) -> dict[str, Score]:
    """All that is asked of one vector a window."""
    return {
        **movement(features, windows),
        **identity(features, windows),
        "real or fake (AUC)": fakes(features, windows),
        EMOTION: emotions(features, windows),
    }


def movement(features: Array, windows: Windows) -> dict[str, Score]:
    """R² of ridge regression of means and spreads of the blendshapes, and of head poses."""
    return {name: _movement(features, windows, name) for name in (MOVEMENT, SPREAD, POSE)}


def movement_target(windows: Windows, what: str) -> tuple[Array, Array]:
    """Values (W, K) that vary over training windows, and where (W,) they were measured."""
    columns = slice(-N_POSE, None) if what == POSE else slice(0, -N_POSE)
    values = windows.movement[:, :, columns]
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # windows without mesh
        target = np.nanstd(values, axis=1) if what == SPREAD else np.nanmean(values, axis=1)
    seen = np.isfinite(target).all(axis=1)
    least = LEAST_SPREAD / 2 if what == SPREAD else LEAST_SPREAD
    return target[:, target[windows.training & seen].std(axis=0) > least], seen


def _movement(features: Array, windows: Windows, what: str) -> Score:
    target, seen = movement_target(windows, what)
    train, test = windows.training & seen, windows.testing & seen
    ridge = fit_ridge(features[train], target[train], windows.groups[train])
    return r2_score(ridge.predict(features[test]), target[test], windows.groups[test])


def fit_ridge(features: Array, target: Array, groups: Array) -> Any:
    """Every target with the penalty that did best on groups it was not fitted to."""
    folds = GroupKFold(5)
    answers = [
        cross_val_predict(_linear(alpha), features, target, groups=groups, cv=folds)
        for alpha in ALPHAS
    ]
    errors = [(answer.reshape(target.shape) - target) ** 2 for answer in answers]
    best = np.mean(errors, axis=1).argmin(axis=0)
    return _linear(ALPHAS[best]).fit(features, target)


def _linear(alpha: Any) -> Any:
    return make_pipeline(StandardScaler(), Ridge(alpha))


def r2_score(predicted: Array, target: Array, groups: Array) -> Score:
    """R² of values (n, K), averaged over K."""
    rows = np.stack([(predicted - target) ** 2, target, target**2, np.ones_like(target)], axis=1)
    return Score({group: rows[groups == group].sum(axis=0) for group in np.unique(groups)}, _r2)


def _r2(parts: list[Array]) -> float:
    error, total, squares, count = np.sum(parts, axis=0)
    return float(np.mean(1 - error / (squares - total**2 / count)))


def identity(features: Array, windows: Windows) -> dict[str, Score]:
    """Whether windows of other clips of the same group are nearer than those of other groups.

    Across sources the two clips of one person are from different collections; within a source
    strangers are from the same one, so that resolution and light give nothing away.
    """
    test, table = windows.testing, windows.table
    scaler = StandardScaler().fit(features[windows.training])
    scaled = scaler.transform(features[test])
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    near = scaled @ scaled.T
    groups, clips, sources = (table[key].to_numpy()[test] for key in ("group", "clip", "source"))
    same = groups[:, None] == groups[None]
    pairs = same & (clips[:, None] != clips[None])
    alike = sources[:, None] == sources[None]
    return {
        "identity (AUC)": _compare(near, groups, pairs, ~same, _wins),
        "identity (recall@1)": _compare(near, groups, pairs, ~same, _nearest),
        "identity (TPR at 1 % FPR)": _found(near, groups, pairs, ~same),
        "identity across sources (AUC)": _compare(near, groups, pairs & ~alike, ~same, _wins),
        "identity within a source (AUC)": _compare(
            near, groups, pairs & alike, ~same & alike, _wins
        ),
    }


def _compare(
    near: Array,
    groups: Array,
    positive: Array,
    negative: Array,
    compare: Callable[[Array, Array], float],
) -> Score:
    """The mean over groups; windows without a pair of either kind say nothing."""
    values: dict[str, list[float]] = {}
    for group, row, same, other in zip(groups, near, positive, negative, strict=True):
        if same.any() and other.any():
            values.setdefault(group, []).append(compare(row[same], row[other]))
    return mean_of_groups(values)


def _wins(positives: Array, negatives: Array) -> float:
    ties = (positives[:, None] == negatives).mean() / 2
    return float((positives[:, None] > negatives).mean() + ties)


def _nearest(positives: Array, negatives: Array) -> float:
    return float(positives.max() > negatives.max())


def _found(near: Array, groups: Array, positive: Array, negative: Array) -> Score:
    """Share of the pairs of one person above what one in a hundred pairs of strangers reaches.

    The threshold is that of all groups, each counted alike; resamples do not move it.
    """
    first, second = np.nonzero(np.triu(negative))
    index = np.unique(groups, return_inverse=True)[1]
    weights = 1 / np.bincount(index)
    scores, chances = near[first, second], weights[index[first]] * weights[index[second]]
    order = np.argsort(-scores)
    threshold = scores[order][np.searchsorted(np.cumsum(chances[order]), FALSE * chances.sum())]
    shares: dict[str, list[float]] = {}
    for group, row, same in zip(groups, near, positive, strict=True):
        if same.any():
            shares.setdefault(group, []).append(float((row[same] > threshold).mean()))
    return mean_of_groups(shares)


def mean_of_groups(values: dict[str, list[float]]) -> Score:
    parts = {group: np.array([np.mean(some)]) for group, some in values.items()}
    return Score(parts, lambda drawn: float(np.mean(drawn)))


def fakes(features: Array, windows: Windows) -> Score:
    """AUC of real against generated or swapped; no source is on both sides."""
    chosen = windows.testing | ~windows.real
    fake = ~windows.real[chosen]
    sources = windows.table.source.to_numpy()[chosen]
    scores = cross_val_predict(
        _classifier(),
        features[chosen],
        fake,
        groups=sources,
        cv=StratifiedGroupKFold(5),
        method="decision_function",
    )
    rows = np.stack([scores, fake], axis=1)
    return Score({source: rows[sources == source] for source in np.unique(sources)}, _auc)


def _auc(parts: list[Array]) -> float:
    score, fake = np.concatenate(parts).T
    return float(roc_auc_score(fake, score)) if 0 < fake.mean() < 1 else np.nan


def emotions(features: Array, windows: Windows) -> Score:
    """Accuracy over the labelled windows, one group left out at a time."""
    labelled = windows.labelled
    label, groups = windows.table.emotion.to_numpy()[labelled], windows.groups[labelled]
    cv = GroupKFold(len(np.unique(groups)))
    answers = cross_val_predict(_classifier(), features[labelled], label, groups=groups, cv=cv)
    return accuracy(answers == label, groups)


def accuracy(right: Array, groups: Array) -> Score:
    """The mean over groups."""
    return mean_of_groups({g: right[groups == g].astype(float).tolist() for g in np.unique(groups)})


def _classifier() -> Any:
    logistic = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), logistic)


def loudness(steps: Array, windows: Windows) -> dict[str, Score]:
    """Correlation of what a ridge says of the loudness at a time with what was heard.

    Features (W, 8, D) and loudness are those of a time step less their mean over the window, so
    that neither the face nor the microphone gives anything away: only what moves counts. The mean
    over groups.
    """
    assert windows.sound is not None
    heard = np.isfinite(windows.sound)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # windows without sound
        varied = np.nanstd(windows.sound, axis=1) >= LEAST_DB
    heard &= (varied & (heard.sum(axis=1) >= LEAST_STEPS))[:, None]
    rows: dict[bool, tuple[list[Array], list[Array], list[str]]] = {
        True: ([], [], []), False: ([], [], [])
    }  # fmt: skip
    for i in np.flatnonzero(heard.any(axis=1) & windows.real):
        own, there = rows[bool(windows.testing[i])], heard[i]
        seen, db = steps[i][there], windows.sound[i][there]
        own[0].append(seen - seen.mean(axis=0))
        own[1].append(db - db.mean())
        own[2].extend([windows.groups[i]] * int(there.sum()))
    train, test = (
        (np.concatenate(x), np.concatenate(y)[:, None], np.array(g))
        for x, y, g in (rows[False], rows[True])
    )
    predicted = fit_ridge(*train).predict(test[0])
    both = np.stack([predicted.ravel(), test[1].ravel()])
    values = {g: [float(np.corrcoef(both[:, test[2] == g])[0, 1])] for g in np.unique(test[2])}
    return {LOUDNESS: mean_of_groups(values)}
