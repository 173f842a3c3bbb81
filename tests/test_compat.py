from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from reference import randomised, reference_class, reference_reader

from openmarlin import compat
from openmarlin.compat import Marlin
from openmarlin.errors import InputError, ModelError, OpenMarlinError
from openmarlin.face.crop import crop
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.video.reader import VideoReader

SIZES = {
    "img_size": 224,
    "patch_size": 16,
    "n_frames": 16,
    "encoder_embed_dim": 64,
    "encoder_depth": 1,
    "encoder_num_heads": 1,
    "decoder_embed_dim": 64,
    "decoder_depth": 1,
    "decoder_num_heads": 1,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "qk_scale": None,
    "drop_rate": 0.0,
    "attn_drop_rate": 0.0,
    "norm_layer": "LayerNorm",
    "init_values": 0.0,
    "tubelet_size": 2,
}
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _few_threads_and_a_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def crops(clips: Path) -> np.ndarray:
    """72 frames of a face, 224x224."""
    with VideoReader(clips / "single_face.mp4") as video:
        return np.stack([crop(frame.image, 320, 180, 320, size=224) for frame in video])


def write(path: Path, frames: np.ndarray) -> Path:
    """An ordinary H.264 file."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(30), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return path


def decoded(path: Path) -> torch.Tensor:
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    return torch.from_numpy(np.stack(frames))


@pytest.fixture(scope="module")
def pair() -> Any:
    """The reference's class and ours with the same random weights; one block, to be fast."""
    torch.manual_seed(0)
    theirs = randomised(reference_class()(**SIZES)).eval()
    ours = Marlin(**SIZES)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_methods_have_the_arguments_of_the_reference() -> None:
    theirs = reference_class()
    for name in ("__init__", "from_file", "from_online", "clean_cache", "forward"):
        assert arguments(Marlin, name) == arguments(theirs, name), name
    for name in ("extract_features", "extract_video"):
        assert arguments(Marlin, name) == arguments(theirs, name), name
    assert isinstance(inspect.getattr_static(Marlin, "device"), property)


def arguments(cls: Any, method: str) -> list[tuple[str, Any]]:
    parameters = inspect.signature(getattr(cls, method)).parameters.values()
    return [(parameter.name, parameter.default) for parameter in parameters]


@pytest.mark.parametrize("keep_seq", [True, False])
def test_extract_features(pair: Any, keep_seq: bool) -> None:
    theirs, ours = pair
    clip = torch.rand(1, 3, 16, 224, 224)
    features = ours.extract_features(clip, keep_seq)
    torch.testing.assert_close(features, theirs.extract_features(clip, keep_seq), **TOLERANCE)
    assert not features.requires_grad
    assert ours.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("n", "settings"),
    [
        (1, {}),
        (16, {}),
        (17, {"keep_seq": True}),
        (32, {}),
        (65, {}),
        (72, {"stride": 4, "reduction": "mean"}),
        (72, {"sample_rate": 1, "reduction": "max", "keep_seq": True}),
    ],
)
def test_extract_video(
    pair: Any, crops: np.ndarray, n: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Windows, pixels and numbers: every short case, every end, every reduction."""
    theirs, ours = pair
    path = write(tmp_path / "crops.mp4", crops[:n])
    with reference_reader(decoded(path)):
        wanted = theirs.extract_video(str(path), **settings)
    features = ours.extract_video(str(path), **settings)
    torch.testing.assert_close(features, wanted, **TOLERANCE)


def test_forward_takes_a_mask_of_what_is_visible() -> None:
    theirs = randomised(reference_class()(**SIZES, as_feature_extractor=False)).eval()
    ours = Marlin(**SIZES, as_feature_extractor=False)
    ours.load_state_dict(theirs.state_dict())
    clip = torch.rand(1, 3, 16, 224, 224)
    visible = torch.rand(1, 1568).argsort().argsort() < 156
    with torch.no_grad():
        torch.testing.assert_close(ours(clip, visible), theirs(clip, visible), **TOLERANCE)
    with pytest.raises(ModelError, match="needs a mask"):
        ours(clip)
    with pytest.raises(ModelError, match="encoder alone"):
        Marlin(**SIZES)(clip, visible)


def test_from_file_holds_what_the_file_holds(tmp_path: Path) -> None:
    whole = Autoencoder(PRESETS["small"]).state_dict()
    torch.save(whole, tmp_path / "a.full.pt")
    torch.save(
        {k: t for k, t in whole.items() if k.startswith("encoder.")}, tmp_path / "a.encoder.pt"
    )
    full = Marlin.from_file("marlin_vit_small_ytf", str(tmp_path / "a.full.pt"))
    assert not full.as_feature_extractor
    assert full.state_dict().keys() == whole.keys()
    encoder = Marlin.from_file("marlin_vit_small_ytf", str(tmp_path / "a.encoder.pt"))
    assert encoder.as_feature_extractor
    assert encoder.clip_frames == 16
    assert len(encoder.state_dict()) == 161
    with pytest.raises(ModelError, match=r"not of marlin_vit_base_ytf.* \(384, 12, 6\)"):
        Marlin.from_file("marlin_vit_base_ytf", str(tmp_path / "a.full.pt"))
    with pytest.raises(ModelError, match="no released model 'vit_small': choose marlin_vit"):
        Marlin.from_file("vit_small", str(tmp_path / "a.full.pt"))


def test_from_online_asks_for_the_part_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, part: str = "encoder") -> Encoder | Autoencoder:
        asked.append((name, part))
        config = PRESETS["tiny"]
        return Encoder(config) if part == "encoder" else Autoencoder(config)

    monkeypatch.setattr(compat, "load", load)
    assert Marlin.from_online("marlin_vit_base_ytf").as_feature_extractor
    assert not Marlin.from_online("marlin_vit_base_ytf", full_model=True).as_feature_extractor
    assert asked == [("marlin_vit_base_ytf", "encoder"), ("marlin_vit_base_ytf", "full")]
    with pytest.raises(ModelError, match="no released model 'tiny'"):
        Marlin.from_online("tiny")


def test_clean_cache_tells_what_it_freed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned = []
    monkeypatch.setattr(compat, "clean_cache", lambda r: cleaned.append(r.name) or 1_000_000)
    Marlin.clean_cache()
    assert "3 MB" in capsys.readouterr().err
    Marlin.clean_cache(verbose=False)
    assert capsys.readouterr().err == ""
    assert len(cleaned) == 6


def test_a_face_is_followed_and_no_face_is_nan(pair: Any, clips: Path) -> None:
    _, ours = pair
    features = ours.extract_video(clips / "face_then_none.mp4", crop_face=True)
    seen = ~features.isnan().any(dim=1)
    assert seen[0]
    assert not seen[-1]
    assert torch.cosine_similarity(features[seen][0], features[seen][-1], dim=0) > 0.9


@pytest.mark.parametrize("keep_seq", [True, False])
def test_windows_without_a_face_do_not_count_in_a_reduction(
    pair: Any, crops: np.ndarray, keep_seq: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ours = pair
    windows: list[Any] = [crops[:16], None, crops[16:32]]

    def extract(reduction: str) -> torch.Tensor:
        monkeypatch.setattr(ours, "_face_crops", lambda *_: iter(windows))
        arguments = {"crop_face": True, "reduction": reduction, "keep_seq": keep_seq}
        features: torch.Tensor = ours.extract_video("some.mp4", **arguments)
        return features

    rows = extract("none")
    assert rows[1].isnan().all()
    torch.testing.assert_close(extract("mean"), rows[[0, 2]].mean(0))
    torch.testing.assert_close(extract("max"), rows[[0, 2]].amax(0))
    windows = [None, None]
    assert extract("mean").isnan().all()
    assert extract("mean").shape == rows.shape[1:]


def test_what_cannot_be_is_one_line(pair: Any, clips: Path, tmp_path: Path) -> None:
    _, ours = pair
    video = clips / "single_face.mp4"
    with pytest.raises(InputError, match="640x360: give face crops of 224x224, or crop_face=True"):
        ours.extract_video(video)
    with pytest.raises(InputError, match="choose none, mean or max"):
        ours.extract_video(video, reduction="median")
    with pytest.raises(OpenMarlinError, match="nowhere"):
        ours.extract_video(tmp_path / "nowhere.mp4")
    with pytest.raises(OpenMarlinError, match="rate"):
        ours.extract_video(video, crop_face=True, sample_rate=0)
    with pytest.raises(ModelError, match="can only be as released"):
        Marlin(**SIZES | {"drop_rate": 0.1})
