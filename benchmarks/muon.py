"""Muon in float32 against torch's, which computes in bfloat16: `python -m benchmarks.muon`.

Matrices are those of the tiny encoder. Processor time, so that other work on the machine counts
little; each round takes a step of both.
"""

from __future__ import annotations

import time

import torch

from benchmarks.common import console, median_ratio, save
from openmarlin.model.io import load
from openmarlin.model.layers import Block
from openmarlin.training.muon import Float32Muon

ROUNDS = 5


def processor_seconds(optimizer: torch.optim.Optimizer) -> float:
    start = time.process_time()
    optimizer.step()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"torch, bfloat16": [], "float32": []}
    kinds = (torch.optim.Muon, Float32Muon)
    optimizers = []
    for kind in kinds:
        blocks = [part for part in load("tiny").modules() if isinstance(part, Block)]
        matrices = [p for block in blocks for p in block.parameters() if p.ndim == 2]
        for matrix in matrices:
            matrix.grad = torch.randn_like(matrix)
        optimizers.append(kind(matrices, 0.02, 0.01))
    for turn in range(ROUNDS + 1):
        for name, optimizer in zip(seconds, optimizers, strict=True):
            spent = processor_seconds(optimizer)
            if turn:
                seconds[name].append(spent)
    ratio = median_ratio(seconds["torch, bfloat16"], seconds["float32"])
    console.print(f"torch's takes {ratio:.1f} times as long", seconds)
    save("muon", {"seconds": seconds, "ratio": ratio})


if __name__ == "__main__":
    main()
