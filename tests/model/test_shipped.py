"""The weights inside the package."""

from __future__ import annotations

import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.model.layers import axes_table, to_model_input
from openmarlin.model.tensor_files import REST, WEIGHTS, read
from openmarlin.model.zoo import DEFAULT_AUTOENCODER, DEFAULT_ENCODER, SHIPPED

NAMES = (DEFAULT_ENCODER, DEFAULT_AUTOENCODER)


@pytest.mark.parametrize("name", NAMES)
def test_they_load_by_name_with_their_licence(name: str) -> None:
    encoder = load(name)
    assert isinstance(encoder, Encoder)
    assert encoder.config.trained
    assert encoder.config.name == name
    assert "non-commercial" in encoder.config.licence
    own = {"name", "trained", "positions"}
    shape = PRESETS["tiny"].encoder_alone().changed(**encoder.config.model_dump(include=own))
    alone = encoder.config.encoder_alone()
    assert alone.changed(source=shape.source, licence=shape.licence) == shape


def test_the_autoencoder_has_the_encoder_in_it() -> None:
    encoder, whole = load(DEFAULT_AUTOENCODER), load(DEFAULT_AUTOENCODER, "full")
    assert isinstance(whole, Autoencoder)
    theirs = whole.encoder.state_dict()
    assert all(torch.equal(t, theirs[name]) for name, t in encoder.state_dict().items())


def test_the_encoder_alone_says_that_it_reconstructs_nothing() -> None:
    with pytest.raises(ModelError, match="decoder"):
        load(DEFAULT_ENCODER, "full")


@pytest.mark.parametrize("name", NAMES)
def test_they_are_small_and_whole(name: str) -> None:
    """An encoder at most 12 MB, with decoder and critic at most 18."""
    folder = SHIPPED[name].folder
    assert (folder / WEIGHTS).stat().st_size <= 12e6
    assert sum(file.stat().st_size for file in folder.glob("*.safetensors")) <= 18e6
    assert (folder / REST).exists() == (name == DEFAULT_AUTOENCODER)
    assert (folder / "README.md").is_file()


def test_the_critic_ships_with_the_autoencoder() -> None:
    assert any(n.startswith("discriminator.") for n in read(SHIPPED[DEFAULT_AUTOENCODER].folder))


@pytest.mark.parametrize("name", NAMES)
def test_the_positions_are_those_of_axes_up_to_half_precision(name: str) -> None:
    shipped = load(name)
    assert shipped.config.positions == "axes"
    fresh = axes_table(shipped.config.grid, shipped.config.width)
    torch.testing.assert_close(shipped.pos_embedding.emb, fresh, atol=5e-4, rtol=0)


def test_what_it_predicts_is_nearer_than_a_grey_picture() -> None:
    """A flat clip: whoever has learnt anything continues the colour that is visible."""
    model = load(DEFAULT_AUTOENCODER, "full")
    mask = torch.ones(1, model.config.n_tokens, dtype=torch.bool)
    mask[:, ::10] = False
    errors = []
    for level in (60, 200):
        video = to_model_input(torch.full((1, 16, 224, 224, 3), level, dtype=torch.uint8))
        with torch.inference_mode():
            errors.append(float((model(video, mask) - level / 255).abs().mean()))
    assert sum(errors) < (200 - 60) / 255
