"""The networks: what ships is what was checked, and calls do not disturb each other."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmarlin.errors import FaceError
from openmarlin.face import nets as nets_module
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.nets import ASSETS, FaceNets


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's assets that a test may damage."""
    copy = tmp_path / "assets"
    shutil.copytree(str(files("openmarlin.face") / "assets"), copy)
    monkeypatch.setattr(nets_module, "files", lambda package: tmp_path)
    nets_module._bundled.cache_clear()
    yield copy
    nets_module._bundled.cache_clear()


def test_every_shipped_net_has_a_hash() -> None:
    shipped = {path.name for path in (files("openmarlin.face") / "assets").iterdir()}
    assert shipped == set(ASSETS)


def test_a_damaged_net_is_refused(assets: Path) -> None:
    path = assets / "face_landmarker.task"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(FaceError, match=r"face_landmarker\.task is damaged .* reinstall"):
        _ = FaceNets().mesh


def test_a_missing_net_is_one_clear_line(assets: Path) -> None:
    (assets / "selfie_segmentation.tflite").unlink()
    with pytest.raises(FaceError, match=r"selfie_segmentation\.tflite cannot be read") as caught:
        _ = FaceNets().person
    assert "\n" not in str(caught.value)


def test_nets_are_compiled_once(landmarker: Landmarker) -> None:
    nets = landmarker.nets
    assert nets.mesh is nets.mesh
    assert nets.detector(128, 128) is nets.detector(128, 128)
    assert nets.detector(128, 128) is not nets.detector(256, 256)


def test_outputs_are_the_callers_own(landmarker: Landmarker) -> None:
    net = landmarker.nets.detector(128, 128)
    rng = np.random.default_rng(0)
    first = net(rng.integers(0, 256, (1, 128, 128, 3), dtype=np.uint8))
    kept = [output.copy() for output in first]
    net(rng.integers(0, 256, (1, 128, 128, 3), dtype=np.uint8))
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


def test_concurrent_calls_do_not_mix(landmarker: Landmarker) -> None:
    net = landmarker.nets.detector(128, 128)
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (1, 128, 128, 3), dtype=np.uint8) for _ in range(24)]
    expected = [net(picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        for got, want in zip(pool.map(net, pictures), expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_several_meshes_at_once_are_those_of_single_crops(landmarker: Landmarker, frames) -> None:
    image = frames("single_face.mp4")[0]
    crops = np.stack([image[82:338, 169:425], image[60:316, 180:436]])
    both, single = landmarker.nets.mesh(crops), [landmarker.nets.mesh(crop[None]) for crop in crops]
    for i, outputs in enumerate(single):
        assert [output.shape[0] for output in outputs] == [1, 1, 1]
        assert all(np.array_equal(a[i : i + 1], b) for a, b in zip(both, outputs, strict=True))


def test_the_person_mask_covers_the_person(landmarker: Landmarker, frames) -> None:
    image = frames("signer_book.mkv")[0]
    (face,) = landmarker.search(image)
    x, y = (face.points[4, :2] / (640, 480) * 256).astype(int)
    mask = landmarker.nets.person(cv2.resize(image, (256, 256))[None])[0][0, ..., 0]
    assert mask.shape == (256, 256)
    assert mask[y, x] > 0.9  # the nose
    assert mask[200, x] > 0.9  # the body
    assert mask[10, 10] < 0.1
    assert 0.1 < (mask > 0.5).mean() < 0.5
