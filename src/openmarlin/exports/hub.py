"""A folder to the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from openmarlin.errors import InputError
from openmarlin.exports.card import ABOUT
from openmarlin.model.card import CARD, licence_of, split_card
from openmarlin.model.tensor_files import CONFIG, WEIGHTS
from openmarlin.tasks.model import MODEL

_HIDDEN = [".*", "*/.*"]


def check_folder(folder: Path) -> None:
    """Whether strangers can be given it: a model or an export, with a card that says the licence.

    Raises:
        InputError: it is none, has no card, or the card no licence.
    """
    if not _is_model(folder):
        hint = f"name a folder with {CONFIG} and {WEIGHTS}"
        if _is_model(folder / MODEL):
            hint = f"its model is {folder / MODEL}"
        raise InputError(
            f"{folder}: is no model and no export; {hint}, or one that `openmarlin export` wrote"
        )
    card = folder / CARD
    if not card.is_file():
        raise InputError(f"{folder}: has no {CARD}; write a card that says what it is")
    if not licence_of(split_card(card.read_text(encoding="utf-8", errors="replace"))[0]):
        raise InputError(
            f"{card}: says no licence; write one at its head, as `license: cc-by-4.0` between two "
            "lines of ---"
        )


def push_folder(folder: Path, repo: str, *, private: bool) -> str:
    """Make the repository, where it is new, and put every file of the folder there in one commit.

    Hidden files stay. HF_ENDPOINT names another hub, HF_TOKEN or `hf auth login` who is writing.

    Args:
        folder: see `check_folder`.
        repo: NAME or OWNER/NAME.
        private: of a new repository; else it is what its owner's repositories are by default.

    Returns:
        The address of the repository.

    Raises:
        InputError: nobody is logged in, or the hub refuses or is not reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    token = get_token()
    if token is None:
        raise InputError(
            "nobody is logged in to the hub: run `hf auth login`, or set HF_TOKEN to a token that "
            "may write"
        )
    # The library looks at the variable when it is imported; it may have been set since.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token, library_name="openmarlin")
    try:
        place = api.create_repo(repo, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=place.repo_id,
            folder_path=folder,
            commit_message="Upload by openmarlin",
            ignore_patterns=_HIDDEN,
        )
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{repo}: the hub does not take it: {reason}") from error
    return str(place)


def _is_model(folder: Path) -> bool:
    if (folder / ABOUT).is_file():
        return True
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
