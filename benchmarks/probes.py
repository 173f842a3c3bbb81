"""What frozen features know of a face; `python -m benchmarks.probes WINDOWS NAME=MODEL[,MODEL]...`.

WINDOWS is what `benchmarks.probe_windows` made; models of one name differ in their seed, and their
results are averaged. Everything is split by group of faces (real or fake: by source), and every
number comes with the interval in which 95 % of 1,000 bootstrap resamples of those groups lie. So
does what a model is ahead of random weights of its size: there both are measured on the same
resamples. Features are kept in WINDOWS/features, so that a model is run once.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import console, save
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner
from openmarlin.output import atomic

Array = NDArray[Any]
Rows = dict[str, dict[str, list[float]]]  # contender -> probe -> number, low, high
Draws = dict[str, Array]  # probe -> number, then that of every resample
N_POSE = 3
LEAST_SPREAD = 0.02  # of a target over windows; what hardly varies is not regressed
RESAMPLES = 1000
TINY_WIDTH = PRESETS["tiny"].width
ALPHAS = np.logspace(0, 5, 11)
FALSE = 0.01  # of pairs of strangers that are taken for one person


@dataclass(frozen=True)
class Windows:
    """What `benchmarks.probe_windows` wrote."""

    pixels: Array
    mesh: Array
    movement: Array
    table: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> Windows:
        table = pd.read_parquet(folder / "table.parquet")
        return cls(
            np.load(folder / "windows.npy", mmap_mode="r")[: len(table)],
            np.load(folder / "mesh.npy"),
            np.load(folder / "movement.npy"),
            table,
        )

    @property
    def training(self) -> Array:
        """Real windows of groups that pre-training saw as well: probes are fitted to them."""
        return (self.table.kind == "real").to_numpy() & ~self.table.held_out.to_numpy()

    @property
    def testing(self) -> Array:
        """Real windows of held-out groups."""
        return (self.table.kind == "real").to_numpy() & self.table.held_out.to_numpy()


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


# Features


def features(encoder: Encoder, windows: Windows, folder: Path) -> Array:
    """(W, D) float32, from `folder` where they are there."""
    kept = folder / f"{weights_sha256(encoder)[:16]}-{encoder.config.image_size}.npy"
    if not kept.is_file():
        made = encode(encoder, windows)
        kept.parent.mkdir(exist_ok=True)
        with atomic(kept) as part, part.open("wb") as file:
            np.save(file, made)
    return np.asarray(np.load(kept))


def encode(encoder: Encoder, windows: Windows) -> Array:
    """(W, D) float32."""
    runner, size = EncoderRunner(encoder), encoder.config.image_size
    batches = []
    for start in range(0, len(windows.pixels), 8):
        clips = np.asarray(windows.pixels[start : start + 8])
        if size != clips.shape[2]:
            frames = clips.reshape(-1, *clips.shape[2:])
            small = [cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames]
            clips = np.stack(small).reshape(*clips.shape[:2], size, size, 3)
        batches.append(runner(clips))
    return np.concatenate(batches)


def pixels(windows: Windows) -> Array:
    """Every second frame, 28 x 28 and grey: as many principal components as an embedding has."""
    grey = np.stack(
        [
            [cv2.cvtColor(cv2.resize(f, (28, 28), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
             for f in clip[::2]]
            for clip in windows.pixels
        ]
    )  # fmt: skip
    return principal(grey.reshape(len(grey), -1).astype(np.float32), windows)


def landmarks(windows: Windows) -> Array:
    """Mean and deviation over time of mesh points and blendshapes: what a geometric method sees."""
    values = np.concatenate(
        [windows.mesh.reshape(*windows.mesh.shape[:2], -1) / 224, windows.movement], axis=2
    )
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        both = [np.nanmean(values, axis=1), np.nanstd(values, axis=1)]
    return principal(np.nan_to_num(np.concatenate(both, axis=1)), windows)


def principal(values: Array, windows: Windows) -> Array:
    """Principal components of the training windows."""
    train = values[windows.training]
    pca = PCA(min(TINY_WIDTH, len(train)), random_state=0).fit(train)
    return np.asarray(pca.transform(values))


# Probes: features, windows -> what every group contributes


def movement(features: Array, windows: Windows, columns: slice, what: str) -> Score:
    """R² of ridge regression of mean or spread over a window, averaged over targets that vary."""
    values = windows.movement[:, :, columns]
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # windows without mesh
        target = np.nanmean(values, axis=1) if what == "mean" else np.nanstd(values, axis=1)
    seen = np.isfinite(target).all(axis=1)
    train, test = windows.training & seen, windows.testing & seen
    target = target[
        :, target[train].std(axis=0) > (LEAST_SPREAD if what == "mean" else LEAST_SPREAD / 2)
    ]
    groups = windows.table.group.to_numpy()
    ridge = _ridge(features[train], target[train], groups[train])
    error = (ridge.predict(features[test]) - target[test]) ** 2
    groups = groups[test]
    sums = {
        group: np.stack(
            [
                error[groups == group].sum(axis=0),
                target[test][groups == group].sum(axis=0),
                (target[test][groups == group] ** 2).sum(axis=0),
                np.full(target.shape[1], (groups == group).sum()),
            ]
        )
        for group in np.unique(groups)
    }
    return Score(sums, _r2)


def _ridge(features: Array, target: Array, groups: Array) -> Any:
    """Fitted; every target with the penalty that did best on groups it was not fitted to."""
    folds = GroupKFold(5)
    errors = [
        (cross_val_predict(_linear(alpha), features, target, groups=groups, cv=folds) - target) ** 2
        for alpha in ALPHAS
    ]
    best = np.mean(errors, axis=1).argmin(axis=0)
    return _linear(ALPHAS[best]).fit(features, target)


def _linear(alpha: Any) -> Any:
    return make_pipeline(StandardScaler(), Ridge(alpha))


def _r2(parts: list[Array]) -> float:
    error, total, squares, count = np.sum(parts, axis=0)
    return float(np.mean(1 - error / (squares - total**2 / count)))


def identity(features: Array, windows: Windows) -> dict[str, Score]:
    """Whether windows of other clips of the same group are nearer than those of other groups."""
    test, table = windows.testing, windows.table
    scaler = StandardScaler().fit(features[windows.training])
    scaled = scaler.transform(features[test])
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    near = scaled @ scaled.T
    groups, clips = table.group.to_numpy()[test], table["clip"].to_numpy()[test]
    other = clips[:, None] != clips[None]
    same = groups[:, None] == groups[None]
    auc: dict[str, list[float]] = {}
    first: dict[str, list[float]] = {}
    for i in range(len(near)):
        positives, negatives = near[i][other[i] & same[i]], near[i][~same[i]]
        if len(positives):
            wins = (positives[:, None] > negatives).mean() + (
                positives[:, None] == negatives
            ).mean() / 2
            auc.setdefault(groups[i], []).append(float(wins))
            first.setdefault(groups[i], []).append(float(positives.max() > negatives.max()))
    found = _found(near, groups, other & same, ~same)
    return {"auc": _mean_of_groups(auc), "recall@1": _mean_of_groups(first), "tpr": found}


def _found(near: Array, groups: Array, positive: Array, negative: Array) -> Score:
    """Share of the pairs of one person above what one in a hundred pairs of strangers reaches.

    The threshold is that of all groups, each counted alike; resamples do not move it.
    """
    first, second = np.nonzero(np.triu(negative))
    weights = 1 / np.bincount(np.unique(groups, return_inverse=True)[1])
    index = np.unique(groups, return_inverse=True)[1]
    scores, chances = near[first, second], weights[index[first]] * weights[index[second]]
    order = np.argsort(-scores)
    threshold = scores[order][np.searchsorted(np.cumsum(chances[order]), FALSE * chances.sum())]
    shares: dict[str, list[float]] = {}
    for i in range(len(near)):
        if positive[i].any():
            shares.setdefault(groups[i], []).append(
                float((near[i][positive[i]] > threshold).mean())
            )
    return _mean_of_groups(shares)


def _mean_of_groups(values: dict[str, list[float]]) -> Score:
    parts = {group: np.array([np.mean(some)]) for group, some in values.items()}
    return Score(parts, lambda drawn: float(np.mean(drawn)))


def fakes(features: Array, windows: Windows) -> Score:
    """AUC of real against generated or swapped; no source is on both sides."""
    table = windows.table
    chosen = windows.testing | (table.kind != "real").to_numpy()
    fake = (table.kind != "real").to_numpy()[chosen]
    sources = table.source.to_numpy()[chosen]
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
    labelled = (windows.table.emotion != "").to_numpy() & (windows.table.kind == "real").to_numpy()
    label = windows.table.emotion.to_numpy()[labelled]
    groups = windows.table.group.to_numpy()[labelled]
    cv = GroupKFold(len(np.unique(groups)))
    found = cross_val_predict(_classifier(), features[labelled], label, groups=groups, cv=cv)
    right: dict[str, list[float]] = {}
    for group, hit in zip(groups, found == label, strict=True):
        right.setdefault(group, []).append(float(hit))
    return _mean_of_groups(right)


def _classifier() -> Any:
    logistic = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), logistic)


def probe(features: Array, windows: Windows) -> dict[str, Score]:
    """All of them."""
    shapes, pose = slice(0, -N_POSE), slice(-N_POSE, None)
    same = identity(features, windows)
    return {
        "movement, mean (R²)": movement(features, windows, shapes, "mean"),
        "movement, spread (R²)": movement(features, windows, shapes, "spread"),
        "head pose, mean (R²)": movement(features, windows, pose, "mean"),
        "identity (AUC)": same["auc"],
        "identity (recall@1)": same["recall@1"],
        "identity (TPR at 1 % FPR)": same["tpr"],
        "real or fake (AUC)": fakes(features, windows),
        "emotion (accuracy)": emotions(features, windows),
    }


def untrained(image_size: int) -> list[Encoder]:
    """From two seeds."""
    config = PRESETS["tiny"].changed(image_size=image_size, positions="axes")
    return [Encoder(config, torch.Generator().manual_seed(seed)) for seed in (0, 1)]


def draws(seeds: list[Array], windows: Windows) -> Draws:
    """Of the mean over seeds."""
    scores = [probe(one, windows) for one in seeds]
    return {key: np.mean([s[key].draws() for s in scores], axis=0) for key in scores[0]}


def intervals(drawn: Draws) -> dict[str, list[float]]:
    """Number, 2.5th and 97.5th percentile of its resamples."""
    return {
        key: [float(v[0]), *np.nanpercentile(v[1:], [2.5, 97.5]).tolist()]
        for key, v in drawn.items()
    }


def run(windows: Windows, models: dict[str, list[str]], folder: Path) -> tuple[Rows, Rows, Rows]:
    """What contenders reach, and how far models are ahead of random weights and of pixels."""
    rows: Rows = {}
    ahead: Rows = {}
    ahead_of_pixels: Rows = {}

    def measure(name: str, seeds: list[Array]) -> Draws:
        drawn = draws(seeds, windows)
        rows[f"{name} ({len(seeds)} seeds)" if len(seeds) > 1 else name] = intervals(drawn)
        console.print(name, {key: round(float(v[0]), 3) for key, v in drawn.items()})
        return drawn

    raw = measure("raw pixels, PCA", [pixels(windows)])
    measure("mesh and blendshapes, PCA", [landmarks(windows)])
    by_chance: dict[int, Draws] = {}
    for name, paths in models.items():
        encoders = [load(path, "encoder") for path in paths]
        size = encoders[0].config.image_size
        if size not in by_chance:
            made = [features(encoder, windows, folder) for encoder in untrained(size)]
            by_chance[size] = measure(f"random weights, {size} px", made)
        drawn = measure(name, [features(encoder, windows, folder) for encoder in encoders])
        ahead[name] = intervals({key: v - by_chance[size][key] for key, v in drawn.items()})
        ahead_of_pixels[name] = intervals({key: v - raw[key] for key, v in drawn.items()})
    return rows, ahead, ahead_of_pixels


def show(results: Rows, title: str) -> None:
    table = Table("", *next(iter(results.values())), title=title)
    for contender, row in results.items():
        table.add_row(
            contender, *(f"{n:.2f} [{low:.2f}, {high:.2f}]" for n, low, high in row.values())
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("windows", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL[,MODEL]")
    args = parser.parse_args()
    models = {name: paths.split(",") for name, _, paths in (m.partition("=") for m in args.models)}
    windows = Windows.read(args.windows)
    counts = {
        "training windows": int(windows.training.sum()),
        "held-out windows": int(windows.testing.sum()),
        "held-out groups": int(windows.table.group[windows.testing].nunique()),
        "fake windows": int((windows.table.kind != "real").sum()),
        "emotion windows": int(
            ((windows.table.emotion != "") & (windows.table.kind == "real")).sum()
        ),
    }
    rows, ahead, ahead_of_pixels = run(windows, models, args.windows / "features")
    show(rows, "Frozen features")
    show(ahead, "Ahead of random weights")
    show(ahead_of_pixels, "Ahead of raw pixels")
    found = {"rows": rows, "ahead": ahead, "ahead_of_pixels": ahead_of_pixels}
    save("probes", {"counts": counts, **found})


if __name__ == "__main__":
    main()
