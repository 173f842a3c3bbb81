from __future__ import annotations

import pytest
import torch

from openmarlin.lipsync.generators.critics import QualityCritic, SyncCritic
from tests.made_up_weights import made_up_input, made_up_state, spread


def test_the_quality_critic_is_the_published_one() -> None:
    net = QualityCritic()
    assert sum(p.numel() for p in net.parameters()) == 14_113_793
    assert len(net.state_dict()) == 28
    net.load_state_dict(made_up_state(net))
    faces = (made_up_input((1, 3, 5, 96, 96), 1006) + 1) / 2
    with torch.inference_mode():
        y = net(faces.flip(1)).sigmoid()  # the reference has blue first
    expected = (0.51575, 0.48632, 0.45918, 0.44626, 0.45065, 0.471635, 0.029161)
    assert spread(y) == pytest.approx(expected, abs=1e-5)


def test_the_quality_critic_sees_the_lower_half_alone() -> None:
    torch.manual_seed(0)
    net, faces = QualityCritic(0.25, 64), torch.rand(2, 3, 3, 64, 64)
    other = faces.clone()
    other[..., :32, :] = 0
    with torch.inference_mode():
        assert net(faces).shape == (2, 3)
        assert torch.equal(net(faces), net(other))


@pytest.mark.parametrize("size", [64, 96])
def test_the_sync_critic(size: int) -> None:
    torch.manual_seed(0)
    net = SyncCritic(0.25, size)
    faces = torch.rand(2, 3, 3, size, size, requires_grad=True)
    apart = net(faces, torch.randn(2, 3, 1, 12, 35))
    assert apart.shape == (2, 3)
    assert ((apart >= 0) & (apart <= 2)).all()
    apart.sum().backward()
    assert faces.grad is not None
    assert torch.isfinite(faces.grad).all()
