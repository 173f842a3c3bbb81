"""Features of the example clips with the weights that ship, as they were when those were made.

`python -m benchmarks.ship` writes golden.npy beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmarlin.jobs.extract import extract
from openmarlin.native import has_bf16

GOLDEN = Path(__file__).with_name("golden.npy")


@pytest.mark.parametrize(
    ("precision", "backend", "tolerance"),
    [("fp32", "torch", 0.05), ("fp32", "openvino", 0.05), ("bf16", "openvino", 0.1)],
)
def test_features_are_what_they_were(
    clips: Path, precision: str, backend: str, tolerance: float
) -> None:
    """Errors as a share of the distance to the mean feature, which is what tells windows apart.

    The crops come from face nets in the arithmetic of the machine: made on a CPU with AMX, the
    features of another without it are 0.026 away, and with OpenCV 4 0.031.
    """
    if precision == "bf16" and not has_bf16():
        pytest.skip("this CPU has no bfloat16 instructions")
    golden = np.load(GOLDEN)
    now = extract(clips, precision=precision, backend=backend, limit_seconds=2.0).embeddings
    assert now.shape == golden.shape
    shown = np.isfinite(golden).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(now).all(axis=1), shown)
    error = np.linalg.norm(now - golden, axis=1)[shown]
    apart = np.linalg.norm(golden - np.nanmean(golden, axis=0), axis=1)[shown]
    assert (error / apart).max() < tolerance
