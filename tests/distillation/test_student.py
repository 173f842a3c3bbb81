"""The student: whitening, and heads that see what they should."""

from __future__ import annotations

import torch

from openmarlin.distillation.network import Student, Whitening
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder

SHAPE = ModelConfig(image_size=32, frames=8, patch=16, width=32, depth=1, heads=2)


def test_whitened_features_are_uncorrelated_and_of_variance_one() -> None:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(8, 8, generator=generator)
    whitening = Whitening(8)
    for _ in range(300):
        whitening(torch.randn(64, 8, generator=generator) @ mix + 5)
    whitening.eval()
    before = whitening.mean.clone()
    white = whitening(torch.randn(20_000, 8, generator=generator) @ mix + 5)
    assert torch.equal(whitening.mean, before)
    assert white.mean(dim=0).abs().max() < 0.3
    covariance = torch.cov(white.T)
    variances = torch.linalg.eigvalsh(covariance)
    assert variances.min() > 0.1  # the weakest direction is held back
    assert variances.max() < 1.3
    assert (covariance - covariance.diag().diag()).abs().max() < 0.3


def test_one_that_looks_at_the_same_says_the_same() -> None:
    """Clips and pictures go their own ways through one encoder and the same heads."""
    student = Student(Encoder(SHAPE), n_frame=5, n_spread=2, n_step=3).eval()
    N, P = SHAPE.n_tokens, SHAPE.token_values
    clips = torch.randint(0, 255, (2, N, P), dtype=torch.uint8)
    everything = torch.zeros(2, N, dtype=torch.bool)
    step = torch.ones(2, N, dtype=torch.bool)
    step[:, :4] = False
    found = student(clips, everything, clips[:, :4], step)
    assert found.clips.shape == (2, 7)
    assert found.steps.shape == (2, SHAPE.grid[0], 3)
    assert found.pictures.shape == (2, 5)
    assert found.picture_steps.shape == (2, 3)
    alone = student(clips[:1], everything[:1], clips[1:, :4], step[1:])
    torch.testing.assert_close(alone.clips, found.clips[:1])
    torch.testing.assert_close(alone.pictures, found.pictures[1:])
    found.clips.sum().backward()
    assert student.encoder.patch_embedding.projection.weight.grad is not None
