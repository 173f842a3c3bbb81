"""What this machine and installation are, for whoever wants to run the same again."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from openmarlin import torchrun


def machine() -> dict[str, Any]:
    """What a reader must know to run the same again: command, machine, versions."""
    torch = sys.modules.get("torch")  # not for this record alone: it takes seconds to import
    devices = range(torch.cuda.device_count()) if torch else ()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "torchrun": torchrun.job(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "gpus": [torch.cuda.get_device_name(i) for i in devices] if torch else [],
    }


def package_versions(extra: str = "") -> dict[str, str]:
    """Versions of openmarlin and what it requires, "not installed" where there is none.

    Args:
        extra: also what this extra of the package requires.
    """
    names = ["openmarlin"]
    for requirement in requires("openmarlin") or ():
        name, _, marker = requirement.partition(";")
        if not marker or (extra and f'"{extra}"' in marker.replace("'", '"')):
            names.append(_distribution(name))
    return {name: _version(name) for name in names}


def _distribution(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if c not in "-_." and not c.isalnum()), None)
    return requirement[:end]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
