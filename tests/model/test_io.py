from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, save_folder, save_reference, tensors, weights_sha256
from openmarlin.model.layers import axes_table, sinusoid_table


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_preset_is_untrained_and_the_same_every_time() -> None:
    a, b = load("tiny"), load("tiny")
    assert same(a, b)
    assert not a.training
    assert not a.config.trained
    assert a.config.decoder_width is None
    assert same(load("tiny", "full").encoder, a)


def test_the_global_generator_is_left_alone(midget: Autoencoder, tmp_path: Path) -> None:
    save_folder(midget, tmp_path)
    before = torch.get_rng_state()
    load("tiny")
    load(tmp_path, "full")
    assert torch.equal(torch.get_rng_state(), before)


def test_folder_round_trip(midget: Autoencoder, tmp_path: Path) -> None:
    save_folder(midget, tmp_path / "whole")
    save_folder(midget.encoder, tmp_path / "encoder")
    whole = load(tmp_path / "whole", "full")
    assert same(whole, midget)
    assert whole.config == midget.config
    assert same(load(tmp_path / "whole"), midget.encoder)
    encoder = load(str(tmp_path / "encoder"))
    assert same(encoder, midget.encoder)


@pytest.mark.parametrize("name", ["a.encoder.pt", "a.full.pt", "a.ckpt", "a.safetensors", "b.pt"])
def test_files_of_the_reference(midget: Autoencoder, tmp_path: Path, name: str) -> None:
    """Each as its authors' code writes it."""
    path = tmp_path / name
    full = midget.state_dict()
    encoder = tensors(midget.encoder)
    critic = {"discriminator.layers.0.linear.weight": torch.zeros(256, 1536)}
    if name == "a.encoder.pt":
        torch.save(encoder, path)
    elif name == "a.full.pt":
        torch.save(full, path)
    elif name == "a.ckpt":
        hyper = {"lr": 1e-4, "betas": (0.9, 0.95)}
        extra = {"epoch": 3, "optimizer_states": [{"state": {0: torch.ones(3)}}]}
        torch.save({"state_dict": full | critic, "hyper_parameters": hyper, **extra}, path)
    elif name == "a.safetensors":
        save_file({f"marlin.{k}": t for k, t in encoder.items()}, path)
    else:
        torch.save(midget.encoder.state_dict(), path)
    model = load(path)
    assert same(model, midget.encoder)
    assert model.config.trained
    assert model.config.source == str(path)
    assert model.config.image_size == 32
    if name in ("a.full.pt", "a.ckpt"):
        assert same(load(path, "full"), midget)
    else:
        with pytest.raises(ModelError, match="holds an encoder alone"):
            load(path, "full")


def test_a_file_with_a_released_name_has_its_licence(midget: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "marlin_vit_base_ytf.full.pt"
    torch.save(midget.state_dict(), path)
    config = load(path).config
    assert (config.name, config.licence) == ("marlin_vit_base_ytf", "CC-BY-NC-4.0")


def test_a_preset_with_the_whole_gives_features_on_other_sizes() -> None:
    model = load("tiny", frames=4, image_size=32)
    assert model.config.grid == (2, 2, 2)
    assert model.features(torch.rand(1, 3, 4, 32, 32)).shape == (1, 192)


def test_a_trained_model_at_another_size_gets_new_positions(
    midget: Autoencoder, tmp_path: Path
) -> None:
    save_folder(midget, tmp_path)
    model = load(tmp_path, "full", frames=32, image_size=48)
    assert (model.config.frames, model.config.image_size) == (32, 48)
    assert torch.equal(model.encoder.pos_embedding.emb, sinusoid_table(16 * 9, 192))
    assert torch.equal(model.decoder.pos_embedding.emb, sinusoid_table(16 * 9, 192))
    assert torch.equal(model.encoder.norm.weight, midget.encoder.norm.weight)
    with pytest.raises(ModelError, match="frames 15 is not a multiple"):
        load(tmp_path, frames=15)


def test_positions_by_axes_are_kept_and_follow_the_size(
    midget: Autoencoder, tmp_path: Path
) -> None:
    model = Autoencoder(midget.config.changed(positions="axes"))
    save_folder(model, tmp_path / "ours")
    save_reference(model, tmp_path / "model.full.pt")
    for path in (tmp_path / "ours", tmp_path / "model.full.pt"):
        config = model.config
        again = load(path, frames=config.frames // 2, image_size=config.image_size * 2)
        assert again.config.positions == "axes"
        assert torch.equal(again.pos_embedding.emb, axes_table(again.config.grid, config.width))


def test_precision_and_device(midget: Autoencoder, tmp_path: Path) -> None:
    save_folder(midget, tmp_path)
    assert load(tmp_path, precision="bf16").norm.weight.dtype == torch.bfloat16
    for arguments, words in (
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"device": "quantum"}, "device 'quantum' cannot be used"),
        ({"part": "half"}, "encoder or full"),
    ):
        with pytest.raises(ModelError, match=words):
            load(tmp_path, **arguments)  # type: ignore[call-overload]


def test_the_hash_is_of_the_weights_and_not_of_the_file(
    midget: Autoencoder, tmp_path: Path
) -> None:
    digest = weights_sha256(midget.encoder)
    save_folder(midget, tmp_path / "folder")
    torch.save(midget.state_dict(), tmp_path / "a.full.pt")
    assert weights_sha256(load(tmp_path / "folder")) == digest
    assert weights_sha256(load(tmp_path / "a.full.pt")) == digest
    assert weights_sha256(midget) != digest
    with torch.no_grad():
        midget.encoder.norm.bias[0] += 1e-6
    assert weights_sha256(midget.encoder) != digest


class Malice:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


def spoil(kind: str, folder: Path, midget: Autoencoder) -> Path:
    """A bad checkpoint of one kind."""
    good = folder / "good"
    save_folder(midget, good)
    state = load_file(good / "model.safetensors")
    path = folder / "bad.pt"
    if kind == "absent":
        return folder / "nowhere"
    if kind == "empty folder":
        (folder / "empty").mkdir()
        return folder / "empty"
    if kind == "empty file":
        path.touch()
    elif kind == "text":
        path.write_text("<!DOCTYPE html> not found")
    elif kind == "no tensors":
        torch.save({"epoch": 3}, path)
    elif kind == "a list":
        torch.save([torch.ones(3)], path)
    elif kind == "pickled code":
        torch.save({"state_dict": state, "callbacks": Malice()}, path)
    elif kind == "whole model":
        torch.save(midget, path)
    elif kind == "another model":
        torch.save(torch.nn.Linear(3, 4).state_dict(), path)
    elif kind == "torch cut short":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == "odd width":
        torch.save(Autoencoder(midget.config.changed(width=48)).state_dict(), path)
    else:
        spoil_folder(kind, good, state)
        return good
    return path


def spoil_folder(kind: str, good: Path, state: dict[str, torch.Tensor]) -> None:
    weights, config = good / "model.safetensors", good / "config.json"
    settings = json.loads(config.read_text())
    if kind == "safetensors cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "missing tensor":
        save_file({k: t for k, t in state.items() if k != "encoder.norm.bias"}, weights)
    elif kind == "unexpected tensor":
        save_file(state | {"encoder.cls_token": torch.ones(2)}, weights)
    elif kind == "unexpected part":
        save_file(state | {"head.weight": torch.ones(2)}, weights)
    elif kind == "another size":
        config.write_text(json.dumps(settings | {"width": 128, "heads": 2}))
    elif kind in ("absurd image", "absurd depth"):
        field = "depth" if "depth" in kind else "image_size"
        config.write_text(json.dumps(settings | {field: 2**31}))
    elif kind == "unknown setting":
        config.write_text(json.dumps(settings | {"colour": "red"}))
    elif kind == "impossible setting":
        config.write_text(json.dumps(settings | {"image_size": 33}))
    elif kind == "config cut short":
        config.write_text(config.read_text()[:40])
    elif kind == "config too deep":
        config.write_text("[" * 5000)
    elif kind == "config a list":
        config.write_text("[]")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "absent",
            "there is no model .*nowhere.* nor one of openmarlin_face_tiny, .*tiny, .*large_ytf",
        ),
        ("empty folder", "holds no model: none of model.safetensors"),
        ("empty file", "is not a checkpoint"),
        ("text", "is not a checkpoint: it is neither a safetensors nor a torch file"),
        ("no tensors", "is not a model: 'epoch' in it is not a tensor"),
        ("a list", "is not a model: it holds no named tensors"),
        ("pickled code", r"holds pickled code \(.*print\), which is never run"),
        ("whole model", r"holds pickled code \(openmarlin.model.autoencoder.Autoencoder\)"),
        ("another model", r"not a MARLIN or VideoMAE .*its 2 tensors \(weight, bias, \.\.\.\)"),
        ("torch cut short", "is damaged or cut short"),
        ("odd width", r"48 wide.*heads="),
        ("safetensors cut short", "is damaged or cut short"),
        ("missing tensor", r"1 missing \(encoder.norm.bias\); the file is incomplete"),
        ("unexpected tensor", r"1 unexpected \(encoder.cls_token\)"),
        ("unexpected part", r"1 unexpected \(head.weight\)"),
        ("another size", r"misshapen \(encoder.* is \(192.*not \(128.* different models"),
        ("absurd image", "its config asks for .* different models"),
        ("absurd depth", "its config asks for .* different models"),
        ("unknown setting", "config.json cannot be built: colour Extra inputs"),
        ("impossible setting", "image_size 33 is not a multiple of patch 16"),
        ("config cut short", "is not JSON"),
        ("config a list", "is not a JSON object"),
        ("config too deep", "is not JSON"),
    ],
)
def test_a_bad_checkpoint_is_one_clear_line(
    kind: str,
    words: str,
    midget: Autoencoder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = spoil(kind, tmp_path, midget)
    with pytest.raises(ModelError, match=words) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert str(path) in message
    assert "ran" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_is_an_error_of_ours_or_harmless(
    zipped: bool, midget: Autoencoder, tmp_path: Path
) -> None:
    """Bounded fuzzing of both of torch's file formats: bytes changed where the structure is."""
    path, rng = tmp_path / "a.pt", random.Random(0)
    state = {k: t for k, t in midget.state_dict().items() if "norm" in k or "embedding" in k}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[rng.choice([1, -1]) * rng.randrange(1, 2000)] = rng.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            load(path)  # without its blocks the model is incomplete even where no harm is done


def test_the_weights_of_a_folder_stand_for_the_folder(midget: Autoencoder, tmp_path: Path) -> None:
    save_folder(midget, tmp_path)
    assert load(tmp_path / "model.safetensors", "full").config == midget.config


def test_the_command_line_in_an_original_file_is_no_code(
    midget: Autoencoder, tmp_path: Path
) -> None:
    path = tmp_path / "with_args.pt"
    torch.save({"model": midget.state_dict(), "args": argparse.Namespace(lr=0.1)}, path)
    assert isinstance(load(path), Encoder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrappers_of_training_are_stripped(
    prefix: str, midget: Autoencoder, tmp_path: Path
) -> None:
    state = {prefix + name: tensor for name, tensor in midget.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    assert same(load(tmp_path / "a.ckpt", "full"), midget)


@pytest.mark.parametrize("nest", ["model_ema", "state_dict_ema", "teacher"])
def test_averaged_weights_are_read_where_there_are_no_others_and_named(
    nest: str, midget: Autoencoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = midget.state_dict()
    torch.save({nest: state}, tmp_path / "a.pth")
    assert same(load(tmp_path / "a.pth", "full"), midget)
    assert nest in capsys.readouterr().err
    torch.save({"model": state, nest: {}}, tmp_path / "a.pth")
    assert same(load(tmp_path / "a.pth", "full"), midget)
    assert capsys.readouterr().err == ""


def test_a_teacher_beside_its_student_is_refused(midget: Autoencoder, tmp_path: Path) -> None:
    state = midget.encoder.state_dict()
    both = {f"{who}.{name}": t for who in ("teacher", "student") for name, t in state.items()}
    torch.save(both, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="teacher"):
        load(tmp_path / "a.pth")


def test_safetensors_in_several_files(midget: Autoencoder, tmp_path: Path) -> None:
    save_folder(midget, tmp_path)
    whole = tmp_path / "model.safetensors"
    state = load_file(whole)
    names = [f"model-{i + 1:05}-of-00002.safetensors" for i in range(2)]
    places = {name: names[i % 2] for i, name in enumerate(state)}
    for file in names:
        save_file({k: t for k, t in state.items() if places[k] == file}, tmp_path / file)
    whole.unlink()
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert same(load(tmp_path, "full"), midget)
    index.write_text(json.dumps({"weight_map": {"a": "../secret"}}))
    with pytest.raises(ModelError, match=r"index\.json"):
        load(tmp_path)
    index.write_text(json.dumps({"weight_map": places | {"a": "absent.safetensors"}}))
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        load(tmp_path)


def test_a_head_and_a_task_beside_the_encoder_do_not_disturb_it(
    midget: Autoencoder, tmp_path: Path
) -> None:
    save_folder(midget, tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"task": {"labels": ["a"]}}))
    save_file({"weight": torch.ones(1, 192)}, tmp_path / "head.safetensors")
    assert same(load(tmp_path, "full"), midget)


@pytest.mark.parametrize(
    ("source", "words"), [(torch.nn.Linear(1, 1), "Linear"), (3, "int"), (None, "None"), ("", "''")]
)
def test_what_is_no_name_and_no_path_is_one_line(source: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["https://example.org/a.pt", "~nobody-here/a", "a" * 5000])
def test_names_that_are_no_path_are_one_line(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        load(name)
