"""The head of a model card: written, read back, and what counts as a licence."""

from __future__ import annotations

import pytest

from openmarlin.model.card import card_head, licence_fields, licence_of, split_card
from openmarlin.model.zoo import SHIPPED, WEIGHTS


@pytest.mark.parametrize(
    ("licence", "fields"),
    [
        ("", {}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        (
            "research, non-commercial",
            {"license": "other", "license_name": "research-non-commercial"},
        ),
    ],
)
def test_a_head_comes_back_as_it_was_written(licence: str, fields: dict[str, str]) -> None:
    assert licence_fields(licence) == fields
    text = card_head("openmarlin", fields, ["video", "face"]) + "# Title\n\n---\nmore\n"
    head, body = split_card(text)
    assert head == {"library_name": "openmarlin", **fields, "tags": ["video", "face"]}
    assert licence_of(head) == fields
    assert body == "# Title\n\n---\nmore\n"


@pytest.mark.parametrize(
    "text", ["", "# Title\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", "---\na: [\n---\n"]
)
def test_what_is_no_head_is_text(text: str) -> None:
    assert split_card(text) == ({}, text)


def test_a_head_that_holds_no_names_says_nothing() -> None:
    assert split_card("---\n- a\n- b\n---\ntext\n") == ({}, "text\n")


def test_the_cards_inside_say_what_the_zoo_says() -> None:
    for name, shipped in SHIPPED.items():
        head, _ = split_card((WEIGHTS / name / "README.md").read_text(encoding="utf-8"))
        assert licence_of(head) == licence_fields(shipped.licence)
