"""What was wrong with a file, counted while it is read and told in a few short lines."""

from __future__ import annotations

from typing import Literal

Kind = Literal["packet", "cut", "frame", "clock", "size"]

_LINES: dict[Kind, tuple[str, str]] = {
    "packet": ("1 damaged packet skipped", "{n} damaged packets skipped"),
    "cut": ("1 packet is incomplete", "{n} packets are incomplete"),
    "frame": (
        "1 damaged frame kept as far as decoded",
        "{n} damaged frames kept as far as decoded",
    ),
    "clock": (
        "1 frame with a broken time, timed by the nominal rate",
        "{n} frames with broken times, timed by the nominal rate",
    ),
    "size": (
        "1 frame of another size, scaled to the first",
        "{n} frames of another size, scaled to the first",
    ),
}


class Problems:
    """Counts by kind, so that memory does not grow with the damage."""

    def __init__(self) -> None:
        self.now_s = 0.0
        """Where reading is, in seconds; the reader keeps it up to date."""
        self._counts: dict[Kind, int] = {}
        self._first_s: dict[Kind, float] = {}
        self._short: str | None = None

    def note(self, kind: Kind) -> None:
        """Count one problem at the present position."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first_s.setdefault(kind, self.now_s)

    def ends_early(self, read_s: float, stated_s: float) -> None:
        """Note that the file holds less than it states."""
        self._short = f"the file ends early: {read_s:.2f} s of {stated_s:.2f} s could be read"

    def lines(self) -> list[str]:
        """One line a kind, with the place of the first one."""
        told = [
            f"{_LINES[kind][n > 1].format(n=n)} (first near {self._first_s[kind]:.2f} s)"
            for kind, n in self._counts.items()
        ]
        return told if self._short is None else [*told, self._short]
