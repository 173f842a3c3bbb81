from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.model.zoo import RELEASED, SHIPPED, catalogue, caution

PUBLISHED = {
    "small": (22_482_048, 2_376_768),
    "base": (87_431_424, 8_290_944),
    "large": (305_466_368, 39_414_784),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_by_arithmetic_are_the_published(name: str) -> None:
    config = PRESETS[name]
    assert (config.encoder_parameters, config.decoder_parameters) == PUBLISHED[name]


def test_arithmetic_agrees_with_a_built_model(midget: Autoencoder) -> None:
    def count(part: object) -> int:
        return sum(t.numel() for t in part.state_dict().values())  # type: ignore[attr-defined]

    assert count(midget.encoder) == midget.config.encoder_parameters
    assert count(midget.decoder) == midget.config.decoder_parameters
    assert midget.config.encoder_alone().decoder_parameters == 0


def test_grid_and_sizes() -> None:
    config = PRESETS["base"]
    assert config.grid == (8, 14, 14)
    assert (config.n_tokens, config.token_values) == (1568, 1536)
    assert config.changed(frames=32, image_size=112).grid == (16, 7, 7)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image_size": 225}, "image_size 225 is not a multiple of patch 16"),
        ({"frames": 15}, "frames 15 is not a multiple of tubelet 2"),
        ({"heads": 7}, "width 768 is not a multiple of heads 7"),
        ({"decoder_heads": 5}, "decoder_width 384 is not a multiple of decoder_heads 5"),
        ({"decoder_depth": None}, "go together"),
        ({"depth": 0}, "depth"),
        ({"colour": 1}, "colour"),
        ({"width": "wide"}, "width"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        PRESETS["base"].changed(**fields)
    assert "\n" not in str(caught.value)


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        PRESETS["base"].width = 1  # type: ignore[misc]


def test_presets_are_untrained_and_released_models_say_their_licence() -> None:
    assert not any(preset.trained for preset in PRESETS.values())
    for name, released in RELEASED.items():
        config = released.config
        assert config.name == name
        assert config.trained
        assert config.licence == "CC-BY-NC-4.0"
        assert config.width == PRESETS[released.preset].width
        assert released.full_url.endswith(f"/{name}.full.pt")


def test_the_catalogue_lists_every_name_once() -> None:
    lines = catalogue()
    assert [line.name for line in lines] == [*SHIPPED, *PRESETS, *RELEASED]
    by_name = {line.name: line for line in lines}
    assert by_name["small"].download_mb == 0
    assert by_name["marlin_vit_small_ytf"].download_mb == pytest.approx(89.9)
    assert all(line.licence for line in lines if line.download_mb)


def test_a_config_survives_json() -> None:
    config = PRESETS["small"]
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_the_documentation_has_the_numbers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for name, config in PRESETS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
        for number in (config.encoder_parameters, config.decoder_parameters):
            assert f" {number:,} " in row
    for name, released in RELEASED.items():
        assert name in text
        assert released.licence in text


def test_what_is_said_before_features_are_relied_on() -> None:
    assert "untrained" in caution(PRESETS["small"])
    mine = PRESETS["tiny"].changed(trained=True, name="mine")
    assert caution(mine) == ""
    for name, shipped in SHIPPED.items():
        assert caution(mine.changed(name=name)) == shipped.caution
