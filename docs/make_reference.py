"""Write docs/reference.md, every verb with its settings: `python docs/make_reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openmarlin.settings import group, is_free, kind
from openmarlin.verbs import VERBS, Verb

PAGE = Path(__file__).parent / "reference.md"

HEAD = """# Reference: verbs and their settings

Made from the settings classes by `python docs/make_reference.py`; do not edit it by hand.

Every setting can be given in four ways, and means the same in all of them: as an option
(`--mask-ratio 0.75`), as `mask_ratio=0.75` on the command line, as a line `mask_ratio: 0.75` in a
recipe (`--config FILE.yaml`), and as an argument of the Python function of the same name. An option
goes over a recipe. The folder that a verb writes holds its settings as `config.yaml`, which is a
recipe again. A run goes on (`--resume`) with the same settings; those with a star may change.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name, verb in VERBS.items() for line in _verb(name, verb))])


def _verb(name: str, verb: Verb) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{verb.summary}\n"
    usage = f"openmarlin {name} {verb.usage}".rstrip()
    yield f"    {usage} [--config RECIPE] [--option VALUE | key=value]...\n"
    if verb.usage:
        yield f"{verb.usage.removesuffix('...')}: {verb.inputs}\n"
    fields = verb.settings.model_fields
    for heading in dict.fromkeys(group(field) for field in fields.values()):
        yield f"| {heading} | | takes | default |"
        yield "|---|---|---|---|"
        for key, field in fields.items():
            if group(field) != heading:
                continue
            star = r" \*" if is_free(field) else ""
            default = field.get_default()
            text = "needed" if field.is_required() else _text(default)
            yield f"| `{key}`{star} | {field.description} | {kind(field)} | {text} |"
        yield ""


def _text(default: object) -> str:
    if default is None or default == () or default == {}:
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
