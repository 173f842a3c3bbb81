"""The linear probe against scikit-learn one problem at a time: `python -m benchmarks.probe_speed`.

10,000 features of 768 values, 40 labels, 45 penalties. Ours solves them all; scikit-learn solves
some of them in the same run, and its time for all is reckoned from that.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.common import console, save
from openmarlin.tasks.labels import Target
from openmarlin.tasks.logistic import MAX_STEPS, fit_logistic
from openmarlin.tasks.probe_linear import STRENGTHS, fit_linear
from openmarlin.tasks.selection import Examples

ROWS, WIDTH, LABELS, HELD_OUT = 10_000, 768, 40, 2_000
PEER_LABELS = (0, 20)
PEER_STRENGTHS = tuple(range(0, len(STRENGTHS), 11))

Floats = NDArray[np.float32]


@dataclass
class Clock:
    """Wall and processor seconds of a block."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    _start: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def __enter__(self) -> Clock:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._start[0]
        self.cpu_s += time.process_time() - self._start[1]


def some_features() -> tuple[Floats, Floats]:
    """Standardised features whose spectrum falls as that of an encoder, labels of 5 to 50 %."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 1e-2, WIDTH)[:, None]
    x = rng.normal(size=(ROWS + HELD_OUT, WIDTH)) @ mix
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    logits = x @ rng.normal(size=(WIDTH, LABELS))
    logits = 2 * logits / logits.std(axis=0) - np.linspace(0, 4, LABELS)
    labels = rng.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    return x.astype(np.float32), labels.astype(np.float32)


def main() -> None:
    x, y = some_features()
    train, test = slice(0, ROWS), slice(ROWS, None)
    before_mib = peak_mib(reset=True)
    ours, whole, kept = Clock(), Clock(), {}
    with ours:
        weights = np.ones((ROWS, LABELS), np.float32)
        for i, coefficients, _ in fit_logistic(x[train], y[train, :, None], weights, STRENGTHS):
            if i in PEER_STRENGTHS:
                kept[i] = coefficients[..., 0]
    memory_mib = peak_mib() - before_mib
    names = tuple(map(str, range(LABELS)))
    parts = [
        Examples(np.arange(ROWS + HELD_OUT)[part], x[part], y[part].astype(float))
        for part in (train, test)
    ]
    with whole:
        fit_linear(*parts, Target("multilabel", names, names))
    peer, gaps = Clock(), []
    for i in PEER_STRENGTHS:
        for label in PEER_LABELS:
            model = LogisticRegression(C=STRENGTHS[i], max_iter=MAX_STEPS)
            with peer, warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x[train], y[train, label])
            scores = x[test] @ kept[i][:, label], x[test] @ model.coef_[0]
            gaps.append(np.subtract(*(roc_auc_score(y[test, label], s) for s in scores)))
    solved = len(PEER_STRENGTHS) * len(PEER_LABELS)
    scale = len(STRENGTHS) * LABELS / solved
    results: dict[str, Any] = {
        "rows": ROWS,
        "width": WIDTH,
        "labels": LABELS,
        "penalties": len(STRENGTHS),
        "threads": torch.get_num_threads(),
        "wall_s": ours.wall_s,
        "cpu_s": ours.cpu_s,
        "whole_wall_s": whole.wall_s,
        "whole_cpu_s": whole.cpu_s,
        "memory_mib": memory_mib,
        "peer_solved": solved,
        "peer_wall_s": peer.wall_s,
        "peer_cpu_s": peer.cpu_s,
        "times_peer_cpu": peer.cpu_s * scale / ours.cpu_s,
        "worst_auc_gap": float(np.abs(gaps).max()),
    }
    for name, value in results.items():
        console.print(f"{name:16} {value}")
    save("probe_speed", results)


def peak_mib(*, reset: bool = False) -> float:
    """Most resident memory of this process since the last reset, which makes it what it is now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    main()
