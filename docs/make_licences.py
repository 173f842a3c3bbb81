"""Write docs/licences.md, the packages that an installation brings: `python docs/make_licences.py`.

Names come from pyproject.toml and from what the installed packages ask for, licences from what
these state, versions from constraints.txt.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "licences.md"

HEAD = """# Licences

openmarlin is under the Apache License 2.0; NOTICE lists the third-party files inside it, and the
weights have a licence of their own ([cards](cards.md)). This page lists the packages that `pip`
installs with it, with the versions of `constraints.txt` and the licence that each of them states.
It is made by `python docs/make_licences.py`; do not edit it by hand.

torch from the default index on Linux also brings NVIDIA's CUDA libraries under NVIDIA's terms; the
CPU build, which is listed here, does not.
"""

_CLASSIFIER = "License :: OSI Approved :: "
_TEXTS = {"mit": "MIT", "apache software": "Apache-2.0", "bsd": "BSD"}
"""Of classifiers, shorter."""


def page() -> str:
    """The whole page.

    Raises:
        importlib.metadata.PackageNotFoundError: a package is not installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = closure(project["dependencies"])
    lines = [HEAD, *_table("Core", core)]
    for extra, asked in project["optional-dependencies"].items():
        if extra in ("dev", "docs", "peers"):  # of those who work on it
            continue
        more = {name: package for name, package in closure(asked).items() if name not in core}
        lines += _table(f"Besides, with `openmarlin[{extra}]`", more)
    return "\n".join(lines)


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The packages that are asked for, and all that those ask for, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        package = distribution(name)
        found[name] = package
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(Requirement(text), wanted) for text in package.requires or ()]
    return dict(sorted(found.items()))


def pinned() -> dict[str, str]:
    """Versions in constraints.txt, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def licence(package: Distribution) -> str:
    """What a package states, in a few words."""
    facts = package.metadata
    stated = facts.get("License-Expression")
    if stated is None:
        names = [
            name.removeprefix(_CLASSIFIER).removesuffix(" License")
            for name in facts.get_all("Classifier") or ()
            if name.startswith(_CLASSIFIER)
        ]
        stated = ", ".join(_TEXTS.get(name.lower(), name) for name in names)
    text = (facts.get("License") or "").strip()
    if not stated and text and "\n" not in text:
        stated = text
    return stated or f"see {_licence_file(package)}"


def _licence_file(package: Distribution) -> str:
    names = [file.name for file in package.files or () if re.match(r"(?i)licen[cs]e", file.name)]
    return f"{names[0]} in the package" if names else "its page"


def _table(heading: str, packages: dict[str, Distribution]) -> Iterator[str]:
    pins = pinned()
    yield f"## {heading}\n"
    yield "| package | version | licence |"
    yield "|---|---|---|"
    for name, package in packages.items():
        version = pins.get(name, package.version).partition("+")[0]
        yield f"| {package.name} | {version} | {licence(package)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
