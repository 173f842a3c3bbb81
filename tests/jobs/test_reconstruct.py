"""reconstruct: pictures, film and numbers of what a model makes of a masked face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from media import numbered, write_video

from openmarlin.errors import InputError, ModelError, VideoError
from openmarlin.jobs import reconstruct as job
from openmarlin.jobs.reconstruct import Reconstructions, announce, reconstruct
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import ModelConfig
from openmarlin.model.io import save_folder
from openmarlin.video.reader import VideoReader

CONFIG = ModelConfig(
    name="midget",
    image_size=224,
    frames=8,
    patch=32,
    width=32,
    depth=1,
    heads=2,
    decoder_width=32,
    decoder_depth=1,
    decoder_heads=2,
)
"""4 x 7 x 7 = 196 tokens."""
N_MASKED = 196 - 19
LAPA = {
    "eyes": {2, 3, 4, 5},
    "nose": {6},
    "mouth": {7, 8, 9},
    "hair": {10},
    "skin": {1},
    "background": {0},
}


def make_model(path: Path, **fields: Any) -> Path:
    model = Autoencoder(CONFIG.changed(**fields), torch.Generator().manual_seed(3))
    save_folder(model, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def few(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first five frames of a face."""
    with VideoReader(clips / "single_face.mp4") as reader:
        frames = [frame.image for _, frame in zip(range(5), reader, strict=False)]
    return write_video(tmp_path_factory.mktemp("few") / "few.mp4", frames)


class Witness:
    """Notes what the job saw and made of it, from the model's own mouth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._labels: list[np.ndarray] = []
        find, predict = job.clip_labels, job._predict

        def labels(*args: Any) -> Any:
            self._labels.append(find(*args))
            return self._labels[-1]

        def cubes(model: Autoencoder, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
            made = predict(model, pixels, mask)
            self.windows.append((pixels, mask, made, self._labels[-1]))
            return made

        monkeypatch.setattr(job, "clip_labels", labels)
        monkeypatch.setattr(job, "_predict", cubes)


@pytest.fixture(scope="module")
def run(
    clips: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Reconstructions, Witness]:
    """Two windows of a real face."""
    out = tmp_path_factory.mktemp("run") / "new" / "r"
    with pytest.MonkeyPatch.context() as patch:
        witness = Witness(patch)
        return reconstruct(clips / "single_face.mp4", out=out, model=model, windows=2), witness


def by_hand(windows: list[Any], classes: set[int] | None) -> tuple[float, int]:
    """Mean squared error over masked pixels of some classes, cube by cube, and their number."""
    errors = []
    for pixels, mask, cubes, labels in windows:
        rest = iter(cubes)
        for token in np.flatnonzero(mask):
            t, place = divmod(int(token), 49)
            row, column = divmod(place, 7)
            where = np.s_[
                2 * t : 2 * t + 2, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32
            ]
            made = np.clip(next(rest), 0, 1).reshape(3, 2, 32, 32)  # (c, t, h, w)
            true = pixels[where].transpose(3, 0, 1, 2) / 255
            chosen = (
                np.isin(labels[where], list(classes)) if classes else np.full((2, 32, 32), True)
            )
            errors.append(((made - true) ** 2)[:, chosen].ravel())
    joined = np.concatenate(errors)
    return float(joined.mean()) if joined.size else float("nan"), joined.size // 3


def check(numbers: dict[str, Any], windows: list[Any]) -> None:
    for found, classes in (
        (numbers, None),
        *((numbers["regions"][name], classes) for name, classes in LAPA.items()),
    ):
        mse, pixels = by_hand(windows, classes)
        assert found["pixels"] == pixels
        if pixels:
            assert found["mse"] == pytest.approx(mse, rel=1e-5)
            assert found["psnr_db"] == pytest.approx(10 * np.log10(1 / mse), abs=1e-4)


def test_numbers_are_those_of_the_masked_pixels(run: tuple[Reconstructions, Witness]) -> None:
    result, seen = run
    errors = json.loads((result.out / "errors.json").read_text())
    assert errors == json.loads(json.dumps(result.errors))
    assert (errors["tokens"], errors["masked_tokens"]) == (196, N_MASKED)
    assert list(errors["overall"]["regions"]) == list(LAPA)
    assert [window["window"] for window in errors["windows"]] == [0, 1]
    check(errors["overall"], seen.windows)
    for window, one in zip(errors["windows"], seen.windows, strict=True):
        check(window, [one])
    assert errors["overall"]["pixels"] == sum(
        part["pixels"] for part in errors["overall"]["regions"].values()
    )
    assert errors["overall"]["pixels"] == 2 * N_MASKED * 2 * 32 * 32
    assert errors["model"]["name"] == "midget"
    assert not errors["model"]["trained"]


def test_picture_and_film_show_the_same(run: tuple[Reconstructions, Witness]) -> None:
    """The reader gives back the film; both have the original and paste what was visible."""
    result, seen = run
    sheet = cv2.imread(str(result.out / "strips.png"))
    assert sheet.shape[0] > 2 * 3 * 168
    assert sheet.shape[1] > 8 * 168
    (pixels, mask, _, _), _ = seen.windows
    original = cv2.resize(pixels[0], (168, 168), interpolation=cv2.INTER_AREA)
    found = cv2.matchTemplate(sheet, original[..., ::-1], cv2.TM_SQDIFF)
    _, _, (x, y), _ = cv2.minMaxLoc(found)  # it is somewhere, pixel by pixel
    np.testing.assert_array_equal(sheet[y : y + 168, x : x + 168, ::-1], original)

    with VideoReader(result.out / "strips.mp4") as reader:
        assert reader.info.fps == pytest.approx(15)  # every second frame of 30 a second
        frames = [frame.image for frame in reader]
        assert reader.problems == []
    assert len(frames) == 16
    columns = [frames[0][76:300, x : x + 224].astype(int) for x in (4, 232, 460)]
    visible = np.kron(~mask.reshape(4, 7, 7)[0], np.ones((32, 32), bool))
    inner = cv2.erode(visible.astype(np.uint8), np.ones((5, 5))) > 0  # off the coded edges
    assert visible.sum() > 1000
    for column in columns:
        assert np.abs(column - pixels[0])[inner].mean() < 4
    assert np.abs(columns[1] - 96)[~visible].mean() < 8
    assert np.abs(columns[2] - pixels[0])[~visible].mean() > 20


def test_the_same_seed_gives_the_same_files(few: Path, model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        reconstruct(few, out=tmp_path / name, model=model, seed=seed)
    content = {
        name: [(tmp_path / name / file).read_bytes() for file in ("strips.png", "errors.json")]
        for name in "abc"
    }
    assert content["a"] == content["b"]
    assert content["a"][0] != content["c"][0]


def test_named_regions_are_hidden_in_every_frame(
    few: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Witness(monkeypatch)
    result = reconstruct(
        few,
        out=tmp_path,
        model=model,
        masking="random",
        mask_ratio=0.5,
        regions=["mouth"],
    )
    labels = seen.windows[0][3][:3]
    mouth = result.errors["overall"]["regions"]["mouth"]
    assert mouth["pixels"] == np.isin(labels, [7, 8, 9]).sum() > 0


def test_normalised_predictions_get_the_moments_of_the_clip(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decoder that predicts zeros then gives every channel of a patch its mean."""
    path = tmp_path / "m"
    zeros = Autoencoder(CONFIG.changed(normalize_targets=True, trained=True))
    torch.nn.init.zeros_(zeros.decoder.head.weight)
    save_folder(zeros, path)
    seen = Witness(monkeypatch)
    result = reconstruct(few, out=tmp_path / "r", model=path)
    ((pixels, mask, cubes, _),) = seen.windows
    first = int(np.flatnonzero(mask)[0])
    t, row, column = first // 49, first % 49 // 7, first % 7
    patch = pixels[2 * t : 2 * t + 2, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
    channels = cubes[0].reshape(3, -1)
    np.testing.assert_allclose(
        channels, np.repeat(patch.mean(axis=(0, 1, 2))[:, None] / 255, 2048, axis=1), atol=1e-5
    )
    assert any("normalised" in note for note in result.errors["notes"])
    assert not any("untrained" in note for note in result.errors["notes"])
    announce(result)
    assert "normalised" in capsys.readouterr().err


def test_a_short_video_counts_its_own_frames_only(few: Path, model: Path, tmp_path: Path) -> None:
    """5 frames of one face: 3 at rate 2, the other 5 of the window repeat the last."""
    result = reconstruct(few, out=tmp_path / "r", model=model)
    (window,) = result.errors["windows"]
    assert window["n_real"] == 3
    assert 0 < window["pixels"] <= 3 * 224 * 224
    with VideoReader(tmp_path / "r" / "strips.mp4") as reader:
        assert len(list(reader)) == 3


def test_a_precropped_video_has_regions_too(few: Path, model: Path, tmp_path: Path) -> None:
    result = reconstruct(few, out=tmp_path / "r", model=model, precropped=True)
    assert result.errors["overall"]["regions"]["nose"]["pixels"] > 0


def test_a_crop_without_a_face_has_no_regions(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "bars.mp4", numbered(4))
    result = reconstruct(video, out=tmp_path / "r", model=model, precropped=True)
    assert result.errors["overall"]["regions"] is None
    assert result.errors["overall"]["mse"] > 0
    announce(result)
    shown = capsys.readouterr().err
    assert "untrained" in shown
    assert "No face mesh" in shown


def test_an_encoder_alone_is_one_clear_line(clips: Path, model: Path, tmp_path: Path) -> None:
    full = Autoencoder(CONFIG)
    save_folder(full.encoder, tmp_path / "encoder")
    with pytest.raises(ModelError, match="holds an encoder alone, without the decoder") as raised:
        reconstruct(clips / "single_face.mp4", out=tmp_path / "r", model=tmp_path / "encoder")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "r").exists()


def test_what_cannot_be_done(clips: Path, model: Path, tmp_path: Path) -> None:
    video, out = clips / "single_face.mp4", tmp_path / "r"
    with pytest.raises(InputError, match="unknown masking 'faskin'"):
        reconstruct(video, out=out, model=model, masking="faskin")
    with pytest.raises(InputError, match="unknown face region 'ear'"):
        reconstruct(video, out=out, model=model, regions=["ear"])
    with pytest.raises(InputError, match="ratio"):
        reconstruct(video, out=out, model=model, mask_ratio=0.999)
    with pytest.raises(InputError, match="mask_ratio=1"):
        reconstruct(video, out=out, model=model, mask_ratio=1)
    with pytest.raises(InputError, match="windows=0"):
        reconstruct(video, out=out, model=model, windows=0)
    with pytest.raises(VideoError, match="no such file"):
        reconstruct(tmp_path / "none.mp4", out=out, model=model)
    bars = write_video(tmp_path / "bars.mp4", numbered(8))
    with pytest.raises(VideoError, match="no face found"):
        reconstruct(bars, out=out, model=model)
    with pytest.raises(InputError, match="is a file"):
        reconstruct(video, out=bars, model=model)
    assert not out.exists()


def test_an_earlier_result_is_replaced_when_asked(model: Path, tmp_path: Path) -> None:
    video, out = write_video(tmp_path / "bars.mp4", numbered(4)), tmp_path / "r"
    options: dict[str, Any] = {"out": out, "model": model, "precropped": True, "masking": "tube"}
    first: Reconstructions = reconstruct(video, **options)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"overwrite=True"):
        reconstruct(video, **options, seed=1)
    second = reconstruct(video, **options, seed=1, overwrite=True)
    assert second.errors["overall"] != first.errors["overall"]
    assert json.loads((out / "errors.json").read_text())["settings"]["seed"] == 1
    assert (out / "mine.txt").read_text() == "mine"
