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


@pytest.mark.parametrize("name", SHIPPED)
def test_encoders_load_by_name_with_their_licence(name: str) -> None:
    encoder = load(name)
    assert isinstance(encoder, Encoder)
    assert encoder.config.trained
    assert encoder.config.name == name
    assert "non-commercial" in encoder.config.licence
    shape = PRESETS["tiny"].encoder_alone()
    own = encoder.config.model_dump(include={"name", "trained", "positions", "source", "licence"})
    assert encoder.config == shape.changed(**own)


def test_an_autoencoder_is_whole_and_its_encoder_the_same() -> None:
    encoder, whole = load(DEFAULT_AUTOENCODER), load(DEFAULT_AUTOENCODER, "full")
    assert isinstance(whole, Autoencoder)
    assert whole.config.decoder_depth == 2
    theirs = whole.encoder.state_dict()
    assert all(torch.equal(t, theirs[name]) for name, t in encoder.state_dict().items())
    with pytest.raises(ModelError, match="openmarlin_face_tiny holds an encoder alone"):
        load(DEFAULT_ENCODER, "full")


def test_they_are_small_and_have_a_card() -> None:
    """Encoders at most 12 MB, decoder with critic at most 16."""
    for shipped in SHIPPED.values():
        assert (shipped.folder / WEIGHTS).stat().st_size <= 12e6
        assert (shipped.folder / "README.md").is_file()
    folder = SHIPPED[DEFAULT_AUTOENCODER].folder
    assert (folder / REST).stat().st_size <= 16e6
    assert any(name.startswith("discriminator.") for name in read(folder))


@pytest.mark.parametrize("name", SHIPPED)
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
