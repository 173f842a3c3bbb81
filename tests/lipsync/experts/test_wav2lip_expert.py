"""Wav2Lip's expert: sizes, values for made-up weights, and the expert around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.experts.wav2lip_expert import SyncNetColor, Wav2LipExpert
from openmarlin.video.audio import Sound
from tests.made_up_weights import made_up_input, made_up_state, spread


@pytest.fixture(scope="module")
def net() -> SyncNetColor:
    net = SyncNetColor()
    net.load_state_dict(made_up_state(net), strict=False)
    return net.eval()


def test_sizes(net: SyncNetColor) -> None:
    assert sum(p.numel() for p in net.parameters()) == 16_435_072
    assert sum(p.numel() for p in net.face_encoder.parameters()) == 13_031_808
    assert sum(p.numel() for p in net.audio_encoder.parameters()) == 3_403_264
    assert len(net.state_dict()) == 217


def test_the_values_of_the_reference(net: SyncNetColor) -> None:
    with torch.inference_mode():
        sounds = net.embed_sound(4 * made_up_input((2, 1, 80, 16), 1002))
        faces = net.embed_faces((made_up_input((2, 15, 48, 96), 1003) + 1) / 2)
    audio = (0.01980, 0, 0.03967, 0.01158, 0.02661, 0.025044, 0.036431)
    assert spread(sounds) == pytest.approx(audio, abs=1e-5)
    face = (0.11873, 0, 0.03573, 0, 0, 0.023658, 0.037347)
    assert spread(faces) == pytest.approx(face, abs=1e-5)
    assert (sounds * faces).sum(1).tolist() == pytest.approx([0.310190, 0.306156], abs=1e-5)


@pytest.mark.parametrize("frames", [5, 16])
def test_both_lengths_as_experts(frames: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "lipsync_expert.pth"
    state = {f"module.{name}": t for name, t in SyncNetColor(frames).state_dict().items()}
    torch.save({"state_dict": state, "global_step": 1}, path)
    expert = load_expert(str(path))
    assert expert.window == frames
    assert expert.name == ("wav2lip_expert" if frames == 5 else "wav2lip_expert_16")
    views = np.random.default_rng(0).integers(0, 256, (frames + 2, 48, 96, 3)).astype(np.uint8)
    faces = expert.embed_faces(views)
    assert faces.shape == (3, 512)
    np.testing.assert_allclose(faces[2], expert.embed_faces(views[2:])[0], atol=1e-5)
    samples = np.random.default_rng(0).integers(-9000, 9000, 32_000).astype(np.int16)
    sounds = expert.embed_sound(Sound(samples, 0.1), 0.3, 4)
    assert sounds.shape == (4, 512)
    np.testing.assert_allclose(np.linalg.norm(np.stack([*faces, *sounds]), axis=1), 1, atol=1e-5)


def test_the_view_is_the_lower_half_of_the_box(net: SyncNetColor) -> None:
    """Colours of the picture are its coordinates."""
    rows, columns = np.mgrid[0:250, 0:250]
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    points = np.array([[40, 60, 0], [232, 156, 0]] * 239, np.float32)
    view = Wav2LipExpert(net, "").view(image, points)
    assert view.shape == (48, 96, 3)
    blue, green, red = np.moveaxis(view, 2, 0).astype(float)
    assert (blue == 0).all()
    # Pixels are two wide and one high; of the first, the centre is a half further.
    np.testing.assert_allclose(red[0], 40.5 + 2 * np.arange(96), atol=0.6)
    np.testing.assert_allclose(green[:, 0], 108 + np.arange(48), atol=0.6)


def test_another_length_is_refused(tmp_path: Path) -> None:
    state = dict(SyncNetColor().state_dict())
    state["face_encoder.0.conv_block.0.weight"] = torch.zeros(32, 9, 7, 7)
    torch.save(state, tmp_path / "expert.pth")
    with pytest.raises(ModelError, match="3 frames"):
        load_expert(tmp_path / "expert.pth")
