"""SyncNet v2: sizes, values for made-up weights, and the expert around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.experts.syncnet import SyncNet, SyncNetExpert
from openmarlin.video.audio import Sound
from tests.made_up_weights import made_up_input, made_up_state, spread


@pytest.fixture(scope="module")
def net() -> SyncNet:
    net = SyncNet()
    net.load_state_dict(made_up_state(net), strict=False)
    return net.eval()


@pytest.fixture(scope="module")
def expert(net: SyncNet) -> SyncNetExpert:
    return SyncNetExpert(net, "0" * 12)


def test_sizes(net: SyncNet) -> None:
    assert sum(p.numel() for p in net.parameters()) == 13_631_616
    assert len(net.state_dict()) == 102
    assert len(made_up_state(net)) == 88


def test_the_audio_tower_gives_the_values_of_the_reference(net: SyncNet) -> None:
    with torch.inference_mode():
        y = net.embed_sound(10 * made_up_input((2, 1, 13, 20), 1000))
    first = [-11.26814, -48.69426, 0.71206, 1.05774, 20.49122]
    assert spread(y) == pytest.approx((*first, 0.373387, 23.426126), abs=1e-4 * 23.4)


def test_the_lip_tower_gives_the_values_of_the_reference(net: SyncNet) -> None:
    with torch.inference_mode():
        y = net.embed_faces(127.5 * (made_up_input((2, 3, 5, 224, 224), 1001) + 1))
    first = [-106.7768, 303.0274, -463.66406, 28.59408, 654.89832]
    assert spread(y) == pytest.approx((*first, -12.840886, 458.874561), abs=1e-4 * 459)


def test_a_stretch_is_embedded_as_its_windows(expert: SyncNetExpert) -> None:
    views = np.random.default_rng(0).integers(0, 256, (26, 224, 224, 3)).astype(np.uint8)
    together = expert.embed_faces(views)
    assert together.shape == (22, 1024)
    for i in (0, 19, 20, 21):  # of two batches
        alone = expert.embed_faces(views[i : i + 5])[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-3, atol=1e-2)


def test_sound_is_embedded_by_its_time(expert: SyncNetExpert) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 32_000).astype(np.int16)
    sound = Sound(samples, 0.0)
    together = expert.embed_sound(sound, 0.2, 23)
    assert together.shape == (23, 1024)
    alone = expert.embed_sound(sound, 0.2 + 21 / 25, 1)[0]
    np.testing.assert_allclose(together[21], alone, rtol=1e-3, atol=1e-2)
    beyond = expert.embed_sound(sound, 60.0, 2)
    np.testing.assert_array_equal(beyond[0], beyond[1])


def test_the_crop_lies_around_the_box_and_lower(expert: SyncNetExpert) -> None:
    """Colours of the picture are its coordinates."""
    rows, columns = np.mgrid[0:250, 0:250]
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    points = np.array([[80, 60, 0], [120, 120, 0]] * 239, np.float32)
    view = expert.view(image, points)
    assert view.shape == (224, 224, 3)
    blue, green, red = np.moveaxis(view, 2, 0).astype(float)
    assert (blue == 0).all()
    # The longer side is 60, so the crop has 84; its centre is 12 below that of the box.
    assert red.mean() == pytest.approx(99.5, abs=0.6)
    assert green.mean() == pytest.approx(101.5, abs=0.6)
    assert green[-1, 0] - green[0, 0] == pytest.approx(84, abs=1.5)


def test_a_published_file(net: SyncNet, tmp_path: Path) -> None:
    """Without counters of batches, as files of old versions of torch are."""
    path = tmp_path / "syncnet_v2.model"
    torch.save(made_up_state(net), path, _use_new_zipfile_serialization=False)
    expert = load_expert(path)
    assert expert.name == "syncnet_v2"
    assert expert.window == 5
    assert len(expert.digest) == 12
    sound = Sound(np.zeros(16_000, np.int16), 0.0)
    assert np.isfinite(expert.embed_sound(sound, 0.0, 1)).all()


def test_threads_of_torch_stay_as_they_were(expert: SyncNetExpert) -> None:
    before = torch.get_num_threads()
    expert.embed_sound(Sound(np.zeros(16_000, np.int16), 0.0), 0.0, 1)
    assert torch.get_num_threads() == before


def test_a_file_that_lacks_something(net: SyncNet, tmp_path: Path) -> None:
    state = made_up_state(net)
    del state["netfclip.3.bias"]
    torch.save(state, tmp_path / "syncnet_v2.model")
    with pytest.raises(ModelError, match=r"SyncNet.*1 missing \(netfclip.3.bias\)"):
        load_expert(tmp_path / "syncnet_v2.model")
