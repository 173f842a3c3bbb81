from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from openmarlin.errors import InputError
from openmarlin.model import io
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import load, save_folder, save_reference, save_transformers, weights_sha256


def test_our_folder_holds_three_files_that_explain_themselves(
    midget: Autoencoder, tmp_path: Path
) -> None:
    save_folder(midget, tmp_path / "m")
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["model_type"], config["width"]) == ("openmarlin", 192)
    with safe_open(tmp_path / "m" / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(midget.state_dict())
    card = (tmp_path / "m" / "README.md").read_text()
    assert "# midget" in card
    assert weights_sha256(midget) in card
    assert "license:" not in card


def test_the_card_passes_the_licence_on(midget: Autoencoder, tmp_path: Path) -> None:
    torch.save(midget.state_dict(), tmp_path / "marlin_vit_small_ytf.full.pt")
    model = load(tmp_path / "marlin_vit_small_ytf.full.pt")
    save_folder(model, tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text()
    assert "license: cc-by-nc-4.0" in card
    assert load(tmp_path / "m").config.licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize("writer", [save_folder, save_transformers])
def test_an_older_folder_is_only_replaced_when_asked(
    writer: Any, midget: Autoencoder, tmp_path: Path
) -> None:
    target = tmp_path / "m"
    target.mkdir()
    writer(midget.encoder, target)  # an empty folder is free
    (target / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        writer(midget, target)
    assert (target / "note.txt").exists()
    writer(midget, target, overwrite=True)
    assert not (target / "note.txt").exists()
    assert load(target, "full").config.width == 192
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failure_leaves_the_old_folder_and_no_debris(
    midget: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(midget, tmp_path / "m")
    before = weights_sha256(load(tmp_path / "m", "full"))

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(io, "save_file", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        save_folder(load("tiny"), tmp_path / "m", overwrite=True)
    assert weights_sha256(load(tmp_path / "m", "full")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_disk_that_is_full_under_a_reference_file(midget: Autoencoder) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(InputError, match=r"cannot write /dev/full/x\.pt"):
        save_reference(midget, "/dev/full/x.pt")


def test_reference_file_round_trip(midget: Autoencoder, tmp_path: Path) -> None:
    save_reference(midget, tmp_path / "new" / "m.full.pt")
    state = torch.load(tmp_path / "new" / "m.full.pt", weights_only=True)
    assert all(torch.equal(state[k], t) for k, t in midget.state_dict().items())
    assert len(state) == len(midget.state_dict())
