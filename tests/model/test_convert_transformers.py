"""VideoMAE's checkpoints: its authors' files, and transformers' folders, both ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import randomised
from safetensors.torch import load_file, save_file

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import load, save_transformers
from openmarlin.model.layers import patchify, unpatchify

transformers = pytest.importorskip("transformers")

SHAPE = {
    "image_size": 32,
    "hidden_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "decoder_hidden_size": 192,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 768,
    "use_mean_pooling": False,
    "layer_norm_eps": 1e-6,
}
TOLERANCE = {"rtol": 0, "atol": 1e-5}
Mask = Callable[..., torch.Tensor]


@pytest.fixture
def theirs() -> Any:
    """transformers' autoencoder with random weights."""
    return autoencoder(SHAPE)


def autoencoder(shape: dict[str, Any]) -> Any:
    model = transformers.VideoMAEForPreTraining(transformers.VideoMAEConfig(**shape))
    model.decoder.norm.eps = shape["layer_norm_eps"]  # transformers forgets its setting there
    return randomised(model).eval()


def their_values(theirs: Any, video: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What they predict, its pixels in our order."""
    logits = theirs(video.transpose(1, 2), mask).logits
    values = logits.reshape(*logits.shape[:2], 2, 16, 16, 3).movedim(-1, 2)
    return values.reshape(logits.shape)


def assert_equal(ours: Autoencoder, theirs: Any, video: torch.Tensor, mask: torch.Tensor) -> None:
    tokens = theirs.videomae(video.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(ours.encoder(video), tokens, **TOLERANCE)
    wanted = their_values(theirs, video, mask)
    torch.testing.assert_close(ours(video, mask), wanted, **TOLERANCE)


def say_raw_pixels(folder: Path) -> None:
    """A preprocessing without a normalisation, so that both models see the same numbers."""
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))


def rename(folder: Path, naming: str) -> None:
    """Gives the biases of q and v their names in transformers 4 or 5."""
    old = {"query.bias": "q_bias", "value.bias": "v_bias"}
    path = folder / "model.safetensors"
    state = load_file(path)
    renamed = {}
    for name, tensor in state.items():
        for new, short in old.items():
            name = name.replace(new, short) if naming == "4" else name.replace(short, new)
        renamed[name] = tensor
    save_file(renamed, path, metadata={"format": "pt"})


@torch.inference_mode()
@pytest.mark.parametrize("naming", ["4", "5"])
def test_reads_the_whole(
    theirs: Any, naming: str, video: torch.Tensor, make_mask: Mask, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    say_raw_pixels(tmp_path)
    rename(tmp_path, naming)
    ours = load(tmp_path, "full")
    assert ours.config.layer_norm_eps == 1e-6
    assert ours.config.normalize_targets
    assert_equal(ours, theirs, video, make_mask(2, 32, 28))


@pytest.mark.parametrize("normalize", [False, True])
def test_what_the_decoder_predicts_is_said_there_and_back(
    midget: Autoencoder, normalize: bool, tmp_path: Path
) -> None:
    config = midget.config.changed(normalize_targets=normalize)
    save_transformers(Autoencoder(config), tmp_path)
    hf = json.loads((tmp_path / "config.json").read_text())
    assert hf["norm_pix_loss"] is normalize
    assert load(tmp_path, "full").config.normalize_targets is normalize


@torch.inference_mode()
@pytest.mark.parametrize("naming", ["4", "5"])
def test_reads_an_encoder(theirs: Any, naming: str, video: torch.Tensor, tmp_path: Path) -> None:
    theirs.videomae.save_pretrained(tmp_path)
    say_raw_pixels(tmp_path)
    rename(tmp_path, naming)
    wanted = theirs.videomae(video.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(load(tmp_path)(video), wanted, **TOLERANCE)
    with pytest.raises(ModelError, match="encoder alone"):
        load(tmp_path, "full")


@torch.inference_mode()
def test_reads_a_classifier_whose_norm_follows_the_mean(
    video: torch.Tensor, tmp_path: Path
) -> None:
    config = transformers.VideoMAEConfig(**SHAPE | {"use_mean_pooling": True})
    theirs = randomised(transformers.VideoMAEForVideoClassification(config)).eval()
    theirs.fc_norm.eps = SHAPE["layer_norm_eps"]
    theirs.save_pretrained(tmp_path)
    say_raw_pixels(tmp_path)
    features = load(tmp_path).features(video)
    wanted = theirs(video.transpose(1, 2)).logits
    torch.testing.assert_close(theirs.classifier(features), wanted, **TOLERANCE)


@torch.inference_mode()
def test_a_normalisation_that_the_folder_declares_is_folded_in(
    theirs: Any, video: torch.Tensor, tmp_path: Path
) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    theirs.videomae.save_pretrained(tmp_path)
    settings = {"do_normalize": True, "image_mean": mean, "image_std": std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    m, s = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (mean, std))
    wanted = theirs.videomae(((video - m) / s).transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(load(tmp_path)(video), wanted, **TOLERANCE)
    settings["do_normalize"] = False
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    wanted = theirs.videomae(video.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(load(tmp_path)(video), wanted, **TOLERANCE)


@torch.inference_mode()
def test_a_folder_without_preprocessing_is_normalised_as_videomae_and_says_so(
    theirs: Any, video: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.videomae.save_pretrained(tmp_path)
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    m, s = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (mean, std))
    wanted = theirs.videomae(((video - m) / s).transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(load(tmp_path)(video), wanted, **TOLERANCE)
    assert "0.485" in capsys.readouterr().err


@torch.inference_mode()
@pytest.mark.parametrize("width", [1280, 1408])
def test_heads_of_the_larger_models_are_those_published(width: int, tmp_path: Path) -> None:
    """16, which are 80 and 88 wide: the same weights in both formats give the same tokens."""
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 16}
    decoder = {"decoder_hidden_size": 640, "decoder_num_attention_heads": 8}
    hidden = {"intermediate_size": 4 * width, "decoder_intermediate_size": 2560}
    theirs = autoencoder(SHAPE | {"image_size": 224} | sizes | decoder | hidden)
    theirs.save_pretrained(tmp_path / "folder")
    say_raw_pixels(tmp_path / "folder")
    file = tmp_path / "huge.pth"
    torch.save({"model": as_authors_file(theirs)}, file)
    clip = torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(load(file)(clip), load(tmp_path / "folder")(clip), **TOLERANCE)
    with pytest.raises(ModelError, match="decoder_heads="):
        load(file, "full")
    assert load(file, "full", decoder_heads=8).config.decoder_heads == 8
    with pytest.raises(ModelError, match="heads=20"):
        load(tmp_path / "folder", heads=20)


@torch.inference_mode()
def test_reads_the_authors_finetuned_file(
    theirs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = as_authors_file(autoencoder(SHAPE | {"image_size": 224}))
    state = {k.removeprefix("encoder."): t for k, t in state.items() if k.startswith("encoder.")}
    torch.save({"model": {f"encoder.{k}": t for k, t in state.items()}}, tmp_path / "plain.pth")
    tuned = {
        k.replace("norm.", "fc_norm.") if k.startswith("norm.") else k: t for k, t in state.items()
    }
    tuned |= {"head.weight": torch.ones(400, 192), "head.bias": torch.ones(400)}
    torch.save({"module": tuned}, tmp_path / "tuned.pth")
    ours, plain = (load(tmp_path / f"{name}.pth").state_dict() for name in ("tuned", "plain"))
    assert all(torch.equal(tensor, plain[name]) for name, tensor in ours.items())
    assert "head.weight" in capsys.readouterr().err


def test_a_bias_that_was_lost_is_an_error_and_one_that_never_was_is_zero(
    theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({k: t for k, t in state.items() if not k.endswith(("q_bias", "query.bias"))}, path)
    with pytest.raises(ModelError, match=r"2 missing \(encoder.blocks.0.attn.q_bias"):
        load(tmp_path)
    plain = transformers.VideoMAEForPreTraining(
        transformers.VideoMAEConfig(**SHAPE | {"qkv_bias": False})
    )
    plain.save_pretrained(tmp_path)
    assert (load(tmp_path).blocks[1].attn.v_bias == 0).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu': only gelu is known"),
        ({"hidden_size": "wide"}, "width Input should be a valid integer"),
        ({"hidden_size": 0}, "width Input should be greater than 0"),
        ({"intermediate_size": None}, "mlp_ratio Input should be a valid number"),
        (
            {"intermediate_size": 256},
            r"mlp.layers.0.linear.weight is \(768, 192\), not \(256, 192\)",
        ),
        ({"image_size": [32, 64]}, "image_size Input should be a valid integer"),
        ({"num_hidden_layers": 3}, r"13 missing \(encoder.blocks.2"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(
    theirs: Any, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ModelError, match=words) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_preprocessing_that_is_none_is_one_line(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    for mean in ("high", [0.5], None, [0.5, 0.5, "red"]):
        settings = {"image_mean": mean, "image_std": [0.5, 0.5, 0.5]}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
        with pytest.raises(ModelError, match="not three numbers each"):
            load(tmp_path)


@torch.inference_mode()
def test_writes_what_transformers_reads(
    midget: Autoencoder, video: torch.Tensor, make_mask: Mask, tmp_path: Path
) -> None:
    save_transformers(midget, tmp_path)
    theirs, report = transformers.VideoMAEForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert not theirs.config.norm_pix_loss
    encoder = transformers.VideoMAEModel.from_pretrained(tmp_path).eval()
    tokens = encoder(video.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(midget.encoder(video), tokens, **TOLERANCE)
    mask = make_mask(2, 32, 28)
    values = their_values(theirs.eval(), video, mask)
    torch.testing.assert_close(midget(video, mask), values, **TOLERANCE)


@torch.inference_mode()
@pytest.mark.parametrize("kept", ["old", "new"])
def test_written_biases_are_read_by_versions_that_know_one_name(
    midget: Autoencoder, kept: str, tmp_path: Path
) -> None:
    save_transformers(midget.encoder, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    dropped = ("query.bias", "value.bias") if kept == "old" else ("q_bias", "v_bias")
    left = {k: t for k, t in state.items() if not k.endswith(dropped)}
    assert len(left) == len(state) - 4
    save_file(left, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs = transformers.VideoMAEModel.from_pretrained(tmp_path)
    for ours, block in zip(midget.encoder.blocks, theirs.encoder.layer, strict=True):
        query = block.attention.attention
        bias = query.query.bias if hasattr(query.query, "bias") else query.q_bias
        assert torch.equal(bias, ours.attn.q_bias)


def test_the_written_preprocessing_gives_our_input(midget: Autoencoder, tmp_path: Path) -> None:
    save_transformers(midget, tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["do_normalize"] is False
    assert settings["rescale_factor"] == 1 / 255
    assert settings["crop_size"] == {"height": 32, "width": 32}
    assert torch.equal(load(tmp_path).norm.weight, midget.encoder.norm.weight)


def test_base_written_is_base_read_up_to_the_positions(tmp_path: Path) -> None:
    """At full length the tables differ, float32 against float64, and nothing else does."""
    ours = load("tiny", "full")
    save_transformers(ours, tmp_path)
    again = load(tmp_path, "full").state_dict()
    for name, tensor in ours.state_dict().items():
        if name.endswith("pos_embedding.emb"):
            torch.testing.assert_close(again[name], tensor, rtol=0, atol=1.5e-4)
        else:
            assert torch.equal(again[name], tensor), name


def as_authors_file(theirs: Any) -> dict[str, torch.Tensor]:
    """The state of transformers' model under the names in VideoMAE's own pre-training files."""
    state = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in (
            ("videomae.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj"),
            ("videomae.layernorm", "encoder.norm"),
            ("videomae.encoder.layer", "encoder.blocks"),
            ("decoder.decoder_layers", "decoder.blocks"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("attention.attention.query.bias", "attn.q_bias"),
            ("attention.attention.value.bias", "attn.v_bias"),
            ("attention.output.dense", "attn.proj"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        ):
            name = name.replace(old, new)
        state[name] = tensor
    for query in [name for name in state if name.endswith("query.weight")]:
        names = [query.replace("query", part) for part in ("query", "key", "value")]
        fused = query.replace("attention.attention.query", "attn.qkv")
        state[fused] = torch.cat([state.pop(name) for name in names])
    return state


def test_positions_that_transformers_does_not_compute_stay_out_of_its_folder(
    midget: Autoencoder, tmp_path: Path
) -> None:
    model = Autoencoder(midget.config.changed(positions="axes"))
    with pytest.raises(ModelError, match="its positions are those of axes"):
        save_transformers(model, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@torch.inference_mode()
def test_reads_the_authors_pretraining_file(make_mask: Mask, tmp_path: Path) -> None:
    """It holds no positions, so it is one of the usual 16 frames of 224 px."""
    theirs = autoencoder(SHAPE | {"image_size": 224})
    state = as_authors_file(theirs)
    assert "encoder.blocks.0.attn.qkv.weight" in state
    torch.save({"model": state, "epoch": 1600}, tmp_path / "checkpoint.pth")
    ours = load(tmp_path / "checkpoint.pth", "full")
    assert (ours.config.layer_norm_eps, ours.config.n_tokens) == (1e-6, 1568)
    assert ours.config.normalize_targets
    assert not load(tmp_path / "checkpoint.pth").config.normalize_targets
    clip = torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(5))
    assert_equal(ours, theirs, clip, make_mask(1, 1568, 1412))


def test_a_picture_comes_back_through_a_permuted_head() -> None:
    """Their order of a token's pixels and ours give the same picture."""
    video = torch.rand(1, 3, 4, 32, 32)
    values = patchify(video, 2, 16)
    theirs = values.reshape(1, -1, 3, 2, 16, 16).movedim(2, -1).reshape(values.shape)
    ours = theirs.reshape(1, -1, 2, 16, 16, 3).movedim(-1, 2).reshape(values.shape)
    assert torch.equal(unpatchify(ours, (2, 2, 2), 2, 16), video)


def test_a_head_that_lacks_rows_is_reported(theirs: Any, tmp_path: Path) -> None:
    state = as_authors_file(theirs)
    state["decoder.head.weight"] = state["decoder.head.weight"][:100]
    torch.save({"model": state}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=r"decoder.head.weight is \(100, 192\), not \(1536, 192\)"):
        load(tmp_path / "bad.pth", "full")
