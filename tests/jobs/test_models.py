"""Models: the catalogue names what `load` understands, with licences."""

from __future__ import annotations

import io

from rich.console import Console

from openmarlin.jobs.models import models
from openmarlin.model.config import PRESETS
from openmarlin.model.zoo import RELEASED, SHIPPED


def test_catalogue_lists_every_name_with_its_licence() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(models())
    shown = console.file.getvalue()
    for name in (*SHIPPED, *PRESETS, *RELEASED):
        assert name in shown
    assert shown.count("CC-BY-NC-4.0") == len(RELEASED)
    assert shown.count("non-commercial") == len(SHIPPED)
