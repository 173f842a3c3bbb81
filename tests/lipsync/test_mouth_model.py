"""Generators as models of mouths, and models by name and path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.errors import ModelError
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.make import make_generator, save_generator
from openmarlin.lipsync.mouth_model import GeneratorMouth, load_mouth_model, windows_of
from openmarlin.video.audio import Sound

S = 8


class Copies(torch.nn.Module):
    """Draws the reference in the lower half, as bright as it hears."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(system="toy", size=S, frames=frames)
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.calls: list[tuple[int, ...]] = []

    def forward(self, sound: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(faces.shape))
        assert sound.shape[:2] == (faces.shape[0], faces.shape[2])
        drawn = faces[:, :3].clone()
        assert not drawn[..., S // 2 :, :].any()
        loud = sound.mean(dim=(2, 3, 4))[:, None, :, None, None]
        drawn[..., S // 2 :, :] = loud * faces[:, 3:, :, S // 2 :]
        return drawn


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("count", [1, 4, 5, 23])
def test_every_frame_hears_its_own_sound(frames: int, count: int) -> None:
    model = GeneratorMouth(Copies(frames), "toy", "0" * 12, batch=10)
    assert (model.name, model.size, len(model.digest)) == ("toy", S, 12)
    heard = np.linspace(0, 1, 40, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 3))
    faces = np.random.default_rng(0).integers(0, 256, (count, S, S, 3)).astype(np.uint8)
    reference = (np.full((S, S, 3), 200, np.uint8), np.zeros((478, 2), np.float32))
    points = np.zeros((count, 478, 2), np.float32)
    drawn = model.draw(heard.astype(np.float32), 10, faces, points, [reference])
    np.testing.assert_array_equal(drawn[:, : S // 2], faces[:, : S // 2])
    expected = np.round(200 * np.linspace(0, 1, 40)[10 : 10 + count])
    assert np.abs(drawn[:, S // 2 :] - expected[:, None, None, None]).max() <= 1


@given(st.integers(1, 50), st.integers(1, 16))
def test_windows_cover_all_frames(n_frames: int, length: int) -> None:
    windows = windows_of(n_frames, length)
    assert set(windows.ravel()) == set(range(n_frames))
    assert windows.shape[1] == length
    if n_frames >= length:
        assert (np.diff(windows, axis=1) == 1).all()


def test_weights_tell_models_apart(tmp_path: Path) -> None:
    config = GeneratorConfig(system="wav2lip", width=0.05, size=32)
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        save_generator(tmp_path / name, make_generator(config, seed=seed), {})
    one, same, other = (
        load_mouth_model(tmp_path / name).digest for name in ("one", "same", "other")
    )
    assert one == same != other


def test_models_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        load_mouth_model(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"config\.json"):
        load_mouth_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        load_mouth_model(tmp_path)


def test_a_folder_of_a_generator(tmp_path: Path) -> None:
    generator = make_generator(GeneratorConfig(system="wav2lip", width=0.125))
    save_generator(tmp_path / "run" / "model", generator, {})
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        model = load_mouth_model(folder)
        faces = np.full((3, model.size, model.size, 3), 90, np.uint8)
        points = np.zeros((3, 478, 2), np.float32)
        heard = model.hear(Sound(np.zeros(16_000, np.int16), 0.0), np.arange(10) / 25)
        drawn = model.draw(heard, 4, faces, points, [(faces[0], points[0])])
        assert drawn.shape == faces.shape
        assert drawn.dtype == np.uint8
