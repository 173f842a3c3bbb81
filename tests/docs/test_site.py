"""What can be told of the documentation without building it; `make docs` does the rest."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import openmarlin
import openmarlin.lipsync

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    {*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")}
    | {*(ROOT / "src").rglob("*.md")}
)
NAME = re.compile(r"\bopenmarlin(?:\.[A-Za-z_]\w*)+")


def _anchors(page: Path) -> set[str]:
    """Of the headings of a page, as code hosts write them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_first_page_leads_to_all_others() -> None:
    linked = re.findall(r"^- \[.+?\]\((.+?\.md)\)", (DOCS / "index.md").read_text("utf-8"), re.M)
    assert len(linked) == len(set(linked))
    assert {DOCS / name for name in linked} == {*DOCS.rglob("*.md")} - {DOCS / "index.md"}


def test_every_public_name_has_its_docstring_on_the_site() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    names = {f"openmarlin.{name}" for name in openmarlin.__all__}
    names |= {f"openmarlin.lipsync.{name}" for name in openmarlin.lipsync.__all__}
    assert names - {"openmarlin.__version__", "openmarlin.lipsync"} <= shown


def test_names_on_the_pages_exist() -> None:
    """Of the pages and of what they import."""
    for page in PAGES:
        for name in set(NAME.findall(page.read_text(encoding="utf-8"))):
            _find(name.split("."))


def _find(parts: list[str]) -> object:
    for n in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{'.'.join(parts)} is not there")
