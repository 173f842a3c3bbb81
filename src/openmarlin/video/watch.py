"""How far videos are being read in this process, for whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[float, float | None], None]
"""Takes the time that is read and how long the video lasts, seconds; None: it does not say."""

_watchers: list[Tell] = []


@contextmanager
def watching(tell: Tell) -> Iterator[None]:
    """Call `tell` for every frame that any reader of this process decodes, in its thread."""
    _watchers.append(tell)
    try:
        yield
    finally:
        _watchers.remove(tell)


def tell_all(now_s: float, duration_s: float | None) -> None:
    """One more frame has been decoded."""
    for tell in _watchers:
        tell(now_s, duration_s)
