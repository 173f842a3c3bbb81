"""The loss: what counts as a negative, and what does not."""

from __future__ import annotations

import math

import pytest
import torch

from openmarlin.lipsync.experts.objective import in_clip_loss

ONE = torch.tensor(1.0)


def test_nothing_learnt_is_the_logarithm_of_the_choices() -> None:
    same = torch.zeros(2, 9, 4)
    same[..., 0] = 1
    counts = torch.tensor([9, 9])
    # A window in the middle chooses among 9 less its two neighbours, one at the end among 8.
    expected = (7 * math.log(7) + 2 * math.log(8)) / 9
    assert in_clip_loss(same, same, counts, ONE).item() == pytest.approx(expected, abs=1e-5)


def test_own_sound_found_costs_nothing_and_neighbours_do_not_count() -> None:
    basis = torch.eye(10)[None]
    counts = torch.tensor([10])
    assert in_clip_loss(basis, basis, counts, torch.tensor(50.0)).item() < 1e-6
    late = basis.roll(1, dims=1)
    late[0, 0] = 0
    found_next_door = in_clip_loss(basis, late, counts, torch.tensor(50.0)).item()
    assert found_next_door < in_clip_loss(basis, basis.roll(4, 1), counts, ONE * 50).item() / 5


def test_padding_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    faces, sounds = torch.randn(2, 1, 6, 4, generator=generator)
    padded = [torch.cat([each, torch.full((1, 5, 4), 9.0)], 1) for each in (faces, sounds)]
    counts = torch.tensor([6])
    alone = in_clip_loss(faces, sounds, counts, ONE)
    torch.testing.assert_close(in_clip_loss(*padded, counts, ONE), alone)
