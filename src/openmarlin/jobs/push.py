"""`push`: a model or an export -> a repository on the Hugging Face hub, with its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from openmarlin.console import console
from openmarlin.exports.hub import check_folder, push_folder
from openmarlin.exports.settings import PushSettings
from openmarlin.settings import documented, read_settings


@dataclass(frozen=True)
class Pushed:
    """Where it is now.

    Attributes:
        url: of the repository.
    """

    url: str


@documented(PushSettings)
def push(
    folder: str | Path,
    repo: str,
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - the hub's library shows its own
    **settings: Any,
) -> Pushed:
    """Put a model or an export on the Hugging Face hub.

    Args:
        folder: of the model or export; its README.md is the card and must say the licence.
        repo: NAME or OWNER/NAME; it is made where it is missing.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing.
        {settings}

    Raises:
        InputError: the folder is no model or export, its card says no licence, nobody is logged
            in, or the hub refuses.
    """
    s = read_settings(PushSettings, config, settings)
    place = Path(folder).expanduser()
    check_folder(place)
    return Pushed(push_folder(place, repo, private=s.private))


def announce(result: Pushed) -> None:
    """Say where to look."""
    console.print(f"-> {escape(result.url)}", soft_wrap=True)
