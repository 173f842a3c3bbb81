"""The head of a model card, as the Hugging Face hub reads it: YAML between two lines of dashes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

CARD = "README.md"
"""A model card, in the folder of a model."""

_HEAD = re.compile(r"\A---\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def card_head(library: str, licence: Mapping[str, str], tags: Sequence[str]) -> str:
    """The lines a card begins with.

    Args:
        library: that reads the model.
        licence: see `licence_fields`.
        tags: what it is about.
    """
    fields = {"library_name": library, **licence, "tags": list(tags)}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n"


def licence_fields(licence: str) -> dict[str, str]:
    """What the hub asks for: `license`, and `license_name` where it is none that the hub lists."""
    if not licence:
        return {}
    if re.fullmatch(r"[\w.+-]+", licence):
        return {"license": licence.lower()}
    return {"license": "other", "license_name": "-".join(re.findall(r"[\w.]+", licence.lower()))}


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """A card -> the fields of its head, {} where it has none, and the text below."""
    head = _HEAD.match(text)
    if head is None:
        return {}, text
    try:
        fields = yaml.safe_load(head[1])
    except yaml.YAMLError:
        return {}, text
    return (fields if isinstance(fields, dict) else {}), text[head.end() :]


def licence_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Those fields of a card's head that say the licence; {} where none does."""
    names = ("license", "license_name", "license_link")
    return {name: str(fields[name]) for name in names if fields.get(name)}
