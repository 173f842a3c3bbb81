"""`models`: every name that `load` understands, its size, its licence, where it comes from."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from openmarlin.model.zoo import SHIPPED_TASKS, catalogue


def models() -> Table:
    """The catalogue as a table for the terminal."""
    table = Table(
        Column("name", no_wrap=True),
        Column("width", justify="right"),
        Column("size", justify="right", no_wrap=True),
        Column("weights", no_wrap=True),
        Column("licence"),
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption="Released weights are fetched from the Hugging Face hub when named, and cached. "
        "Any folder or checkpoint can stand in place of a name (docs/models.md). `openmarlin "
        f"predict` has models of its own: {', '.join(SHIPPED_TASKS)}.",
    )
    for model in catalogue():
        size = f", {model.download_mb:.0f} MB" if model.download_mb else ""
        weights = model.trained_on + size or "random"
        table.add_row(
            model.name,
            str(model.width),
            f"{model.encoder_parameters / 1e6:.0f} M",
            weights,
            model.licence or "-",
        )
    return table
