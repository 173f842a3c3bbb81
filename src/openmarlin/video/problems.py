"""What was noticed in a file, counted while it is read and told in a few short lines."""

from __future__ import annotations

from typing import Literal

Kind = Literal["packet", "cut", "frame", "clock"]

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
}


class Problems:
    """Counts by kind, so that memory does not grow with the damage."""

    def __init__(self) -> None:
        self.now_s = 0.0
        """Where reading is, in seconds; the reader keeps it up to date."""
        self._counts: dict[Kind, int] = {}
        self._first_s: dict[Kind, float] = {}
        self._short: str | None = None
        self._size: tuple[int, int] | None = None
        self._resizes = 0
        self._first_resize = ""
        self._joins = 0
        self._first_join_s = 0.0

    def note(self, kind: Kind) -> None:
        """Count one problem at the present position."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first_s.setdefault(kind, self.now_s)

    def ends_early(self, read_s: float, stated_s: float) -> None:
        """Note that the file holds less than it states."""
        self._short = f"the file ends early: {read_s:.2f} s of {stated_s:.2f} s could be read"

    def saw_size(self, width: int, height: int) -> None:
        """Take in the size of the next picture: a change is no damage, but worth a word."""
        size = width, height
        if self._size is not None and size != self._size:
            self._resizes += 1
            self._first_resize = self._first_resize or (
                f"from {self._size[0]}x{self._size[1]} to {width}x{height} near {self.now_s:.2f} s"
            )
        self._size = size

    def joined(self) -> None:
        """The broken time that was counted last was the beginning of another recording."""
        self._counts["clock"] -= 1
        if not self._joins:
            self._first_join_s = self.now_s
        self._joins += 1

    def facts(self) -> list[str]:
        """What is unusual and lost nothing, one line each."""
        lines = []
        if self._resizes:
            lines.append(f"the picture changes size {_times(self._resizes)}{self._first_resize}")
        if self._joins:
            times = _times(self._joins)
            lines.append(f"the clock starts again {times}near {self._first_join_s:.2f} s")
        return lines

    def lines(self) -> list[str]:
        """What was damaged: one line a kind, with the place of the first one."""
        lines = [
            f"{_LINES[kind][n > 1].format(n=n)} (first near {self._first_s[kind]:.2f} s)"
            for kind, n in self._counts.items()
            if n
        ]
        return lines if self._short is None else [*lines, self._short]


def _times(n: int) -> str:
    return "" if n == 1 else f"{n} times, first "
