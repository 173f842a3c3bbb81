"""How long one clip's mask takes: `python benchmarks/masking.py` prints the median per strategy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from openmarlin.masking import STRATEGIES, make_mask
from openmarlin.regions import REGIONS, to_cells

CLIPS, ROUNDS = 64, 20


def some_labels(rng: np.random.Generator) -> np.ndarray:
    """Label maps (16, 224, 224): background, hair, skin and a box for every other part."""
    labels = np.zeros((16, 224, 224), np.uint8)
    labels[:, 20:120, 30:190] = 10
    labels[:, 50:190, 50:170] = 1
    for name, classes in REGIONS.items():
        if name not in ("background", "skin", "hair"):
            y, x = rng.integers(60, 150, 2)
            for i, label in enumerate(classes):
                labels[:, y + 12 * i : y + 12 * i + 12, x : x + 40] = label
    return labels


def median_ms(job: Callable[[int], object]) -> float:
    """Median wall time of job(i) over CLIPS clips and ROUNDS rounds."""
    times = []
    for i in range(CLIPS * ROUNDS):
        start = time.perf_counter()
        job(i % CLIPS)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    rng = np.random.default_rng(0)
    labels = [some_labels(rng) for _ in range(CLIPS)]
    cells = [to_cells(clip) for clip in labels]
    print("median ms a clip (16 frames of 224 px, 1568 tokens)")
    for name in STRATEGIES:
        print(f"{name:28} {median_ms(lambda i, n=name: make_mask(n, cells[i], rng=rng)):.3f}")
    hidden = ("left_eye", "right_eye", "mouth")
    hidden_ms = median_ms(lambda i: make_mask("random", cells[i], rng=rng, regions=hidden))
    print(f"{'random, eyes + mouth hidden':28} {hidden_ms:.3f}")
    print(f"{'labels to cells (prepare)':28} {median_ms(lambda i: to_cells(labels[i])):.3f}")


if __name__ == "__main__":
    main()
