"""Which parameters Muon moves, and how far."""

from __future__ import annotations

import pytest
import torch
from toys import TOY

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.training.optimizer import MuonAndAdamW
from openmarlin.training.settings import PretrainSettings


def test_matrices_of_blocks_move_along_orthogonal_ones_and_the_rest_as_with_adamw() -> None:
    asked = PretrainSettings.of(**{**TOY, "data": ".", "out": "."})
    model = Autoencoder(asked.architecture(), torch.Generator().manual_seed(0))
    optimizer = MuonAndAdamW(model, lr=1e-3, muon_lr=0.02, betas=(0.9, 0.95), weight_decay=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(
        torch.rand(2, 3, 4, 32, 32), torch.arange(32).expand(2, -1) >= 8
    ).square().mean().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        moved = parameter.detach() - before[name]
        if "blocks" in name and parameter.ndim == 2:
            rows, columns = parameter.shape
            length = torch.linalg.svdvals(moved)[0] / (0.02 * max(1, rows / columns) ** 0.5)
            assert 0.6 < length < 1.3, name  # as near to 1 as five iterations in bfloat16 bring it
        else:
            assert moved.abs().max() == pytest.approx(1e-3, rel=0.01), name
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())
