"""Reports as a browser reads them: text, elements, and nothing left open."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "input", "br", "link", "hr"}


@dataclass
class Page:
    """A parsed page: its text, the elements met, and that every element was closed."""

    source: str
    text: str
    tags: list[tuple[str, dict[str, str | None]]]

    def all(self, tag: str, css: str | None = None) -> list[dict[str, str | None]]:
        found = [attrs for name, attrs in self.tags if name == tag]
        return [a for a in found if css is None or css in (a.get("class") or "").split()]


class Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(path: Path) -> Page:
    source = path.read_text(encoding="utf-8")
    parser = Parser()
    parser.feed(source)
    parser.close()
    assert parser.open == []
    return Page(source, " ".join(" ".join(parser.text).split()), parser.tags)
