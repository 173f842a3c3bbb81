"""Models: the catalogue names what `load` understands, with sizes and licences."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import openmarlin
from openmarlin.jobs.models import models
from openmarlin.model.zoo import RELEASED, catalogue


@pytest.fixture
def rows() -> dict[str, str]:
    """The lines of the table in a terminal of the usual width, by their first word."""
    console = Console(file=io.StringIO(), width=100)
    console.print(models())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return {words[0]: line for line in lines if (words := line.split())}


def test_every_name_has_a_line_with_width_and_size(rows: dict[str, str]) -> None:
    for model in catalogue():
        line = rows[model.name]
        assert f" {model.width} " in line
        assert f" {model.encoder_parameters / 1e6:.0f} M" in line


def test_what_is_fetched_says_how_much_and_under_which_licence(rows: dict[str, str]) -> None:
    for name, released in RELEASED.items():
        assert released.licence in rows[name]
        assert " MB" in rows[name]
    assert not any(" MB" in line for name, line in rows.items() if name not in RELEASED)


def test_what_needs_no_network_loads_as_listed() -> None:
    local = [model for model in catalogue() if model.name not in RELEASED and model.width <= 384]
    assert local
    for model in local:
        encoder = openmarlin.load(model.name)
        assert isinstance(encoder, openmarlin.Encoder)
        values = sum(tensor.numel() for tensor in encoder.state_dict().values())
        assert (encoder.config.width, values) == (model.width, model.encoder_parameters)
