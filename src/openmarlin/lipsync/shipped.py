"""The models of lip sync that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

from openmarlin.model.zoo import WEIGHTS

DEFAULT_EXPERT = "openmarlin_sync"
"""Compares lips and sound, where no other expert is named."""

DEFAULT_MOUTH_MODEL = "openmarlin_dub"
"""Draws mouths, where no other model is named."""


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The path that is named; where there is none, the folder in the package of that name.

    What is returned need not exist.
    """
    path = Path(name_or_path).expanduser()
    shipped = WEIGHTS / path
    return shipped if not path.exists() and len(path.parts) == 1 and shipped.is_dir() else path
