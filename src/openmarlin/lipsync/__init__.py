"""Lip synchronisation: how well lips and sound go together, and lips for another sound.

    openmarlin.lipsync.score("talk.mp4", out="score")

The verbs of `openmarlin lipsync` are functions here; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_VERBS: tuple[str, ...] = (
    "fix",
    "generate",
    "score",
    "table",
    "train",
    "train_expert",
    "train_mouth",
)

__all__ = list(_VERBS)


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'openmarlin.lipsync' has no attribute {name!r}")
    return getattr(import_module(f"openmarlin.jobs.lipsync_{name}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
