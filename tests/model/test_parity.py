"""The same numbers as marlin-pytorch 0.3.4, of which nothing is here but its outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import reference_class, reference_model

from openmarlin.model.io import load, save_reference, tensors
from openmarlin.model.layers import sinusoid_table

TOLERANCE = {"rtol": 0, "atol": 1e-5}
SIZES = ["small", pytest.param("base"), pytest.param("large", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SIZES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reference's model with random weights, and ours out of its file."""
    theirs = reference_model(request.param, full=True)
    path = tmp_path_factory.mktemp("reference") / f"{request.param}.full.pt"
    torch.save(theirs.state_dict(), path)
    ours = load(path, "full")
    path.unlink()
    return theirs, ours


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def test_tokens_and_features(pair: Any, clip: torch.Tensor) -> None:
    theirs, ours = pair
    trunk = ours.encoder.trunk(clip)
    tokens, features = ours.encoder.norm(trunk), ours.encoder.norm(trunk.mean(1))
    torch.testing.assert_close(tokens, theirs.extract_features(clip, keep_seq=True), **TOLERANCE)
    torch.testing.assert_close(features, theirs.extract_features(clip, keep_seq=False), **TOLERANCE)


@torch.inference_mode()
def test_reconstruction(
    pair: Any, clip: torch.Tensor, make_mask: Callable[..., torch.Tensor]
) -> None:
    theirs, ours = pair
    mask = make_mask(1, 1568, 1412)
    wanted = theirs(clip, ~mask)  # True is visible there
    torch.testing.assert_close(ours(clip, mask), wanted, **TOLERANCE)


def test_every_tensor_has_its_name_and_the_positions_their_values(pair: Any) -> None:
    theirs, ours = (model.state_dict() for model in pair)
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in theirs.items()}
    for part in ("encoder", "decoder"):
        table = theirs[f"{part}.pos_embedding.emb"]
        assert torch.equal(sinusoid_table(table.shape[1], table.shape[2]), table)


def test_the_reference_reads_what_we_write(tmp_path: Path) -> None:
    reference = reference_class()
    ours = load("small")
    save_reference(ours, tmp_path / "ours.encoder.pt")
    theirs = reference.from_file("marlin_vit_small_ytf", str(tmp_path / "ours.encoder.pt"))
    wanted = tensors(ours)
    assert theirs.state_dict().keys() == wanted.keys()
    assert all(torch.equal(t, wanted[name]) for name, t in theirs.state_dict().items())
