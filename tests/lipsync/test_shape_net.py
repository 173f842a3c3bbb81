"""The network that hears: any time, any chunk, the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openmarlin.lipsync.mel import MEL_BANDS
from openmarlin.lipsync.small.shape_net import (
    CONTEXT,
    SILENCE,
    ShapeNet,
    mel_around,
    mel_of_voice,
    silent_columns,
    voice_bands,
)
from openmarlin.video.audio import RATE, Sound

USUAL = np.full(MEL_BANDS, -1, np.float32)


def noise(seconds: float, start_s: float = 0.0) -> Sound:
    rng = np.random.default_rng(0)
    return Sound(rng.normal(0, 3000, round(seconds * RATE)).astype(np.int16), start_s)


@pytest.fixture(scope="module")
def net() -> ShapeNet:
    torch.manual_seed(0)
    return ShapeNet(4, 16).eval()


@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.floats(0, 59), min_size=1, max_size=9))
def test_shapes_lie_between_those_of_the_columns(net: ShapeNet, places: list[float]) -> None:
    mel = torch.randn(1, MEL_BANDS, 60, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        every = net(mel, torch.arange(60.0)[None])[0].numpy()
        some = net(mel, torch.tensor([places]))[0].numpy()
    wanted = [np.interp(places, np.arange(60), row) for row in every.T]
    assert some == pytest.approx(np.stack(wanted, axis=1), abs=1e-4)


def test_a_column_hears_its_context_alone(net: ShapeNet) -> None:
    mel = torch.randn(1, MEL_BANDS, 2 * CONTEXT + 9, generator=torch.Generator().manual_seed(0))
    other = mel.clone()
    other[:, :, :4] = 0
    other[:, :, -4:] = 0
    middle = torch.tensor([[CONTEXT + 4.0]])
    with torch.no_grad():
        assert torch.allclose(net(mel, middle), net(other, middle), atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(first=st.integers(0, 40), count=st.integers(1, 30))
def test_chunks_hear_the_same(first: int, count: int) -> None:
    sound, times_s = noise(3), np.arange(75) / 25 + 0.013
    mel, places = mel_around(sound, times_s)
    part, own = mel_around(sound, times_s[first : first + count])
    for time, place in enumerate(own, start=first):
        if time < first + count and time < len(places):
            at, here = round(float(places[time]) - 0.5), round(float(place) - 0.5)
            assert part[:, here] == pytest.approx(mel[:, at], abs=1e-4)


def test_bands_of_silence_are_the_usual_ones() -> None:
    silence = np.full((MEL_BANDS, 50), SILENCE, np.float32)
    assert voice_bands(silence, USUAL) == pytest.approx(USUAL)
    assert voice_bands(silence[:, :0], USUAL) == pytest.approx(USUAL)


def test_long_sounds_are_sampled() -> None:
    assert mel_of_voice(noise(120)).shape[1] < 40 * 82
    assert mel_of_voice(Sound(np.zeros(0, np.int16), 0)).shape == (MEL_BANDS, 0)


def test_only_long_silence_closes() -> None:
    mel = np.zeros((MEL_BANDS, 200), np.float32)
    mel[:, 50:55] = SILENCE
    mel[:, 100:160] = SILENCE
    silent = silent_columns(mel)
    assert silent[:90].max() == 0
    assert silent[130] == 1
    assert np.abs(np.diff(silent)).max() < 0.11
