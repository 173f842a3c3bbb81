"""What a run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference import reference_model
from toys import TOY

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import load, save_folder, save_transformers
from openmarlin.pretraining.initial import initial_model
from openmarlin.pretraining.settings import PretrainSettings


def start(**values: Any) -> Autoencoder:
    settings = PretrainSettings.of({**TOY, "data": Path(), "out": Path(), **values})
    return initial_model(settings, settings.architecture())


def same(one: torch.nn.Module, other: torch.nn.Module, but: str = "pos_embedding") -> bool:
    theirs = other.state_dict()
    return all(bool((t == theirs[k]).all()) for k, t in one.state_dict().items() if but not in k)


@pytest.fixture
def earlier() -> Autoencoder:
    return start(seed=5)


def test_chance_is_the_seeds(earlier: Autoencoder) -> None:
    assert same(start(seed=5), earlier)
    assert not same(start(seed=6), earlier)


def test_our_own_folder(tmp_path: Path, earlier: Autoencoder) -> None:
    save_folder(earlier, tmp_path / "model")
    assert same(start(init=str(tmp_path / "model")), earlier)
    encoder = start(init=str(tmp_path / "model"), init_part="encoder", seed=9)
    assert same(encoder.encoder, earlier.encoder)
    assert same(encoder.decoder, start(seed=9).decoder)


def test_more_frames_than_before(tmp_path: Path, earlier: Autoencoder) -> None:
    save_folder(earlier, tmp_path / "model")
    longer = start(init=str(tmp_path / "model"), shape={**TOY["shape"], "frames": 8})
    assert longer.config.n_tokens == 2 * earlier.config.n_tokens
    assert same(longer, earlier)


def test_a_transformers_folder(tmp_path: Path, earlier: Autoencoder) -> None:
    with torch.no_grad():
        earlier.enc_dec_proj.weight += 1
    save_transformers(earlier, tmp_path / "hf")
    expected = load(tmp_path / "hf", "full")  # test_videomae compares it with transformers' own
    found = start(init=str(tmp_path / "hf"))
    assert same(found, expected)
    assert same(found.encoder.blocks, earlier.encoder.blocks)


def test_the_references_file(tmp_path: Path) -> None:
    """Small as released, but looking at smaller clips: only positions depend on that."""
    theirs = reference_model("small", full=True)
    torch.save(theirs.state_dict(), tmp_path / "small.full.pt")
    shape = {"image_size": 32, "frames": 4}
    found = start(model="small", shape=shape, init=str(tmp_path / "small.full.pt"))
    mine, whole = found.state_dict(), theirs.state_dict()
    assert set(mine) == {name for name in whole if not name.startswith("discriminator")}
    assert all((t == whole[k]).all() for k, t in mine.items() if "pos_embedding" not in k)
    assert found.config.n_tokens == 8


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"depth": 3}, "Missing key(s) in state_dict"),
        ({"width": 32}, "size mismatch for encoder.patch_embedding.projection.weight"),
        ({"patch": 16}, "size mismatch for "),
        ({"heads": 4}, "heads 2, not 4"),
        ({"decoder_heads": 2}, "decoder_heads 1, not 2"),
        ({"positions": "axes"}, "positions index, not axes"),
    ],
)
def test_another_shape_is_one_line(
    tmp_path: Path, earlier: Autoencoder, shape: dict[str, int | str], told: str
) -> None:
    save_folder(earlier, tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        start(init=str(tmp_path / "model"), shape={**TOY["shape"], **shape})
    line = str(caught.value)
    assert line.startswith(f"init='{tmp_path / 'model'}' has another shape than the model (")
    assert told in line
    assert "\n" not in line


def test_an_encoder_is_no_whole_model(tmp_path: Path, earlier: Autoencoder) -> None:
    save_folder(earlier.encoder, tmp_path / "model")
    with pytest.raises(ModelError, match=r"init_part='full': .* holds an encoder alone"):
        start(init=str(tmp_path / "model"))
    found = start(init=str(tmp_path / "model"), init_part="encoder")
    assert same(found.encoder, earlier.encoder)


def test_where_a_checkpoint_has_the_weights_init_may_be_gone() -> None:
    settings = PretrainSettings.of({**TOY, "data": ".", "out": ".", "init": "nowhere"})
    model = initial_model(settings, settings.architecture(), weights=False)
    assert model.config == settings.architecture()


def test_nothing_there() -> None:
    with pytest.raises(ModelError, match="init='nowhere', init_part='full': "):
        start(init="nowhere")
