"""What a user names, and the networks it stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from task_models import FAKE, encoder, saved

from openmarlin.errors import ModelError
from openmarlin.exports.sources import ONE, networks_of
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.make import PUBLISHED, make_generator, save_generator
from openmarlin.model.io import save_folder, save_reference


def test_names_folders_runs_and_files(tmp_path: Path) -> None:
    save_folder(encoder(), tmp_path / "mine")
    task = saved(tmp_path / "run" / "model", FAKE)
    small = GeneratorConfig(system="lipgan", width=0.25, size=64)
    save_generator(tmp_path / "lips", make_generator(small), {})
    kinds = {
        "openmarlin_vit_tiny": "encoder",
        tmp_path / "mine": "encoder",
        task: "task",
        tmp_path / "run": "task",
        tmp_path / "lips": "generator",
    }
    for model, kind in kinds.items():
        assert [network.kind for network in networks_of(model).values()] == [kind]
    assert networks_of(task)[ONE].name == FAKE.name
    assert list(networks_of("openmarlin_dub")) == ["shape", "renderer"]


def test_checkpoint_files_are_told_apart(tmp_path: Path) -> None:
    torch.save(make_generator(PUBLISHED).state_dict(), tmp_path / "wav2lip.pth")
    assert networks_of(tmp_path / "wav2lip.pth")[ONE].kind == "generator"
    tiny = networks_of("openmarlin_vit_tiny")[ONE].module.encoder
    save_reference(tiny, tmp_path / "mine.encoder.pt")
    assert networks_of(tmp_path / "mine.encoder.pt")[ONE].kind == "encoder"


def test_card_and_licence_come_along() -> None:
    for name in ("openmarlin_vit_tiny", "openmarlin_dub"):
        for network in networks_of(name).values():
            assert network.licence["license_name"] == "research-non-commercial"
            assert network.card.startswith(f"# {name}")
    untrained = networks_of("tiny")[ONE]
    assert not untrained.licence
    assert "untrained" in untrained.caution


def test_what_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="kind 'points'"):
        networks_of("openmarlin_sync")
    with pytest.raises(ModelError, match="no model"):
        networks_of(tmp_path / "none")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text(json.dumps({"task": {}}))
    with pytest.raises(ModelError, match="without a head"):
        networks_of(tmp_path / "odd")
