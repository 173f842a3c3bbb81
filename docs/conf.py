"""The documentation site: `make docs` builds it into build/docs.

The pages are plain Markdown that reads as well on a code host. What the site needs besides is added
while they are read: the tree of pages, which is the list in index.md; and the models' cards, which
lie beside the weights.
"""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import openmarlin
from openmarlin.verbs import VERBS

WEIGHTS = Path(openmarlin.__file__).parent / "weights"
TWINS = {
    f"openmarlin.{words.replace(' ', '.').replace('-', '_')}": verb.settings
    for words, verb in VERBS.items()
}
"""Settings of the verbs, by the name of the Python function that does the same."""

project = "openmarlin"
author = "The openmarlin authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
version = release = openmarlin.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
highlight_language = "text"
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!openmarlin\.).*"),  # other projects' pages are not at hand
    ("py:class", r"openmarlin\..*\.(Copy|Predictions|RowCounts|Sound|TaskConfig|WindowThumb)"),
]

html_theme = "furo"
html_title = f"openmarlin {version}"
html_show_sphinx = html_copy_source = False

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80


def _add(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what only the site has."""
    text = source[0]
    if page == "index":
        text += "".join(map(_tree, text.split("\n## ")[1:]))
    if page == "cards":
        text += "".join(map(_card, sorted(WEIGHTS.glob("*/README.md"))))
    names = "|".join(sorted(card.parent.name for card in WEIGHTS.glob("*/README.md")))
    source[0] = re.sub(rf"\]\([./\w]*?({names})/README\.md\)", r"](/cards.md#\1)", text)


def _tree(section: str) -> str:
    """A part of the tree of pages from a part of index.md with lines `- [title](page.md): ...`."""
    pages = re.findall(r"^- \[(.+?)\]\((.+?)\.md\)", section, re.MULTILINE)
    if not pages:
        return ""
    caption, entries = section.splitlines()[0], [f"{title} <{page}>" for title, page in pages]
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", *entries, "```", ""])


def _card(path: Path) -> str:
    """A model's card as a section of a page in docs/."""
    text = path.read_text(encoding="utf-8").split("---\n", 2)[2]
    return "\n" + re.sub(r"^#", "##", text.replace("../../../../docs/", ""), flags=re.MULTILINE)


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str | None] | None:
    """Of verbs without the settings, which are dozens; of results nothing: nobody makes them."""
    if what == "class" and is_dataclass(obj):
        return "", None
    settings = _settings(name, obj)
    if not settings:
        return None
    parameters = [
        p.replace(annotation=Parameter.empty)
        for p in signature(obj).parameters.values()
        if p.name not in settings
    ]
    parameters.append(Parameter("settings", Parameter.VAR_KEYWORD))
    return str(Signature(parameters)), None


def _docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The settings of a verb stand in the reference, not a second time here."""
    settings = tuple(f"    {setting}: " for setting in _settings(name, obj))
    places = [i for i, line in enumerate(lines) if settings and line.startswith(settings)]
    if places:
        lines[places[0] : places[-1] + 1] = ["    settings: those of the verb, by name."]


def _settings(name: str, function: Any) -> frozenset[str]:
    """Names of the settings that a verb's Python twin takes besides its own arguments."""
    if name not in TWINS:
        return frozenset()
    code = function.__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return frozenset(TWINS[name].model_fields) - set(own)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
