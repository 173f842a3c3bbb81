"""Any CSV with a column of videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import listing, touch, write

from openmarlin.errors import InputError


def test_rows_splits_and_originals(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b.mp4")
    text = (
        "path;split;smile;original\nv/a.mp4;Validation;1;v/b.mp4\nv/b.mp4;dev;;\nc.mp4;train;0;\n"
    )
    table = write(tmp_path / "labels.csv", text)
    result = listing("csv", table)
    assert [(row.video, row.split) for row in result.rows] == [
        (tmp_path / "v/a.mp4", "val"),
        (tmp_path / "v/b.mp4", "val"),
    ]
    assert result.rows[0].labels == {"smile": "1", "original": str(tmp_path / "v/b.mp4")}
    assert result.missing.keys() == {tmp_path / "c.mp4"}
    assert "smile: 1 rows have no value" in result.notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("video,split\na.mp4,train\n", "no column with a label"),
        ("video,split,smile\na.mp4,first,1\n", "split 'first'"),
        ("clip,smile\na.mp4,1\n", "no column named 'video'"),
        ("video,smile\na.mp4,1\na.mp4,0\n", "named twice"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(InputError, match=words):
        listing("csv", write(tmp_path / "labels.csv", text))
    with pytest.raises(InputError, match="takes the table"):
        listing("csv", tmp_path)
