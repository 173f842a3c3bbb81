"""The lower bounds of pyproject.toml as constraints for pip: `python tests/lowest.py`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def lower_bounds(pyproject: Path) -> list[str]:
    """`name==bound` for everything the package itself requires."""
    requirements = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [re.sub(r">=\s*([^,;]+).*", r"==\1", requirement) for requirement in requirements]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lower_bounds(Path(__file__).parents[1] / "pyproject.toml")) + "\n")
