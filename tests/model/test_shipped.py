"""The weights inside the package."""

from __future__ import annotations

import torch

from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.model.layers import axes_table, to_model_input
from openmarlin.model.tensor_files import REST, WEIGHTS, read
from openmarlin.model.zoo import DEFAULT_MODEL, SHIPPED

FOLDER = SHIPPED[DEFAULT_MODEL].folder


def test_they_load_by_name_with_their_licence() -> None:
    encoder, whole = load(DEFAULT_MODEL), load(DEFAULT_MODEL, "full")
    assert isinstance(encoder, Encoder)
    assert isinstance(whole, Autoencoder)
    for model in (encoder, whole):
        assert model.config.trained
        assert model.config.name == DEFAULT_MODEL
        assert "non-commercial" in model.config.licence
    own = {"name", "trained", "positions", "decoder_depth"}
    shape = PRESETS["tiny"].changed(**whole.config.model_dump(include=own))
    assert whole.config.changed(source=shape.source, licence=shape.licence) == shape
    theirs = whole.encoder.state_dict()
    assert all(torch.equal(t, theirs[name]) for name, t in encoder.state_dict().items())


def test_they_are_small_and_whole() -> None:
    """Encoder at most 12 MB, decoder with critic at most 16."""
    assert (FOLDER / WEIGHTS).stat().st_size <= 12e6
    assert (FOLDER / REST).stat().st_size <= 16e6
    assert any(name.startswith("discriminator.") for name in read(FOLDER))
    assert (FOLDER / "README.md").is_file()


def test_the_positions_are_those_of_axes_up_to_half_precision() -> None:
    shipped = load(DEFAULT_MODEL)
    assert shipped.config.positions == "axes"
    fresh = axes_table(shipped.config.grid, shipped.config.width)
    torch.testing.assert_close(shipped.pos_embedding.emb, fresh, atol=5e-4, rtol=0)


def test_what_it_predicts_is_nearer_than_a_grey_picture() -> None:
    """A flat clip: whoever has learnt anything continues the colour that is visible."""
    model = load(DEFAULT_MODEL, "full")
    mask = torch.ones(1, model.config.n_tokens, dtype=torch.bool)
    mask[:, ::10] = False
    errors = []
    for level in (60, 200):
        video = to_model_input(torch.full((1, 16, 224, 224, 3), level, dtype=torch.uint8))
        with torch.inference_mode():
            errors.append(float((model(video, mask) - level / 255).abs().mean()))
    assert sum(errors) < (200 - 60) / 255
