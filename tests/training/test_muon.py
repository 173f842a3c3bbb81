"""Muon in float32 takes torch's steps."""

from __future__ import annotations

import copy

import torch

from openmarlin.training.muon import Float32Muon


def test_it_steps_as_torchs_does() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(24, 72), (72, 24), (24, 24), (24, 72)]
    theirs = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    ours = copy.deepcopy(theirs)
    untouched = torch.nn.Parameter(torch.ones(3, 3))
    torchs = torch.optim.Muon(theirs, 0.02, 0.1)
    own = Float32Muon([*ours, untouched], 0.02, 0.1)
    for _ in range(3):
        for one, other in zip(theirs, ours, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        torchs.step()
        own.step()
    for one, other in zip(theirs, ours, strict=True):
        # bfloat16 has two to three digits, and steps are 0.02 long.
        torch.testing.assert_close(other, one, rtol=0, atol=3e-3)
        assert torchs.state[one].keys() == own.state[other].keys()
    assert torch.equal(untouched, torch.ones(3, 3))
