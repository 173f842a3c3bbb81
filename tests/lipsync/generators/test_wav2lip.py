"""Wav2Lip's generator and AttnWav2Lip: sizes, and values for made-up weights."""

from __future__ import annotations

import pytest
import torch

from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.wav2lip import AttnWav2Lip, Wav2Lip
from tests.made_up_weights import made_up_input, made_up_state, spread


@pytest.fixture(scope="module")
def net() -> Wav2Lip:
    net = Wav2Lip(GeneratorConfig(system="wav2lip"))
    net.load_state_dict(made_up_state(net, gain=1.5), strict=False)
    return net.eval()


def test_sizes(net: Wav2Lip) -> None:
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert sum(parts.values()) == 36_298_035
    assert parts["face_encoder_blocks"] == 8_171_056
    assert parts["audio_encoder"] == 2_812_672
    assert parts["face_decoder_blocks"] == 25_291_072
    assert parts["output_block"] == 23_235
    assert len(net.state_dict()) == 352
    shapes = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    assert shapes["face_encoder_blocks.1.0.conv_block.0.weight"] == (32, 16, 3, 3)
    assert shapes["face_decoder_blocks.1.0.conv_block.0.weight"] == (1024, 512, 3, 3)
    assert shapes["audio_encoder.12.conv_block.0.weight"] == (512, 512, 1, 1)
    assert shapes["output_block.1.weight"] == (3, 32, 1, 1)


def test_the_values_of_the_reference(net: Wav2Lip) -> None:
    """The reference has blue first; `logits` has red first."""
    sound = 4 * made_up_input((1, 5, 1, 80, 16), 1004)
    faces = (made_up_input((1, 6, 5, 96, 96), 1005) + 1) / 2
    with torch.inference_mode():
        red_first = net.logits(sound, faces[:, [2, 1, 0, 5, 4, 3]])
    y = red_first.flip(1)
    expected = (-0.02291, -0.06732, -0.04122, -0.04302, -0.02397, -0.010487, 0.079892)
    assert spread(y) == pytest.approx(expected, abs=1e-5)
    assert y[0, :, 2, 60, 40].tolist() == pytest.approx([-0.01870, -0.07697, 0.05615], abs=1e-5)


def test_attention_adds_little() -> None:
    attentive = AttnWav2Lip(GeneratorConfig(system="attn_wav2lip"))
    count = sum(p.numel() for p in attentive.parameters())
    assert 1.003 < count / 36_298_035 < 1.015
    missing, unexpected = attentive.load_state_dict(
        Wav2Lip(GeneratorConfig(system="wav2lip")).state_dict(), strict=False
    )
    assert not unexpected
    assert all("_attention." in name for name in missing)
