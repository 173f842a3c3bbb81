"""Run what a page of the docs says, in order and in this folder: `python run_page.py PAGE.md`.

Run are blocks of Python, and lines of other blocks that begin with `openmarlin`. A block below a
comment `<!-- not run: REASON -->` is left out.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        line: of its first line.
        language: what stands behind the fence; empty for command lines.
        text: what it holds.
        reason: why it is not run; empty where it is.
    """

    line: int
    language: str
    text: str
    reason: str

    @property
    def commands(self) -> list[list[str]]:
        """Words of its lines that call `openmarlin`, without the name."""
        lines = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        return [words[1:] for words in lines if not self.language and words[:1] == ["openmarlin"]]


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            found["text"],
            found["reason"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def run(page: Path) -> None:
    """Run the blocks of a page; Python blocks share their names."""
    from openmarlin.cli import app

    names: dict[str, Any] = {"__name__": "__main__"}
    for block in read_blocks(page):
        if block.reason:
            continue
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
        for words in block.commands:
            if app(words, standalone_mode=False):
                raise SystemExit(f"{page}, line {block.line}: openmarlin {shlex.join(words)}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
