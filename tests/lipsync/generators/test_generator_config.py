from __future__ import annotations

from typing import Any

import pytest

from openmarlin.errors import ModelError
from openmarlin.lipsync.generators.config import GeneratorConfig


def test_frames_follow_the_system() -> None:
    assert GeneratorConfig(system="wav2lip").frames == 1
    assert GeneratorConfig(system="wav2lip_vit").frames == 16
    assert GeneratorConfig(system="wav2lip_vit", frames=8).frames == 8


def test_json_round_trip() -> None:
    config = GeneratorConfig(system="attn_wav2lip", width=0.25, size=64)
    assert GeneratorConfig.of(config.model_dump(mode="json"), where="x") == config


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "wav2lip", "size": 100},
        {"system": "speech2vid", "size": 48},
        {"system": "lipgan", "frames": 5},
        {"system": "wav2lip", "width": 0},
        {"system": "wav2lip_vit", "encoder_size": 100},
        {"system": "musetalk"},
        {"system": "wav2lip", "colour": "red"},
        {},
    ],
)
def test_what_does_not_fit_is_one_line(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"^there\.json") as caught:
        GeneratorConfig.of(fields, where="there.json")
    assert "\n" not in str(caught.value)
