"""Windows of the network: an embedding depends on its own ticks and on nothing else."""

from __future__ import annotations

import pytest
import torch

from openmarlin.lipsync.experts.network import (
    SOUND_SKIP,
    WINDOW,
    ExpertConfig,
    ExpertNet,
    sound_columns,
)


@pytest.fixture(params=["points", "pixels", "mouth"])
def network(request: pytest.FixtureRequest) -> ExpertNet:
    torch.manual_seed(0)
    return ExpertNet(ExpertConfig(request.param, width=16, size=8)).eval()


def _talk(ticks: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(1, ticks, 49, 2, generator=generator)
    mouths = torch.randint(0, 256, (1, ticks, 48, 96), generator=generator, dtype=torch.uint8)
    return points, mouths, torch.rand(1, 80, 4 * ticks, generator=generator)


@torch.no_grad()
def test_a_stretch_gives_what_its_windows_give_alone(network: ExpertNet) -> None:
    points, mouths, mel = _talk(24)
    faces = network.embed_faces(points, mouths)[0]
    n_windows = 24 - WINDOW + 1
    sounds = network.embed_sound(mel[:, :, SOUND_SKIP:][:, :, : sound_columns(n_windows)])[0]
    assert len(faces) == len(sounds) == n_windows
    for i in (0, 4, n_windows - 1):
        ticks, columns = slice(i, i + WINDOW), slice(4 * i + SOUND_SKIP, 4 * (i + WINDOW))
        one_face = network.embed_faces(points[:, ticks], mouths[:, ticks])[0, 0]
        one_sound = network.embed_sound(mel[:, :, columns][:, :, : sound_columns(1)])[0, 0]
        torch.testing.assert_close(one_face, faces[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(one_sound, sounds[i], atol=1e-5, rtol=0)


@torch.no_grad()
def test_embeddings_have_length_one(network: ExpertNet) -> None:
    faces, sounds, scale = network(*_talk(20)[:2], _talk(20)[2][:, :, : sound_columns(6)])
    torch.testing.assert_close(faces.norm(dim=-1), torch.ones(1, 6))
    torch.testing.assert_close(sounds.norm(dim=-1), torch.ones(1, 6))
    assert scale > 1
