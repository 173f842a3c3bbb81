"""Whether an export gives the numbers that torch gives: run.py itself is started and compared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmarlin.errors import ModelError
from openmarlin.exports.network import Arrays, Network
from openmarlin.exports.targets import SCRIPT

COSINE = 0.99999
"""Between the values of torch and of an export, for every clip, at least."""

DIFFERENCE = 1e-3
"""Of any two values, at most, as a share of the largest. Of one number a cosine says nothing."""

_MORE = 1  # than the clips with which it was traced: their number must be free


@dataclass(frozen=True)
class Agreement:
    """How equal an output is.

    Attributes:
        cosine: the smallest of all clips.
        difference: the largest of all values.
        largest: value of torch, without its sign.
    """

    cosine: float
    difference: float
    largest: float

    @classmethod
    def of(cls, expected: NDArray[Any], given: NDArray[Any]) -> Agreement:
        """Compare (B, ...) with the same of another program; NaN is equal to nothing."""
        a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (expected, given))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        both_zero = ~a.any(axis=1) & ~b.any(axis=1)
        cosines = np.where(both_zero, 1.0, (a * b).sum(axis=1) / np.where(norms, norms, 1.0))
        return cls(float(cosines.min()), float(np.abs(a - b).max()), float(np.abs(a).max()))

    @property
    def is_close(self) -> bool:
        """Whether it may be handed on."""
        return self.cosine >= COSINE and self.difference <= DIFFERENCE * self.largest

    def __str__(self) -> str:
        return f"cosine {self.cosine:.7f}, largest difference {self.difference:.1e}"


def compare(network: Network, folder: Path) -> dict[str, Agreement]:
    """Run an export by its own program, in a process of its own, and compare with torch.

    Returns:
        By name of the output.

    Raises:
        ModelError: it does not run, or gives other numbers.
    """
    inputs = network.example(_MORE)
    given = _run(folder, inputs)
    expected = network.run(inputs)
    agreements = {name: _agreement(name, value, given) for name, value in expected.items()}
    for name, agreement in agreements.items():
        if not agreement.is_close:
            raise ModelError(
                f"'{network.name}': the export gives other {name} than torch ({agreement}; "
                f"{COSINE} and {DIFFERENCE * agreement.largest:.1e} are the limits): it is not "
                "written"
            )
    return agreements


def as_dict(agreements: Mapping[str, Agreement]) -> dict[str, Any]:
    """As export.json has it."""
    return {name: asdict(agreement) for name, agreement in agreements.items()}


def _agreement(name: str, expected: NDArray[Any], given: Arrays) -> Agreement:
    if name not in given or given[name].shape != expected.shape:
        shape = given[name].shape if name in given else "nothing"
        raise ModelError(f"the export gives {shape} for {name}, not {expected.shape}")
    return Agreement.of(expected, given[name])


def _run(folder: Path, inputs: Arrays) -> Arrays:
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, f"{name}.npy") for name in inputs]
        for file, array in zip(files, inputs.values(), strict=True):
            np.save(file, array)
        out = Path(place, "out.npz")
        command = [sys.executable, *map(str, (folder.resolve() / SCRIPT, *files, out))]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=place, env=offline
        )
        if result.returncode or not out.is_file():
            lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
            raise ModelError(f"the export does not run: {lines[-1]}")
        with np.load(out) as arrays:
            return dict(arrays)
