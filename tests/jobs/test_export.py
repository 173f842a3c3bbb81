"""export: folders that run without openmarlin, say the same, and are refused where they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from task_models import MOOD, encoder, saved, task_model

from openmarlin.errors import InputError, ModelError
from openmarlin.exports import targets
from openmarlin.exports.encoders import encoder_network
from openmarlin.jobs.export import announce, export
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.make import make_generator, save_generator
from openmarlin.model.io import save_folder
from openmarlin.model.runner import EncoderRunner
from openmarlin.tasks.inference import PoolingEncoder

COUNTS = (1, 3, 9)
"""How many clips are run at a time: one, fewer and more than run.py takes together."""

ALONE = (
    "import runpy, sys; sys.modules['openmarlin'] = sys.modules['torch'] = None; del sys.argv[0]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_alone(folder: Path, place: Path, clips: np.ndarray) -> dict[str, np.ndarray]:
    """What run.py makes of clips, in a process in which openmarlin and torch are missing."""
    files = folder / "run.py", place / "clips.npy", place / "out.npz"
    np.save(files[1], clips)
    command = [sys.executable, "-c", ALONE, *map(str, files)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    with np.load(files[2]) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task model for onnxruntime."""
    place = tmp_path_factory.mktemp("task")
    model = saved(place / "model", MOOD, temperature=1.7)
    result = export(model, to="onnx", out=place / "out")
    assert set(result.agreements[""]) == {"answers", "features"}
    return place / "out"


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder for OpenVINO."""
    place = tmp_path_factory.mktemp("encoder")
    save_folder(encoder(), place / "model")
    export(place / "model", to="openvino", out=place / "out")
    return place / "out"


def clips_of(count: int) -> np.ndarray:
    return encoder_network(encoder()).example(7)["clips"][:count]


@pytest.mark.parametrize("count", COUNTS)
def test_a_task_answers_without_openmarlin(task_folder: Path, tmp_path: Path, count: int) -> None:
    model, clips = task_model(MOOD, temperature=1.7), clips_of(count)
    given = run_alone(task_folder, tmp_path, clips)
    pooled, _ = PoolingEncoder(model, "fp32", "torch")(clips)
    np.testing.assert_allclose(given["answers"], model.answer(pooled), atol=1e-5)


@pytest.mark.parametrize("count", COUNTS)
def test_an_encoder_runs_on_openvino_alone(
    encoder_folder: Path, tmp_path: Path, count: int
) -> None:
    clips = clips_of(count)
    given = run_alone(encoder_folder, tmp_path, clips)
    features, tokens = EncoderRunner(encoder(), "fp32", "torch")(clips, tokens=True)
    np.testing.assert_allclose(given["features"], features, atol=1e-5)
    np.testing.assert_allclose(given["tokens"], tokens, atol=1e-5)


def test_file_and_folder_say_what_it_is(task_folder: Path, encoder_folder: Path) -> None:
    about = json.loads((task_folder / "export.json").read_text())
    assert about["labels"]["outputs"] == list(MOOD.classes)
    assert about["inputs"]["clips"]["shape"] == ["clips", 16, 32, 32, 3]
    assert about["compared"]["answers"]["cosine"] > 0.99999
    model = onnx.load(task_folder / "model.onnx")
    onnx.checker.check_model(model)
    inside = json.loads(next(p.value for p in model.metadata_props if p.key == "openmarlin"))
    assert inside["labels"] == about["labels"]
    (entry,) = model.graph.input
    assert entry.type.tensor_type.shape.dim[0].dim_param
    assert "largest difference" in (task_folder / "README.md").read_text()
    xml = (encoder_folder / "model.xml").read_text()
    assert "forehead to chin" in xml
    assert {file.name for file in encoder_folder.iterdir()} == {
        "README.md",
        "export.json",
        "model.bin",
        "model.xml",
        "run.py",
    }


def test_transformers_reads_an_encoder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    save_folder(encoder(), tmp_path / "model")
    result = export(tmp_path / "model", to="transformers", out=tmp_path / "out")
    assert set(result.agreements[""]) == {"features", "tokens"}
    clips = clips_of(3)
    theirs = transformers.VideoMAEModel.from_pretrained(tmp_path / "out").eval()
    pixels = torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255
    with torch.no_grad():
        tokens = theirs(pixel_values=pixels).last_hidden_state.numpy()
    expected = EncoderRunner(encoder(), "fp32", "torch")(clips, tokens=True)[1]
    np.testing.assert_allclose(tokens, expected, atol=1e-3)


def test_what_transformers_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    task = saved(tmp_path / "model", MOOD)
    with pytest.raises(ModelError, match="no encoder"):
        export(task, to="transformers", out=tmp_path / "out")
    with pytest.raises(ModelError, match="axes"):
        export("openmarlin_vit_tiny", to="transformers", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", ["wav2lip", "lipgan"])
def test_a_generator_runs_without_openmarlin(system: str, tmp_path: Path) -> None:
    config = GeneratorConfig(system=system, width=0.25, size=64)
    save_generator(tmp_path / "model", make_generator(config), {})
    export(tmp_path / "model", to="openvino", out=tmp_path / "out")


def test_the_stages_of_a_mouth_have_folders_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = export("openmarlin_dub", to="openvino", out=tmp_path / "out")
    assert set(result.agreements) == {"shape", "renderer"}
    for stage in result.agreements:
        card = (tmp_path / "out" / stage / "README.md").read_text()
        assert "license_name: research-non-commercial" in card
        assert (tmp_path / "out" / stage / "model.xml").is_file()
    announce(result)
    said = capsys.readouterr().err
    assert said.count("the same") == 2


def test_other_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of another model is written: shapes fit, numbers do not."""
    save_folder(encoder(), tmp_path / "model")
    own: Callable[..., None] = targets.Target.write

    def write(self: targets.Target, network: object, folder: Path) -> None:
        own(self, encoder_network(encoder(seed=1)), folder)

    monkeypatch.setattr(targets.Target, "write", write)
    with pytest.raises(ModelError, match=r"other (features|tokens) than torch"):
        export(tmp_path / "model", to="openvino", out=tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_only_exports_are_replaced(tmp_path: Path) -> None:
    save_folder(encoder(), tmp_path / "model")
    diary = tmp_path / "out" / "diary.txt"
    diary.parent.mkdir()
    diary.write_text("dear diary")
    with pytest.raises(InputError, match="overwrite"):
        export(tmp_path / "model", to="openvino", out=diary.parent)
    with pytest.raises(InputError, match="no export"):
        export(tmp_path / "model", to="openvino", out=diary.parent, overwrite=True)
    with pytest.raises(InputError, match="is a file"):
        export(tmp_path / "model", to="openvino", out=diary)
    assert diary.read_text() == "dear diary"
    export(tmp_path / "model", to="openvino", out=tmp_path / "new")
    before = (tmp_path / "new" / "model.bin").read_bytes()
    save_folder(encoder(seed=1), tmp_path / "model", overwrite=True)
    export(tmp_path / "model", to="openvino", out=tmp_path / "new", overwrite=True)
    assert (tmp_path / "new" / "model.bin").read_bytes() != before


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match=r"needs onnxruntime: .*openmarlin\[export\]"):
        export("tiny", to="onnx", out=tmp_path / "out")
