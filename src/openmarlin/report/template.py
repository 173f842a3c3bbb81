"""Templates filled in: pages of one look, with everything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from openmarlin.output import atomic
from openmarlin.report import words


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Fill in `template`; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("openmarlin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = words.count
    page = environment.get_template(template).render(content)
    with atomic(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path
