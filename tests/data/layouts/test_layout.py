"""What all layouts share: rows whose video is there, settings, made splits, one-line errors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from disk import listing, touch
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.data.layouts import LAYOUTS, find_layout
from openmarlin.data.layouts.layout import Listing, fold_split, hashed_split
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_what_it_is(name: str) -> None:
    layout = find_layout(name)
    assert layout.name == name
    assert layout.summary
    defaults = layout.settings({})
    assert defaults.keys() == layout.options.keys()
    for key, value in defaults.items():
        values = value if isinstance(value, tuple) else (value,)
        assert set(values) <= set(layout.options[key].choices)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "csv"])
def test_another_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "readme.md")
    for root in (tmp_path, tmp_path / "readme.md"):
        with pytest.raises(InputError, match=str(tmp_path)) as error:
            listing(name, root)
        assert "\n" not in str(error.value)


def test_an_unknown_layout_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'celebv_hq'"):
        find_layout("celebvhq")


def test_settings_that_a_layout_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"fold.*ferv39k"):
        find_layout("ferv39k").settings({"fold": 2})
    with pytest.raises(InputError, match=r"fold.*compression.*methods"):
        find_layout("faceforensics").settings({"fold": 2})
    with pytest.raises(InputError, match="fold=6: must be 1, 2, 3, 4, 5"):
        find_layout("dfew").settings({"fold": 6})
    assert find_layout("ravdess").settings({"fold": 6}) == {"fold": 6}
    with pytest.raises(InputError, match="methods='Magic'"):
        find_layout("faceforensics").settings({"methods": ("Deepfakes", "Magic")})


def test_what_is_not_there_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "empty.mp4").touch()
    rows = Listing()
    for name in ("a.mp4", "a.mp4", "empty.mp4", "gone.mp4", "gone.mp4", "b\udcff.mp4"):
        rows.add(Row(tmp_path / name, labels={"n": str(len(rows.rows))}))
    assert [row.video.name for row in rows.rows] == ["a.mp4"]
    assert rows.absent == 4
    assert {path.name for path in rows.missing} == {"empty.mp4", "gone.mp4", "b\udcff.mp4"}
    assert "empty" in rows.missing[tmp_path / "empty.mp4"]
    assert "Unicode" in rows.missing[tmp_path / "b\udcff.mp4"]


def test_the_first_of_two_rows_for_one_part_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    rows = Listing()
    for start_s, label in ((0.0, "x"), (1.0, "y"), (0.0, "z")):
        rows.add(Row(tmp_path / "a.mp4", start_s, 2.0, labels={"label": label}))
    assert [row.labels["label"] for row in rows.rows] == ["x", "y"]
    rows.add(rows.rows[0])
    assert (len(rows.rows), rows.absent, rows.contradictions) == (2, 0, 1)
    assert rows.original(tmp_path / "a.mp4") == ""  # no whole video of that name


@given(st.dictionaries(st.text(max_size=6), st.sampled_from("abcdefghij"), min_size=1))
def test_a_made_split_keeps_groups_together(groups: dict[str, str]) -> None:
    splits = hashed_split(groups)
    assert splits.keys() == groups.keys()
    assert len({(groups[name], split) for name, split in splits.items()}) == len(
        set(groups.values())
    )
    assert splits == hashed_split(dict(reversed(groups.items())))


def test_a_made_split_by_name_has_the_counts_of_the_paper() -> None:
    names = {f"clip_{i}": f"clip_{i}" for i in range(35_666)}
    counts = Counter(hashed_split(names).values())
    assert (counts["train"], counts["val"], counts["test"]) == (28_532, 3_567, 3_567)


@pytest.mark.parametrize("n", [5, 6])
def test_every_fold_is_tested_on_once_and_validates_once(n: int) -> None:
    table = [[fold_split(fold, test, n) for fold in range(1, n + 1)] for test in range(1, n + 1)]
    for line in (*table, *zip(*table, strict=True)):
        assert Counter(line) == {"test": 1, "val": 1, "train": n - 2}
    assert table[n - 1][:2] == ["val", "train"]
