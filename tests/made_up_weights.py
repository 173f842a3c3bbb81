"""Weights and inputs that anyone can compute, for comparing networks without any files."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def made_up(count: int, seed: int) -> NDArray[np.float64]:
    """`count` numbers in [-1, 1)."""
    j = np.arange(count, dtype=np.float64)
    s = np.sin(j * 12.9898 + seed * 78.233) * 43758.5453
    return np.asarray(2 * (s - np.floor(s)) - 1)


def made_up_input(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers in [-1, 1) of a shape, float32."""
    return torch.from_numpy(made_up(math.prod(shape), seed).reshape(shape).astype(np.float32))


def made_up_state(net: nn.Module, gain: float = 6.0) -> dict[str, Tensor]:
    """Weights for all tensors of a network but its counters, by the sorted names."""
    own = net.state_dict()
    names = sorted(name for name in own if not name.endswith("num_batches_tracked"))
    state = {}
    for seed, name in enumerate(names):
        tensor = own[name]
        v = made_up(tensor.numel(), seed)
        if name.endswith("running_var"):
            v = 1 + 0.2 * v
        elif name.endswith(("running_mean", ".bias")):
            v = 0.05 * v
        elif tensor.ndim == 1:
            v = 1 + 0.2 * v
        else:
            v = v * math.sqrt(gain / (tensor.numel() / tensor.shape[0]))
        state[name] = torch.from_numpy(v.reshape(tensor.shape).astype(np.float32))
    return state


def spread(y: Tensor) -> tuple[float, ...]:
    """The first five values, the mean and the deviation, as the reference values list them."""
    flat = y.flatten()
    return (*flat[:5].tolist(), flat.mean().item(), flat.std().item())
