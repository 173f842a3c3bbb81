"""Splits: groups stay whole, classes are spread, shares are nested, leaks and fingerprints."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmarlin.data.manifest import Row, read_manifest
from openmarlin.errors import InputError
from openmarlin.tasks.labels import Target
from openmarlin.tasks.splits import (
    PARTS,
    find_leaks,
    fingerprint,
    group_of,
    make_split,
    share_of,
    write_split,
)

TARGET = Target("class", ("mood",), ("angry", "calm", "happy"))


def rows_of(groups: list[int], moods: list[int], splits: list[str] | None = None) -> list[Row]:
    return [
        Row(
            Path(f"{i}.mp4"),
            split=splits[i] if splits else "",
            group=f"person-{group}",
            labels={"mood": TARGET.classes[mood]},
        )
        for i, (group, mood) in enumerate(zip(groups, moods, strict=True))
    ]


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    groups = draw(st.lists(st.integers(0, 12), min_size=3, max_size=60))
    groups += [20, 21, 22]  # three are the fewest
    moods = [draw(st.integers(0, 2)) for _ in groups]
    return rows_of(groups, moods)


@given(tables(), st.integers(0, 5))
def test_a_made_split_keeps_groups_whole_and_fills_every_part(rows: list[Row], seed: int) -> None:
    split = make_split(rows, TARGET, seed)
    parts = defaultdict(set)
    for row in split.rows:
        parts[group_of(row)].add(row.split)
    assert all(len(names) == 1 for names in parts.values())
    assert all(len(split.part(name)) for name in PARTS)
    assert [row.video for row in split.rows] == [row.video for row in rows]
    assert not find_leaks(split.rows)
    assert make_split(rows, TARGET, seed).rows == split.rows


def test_a_made_split_has_its_shares_of_every_class() -> None:
    rng = np.random.default_rng(0)
    rows = rows_of(list(range(600)), rng.choice(3, 600, p=[0.1, 0.3, 0.6]).tolist())
    split = make_split(rows, TARGET, 0)
    labels = TARGET.encode(split.rows)[:, 0]
    for number in range(3):
        total = (labels == number).sum()
        for name, share in zip(PARTS, (0.7, 0.15, 0.15), strict=True):
            n = (labels[split.part(name)] == number).sum()
            assert n == pytest.approx(share * total, abs=2 + 0.02 * total)


@pytest.mark.parametrize(
    ("names", "missing"), [(["train"], "val and test"), (["train", "test"], "val")]
)
def test_what_a_given_split_lacks_is_made_of_train(names: list[str], missing: str) -> None:
    splits = [names[i % len(names)] for i in range(60)]
    rows = rows_of(list(range(60)), [i % 3 for i in range(60)], splits)
    split = make_split(rows, TARGET, 0)
    assert all(len(split.part(name)) for name in PARTS)
    assert missing in split.how
    for row, before in zip(split.rows, splits, strict=True):
        assert row.split == before or before == "train"


def test_a_given_split_is_taken_as_it_is_by_any_of_its_names() -> None:
    splits = ["Training", "valid", "TEST", "dev", "", "train"]
    split = make_split(rows_of([1, 2, 3, 4, 5, 6], [0] * 6, splits), TARGET, 0)
    assert [row.split for row in split.rows] == ["train", "val", "test", "val", "", "train"]
    assert split.how == "given"


@pytest.mark.parametrize(
    ("splits", "word"), [(["train", "holdout", "test"], "holdout"), (["val", "test", ""], "train")]
)
def test_a_split_of_another_name_or_without_train_is_refused(splits: list[str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        make_split(rows_of([1, 2, 3], [0, 1, 2], splits), TARGET, 0)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InputError, match="2 groups"):
        make_split(rows_of([1, 2, 1, 2], [0, 1, 2, 0]), TARGET, 0)


def test_a_row_without_a_group_is_one_of_its_own_but_parts_of_a_file_belong_together() -> None:
    rows = [Row(Path(f"{i // 4}.mp4"), start_s=i % 4) for i in range(40)]
    rows = [replace(row, labels={"mood": "calm"}) for row in rows]
    split = make_split(rows, TARGET, 0)
    for i in range(0, 40, 4):
        assert len({row.split for row in split.rows[i : i + 4]}) == 1


def test_leaks_by_group_by_copy_and_by_one_file_in_two_parts(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.mp4" for name in "abcd"]
    for file, content in zip(files, (b"same", b"same", b"else", b"longer"), strict=True):
        file.write_bytes(content)
    a, b, c, d = files
    assert not find_leaks([Row(a, split="train"), Row(c, split="test")])
    assert not find_leaks([Row(a, split="train"), Row(b, split="train")])
    copies = find_leaks([Row(a, split="train"), Row(b, split="test"), Row(c, split="val")])
    assert copies.copies == [([str(a), str(b)], ["test", "train"])]
    assert str(a) in copies.line()
    one_file = find_leaks([Row(d, 0.0, 1.0, split="train"), Row(d, 1.0, 2.0, split="test")])
    assert one_file.copies == [([str(d)], ["test", "train"])]
    groups = find_leaks([Row(a, split="train", group="x"), Row(c, split="test", group="x")])
    assert groups.groups == {"x": ["test", "train"]}
    assert "'x'" in groups.line()
    assert not find_leaks([Row(tmp_path / "gone.mp4", split="train"), Row(a, split="test")])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=120),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(0, 3),
)
def test_shares_are_nested_and_of_the_size_they_say(
    classes: list[int], one: float, other: float, draw: int
) -> None:
    labels = np.array(classes, float)[:, None]
    small, large = sorted((one, other))
    less, more = (share_of(labels, share, 7, draw) for share in (small, large))
    assert set(less) <= set(more)
    assert len(less) == max(1, round(small * len(labels)))
    assert (np.diff(more) > 0).all()
    assert set(more) <= set(range(len(labels)))
    np.testing.assert_array_equal(less, share_of(labels, small, 7, draw))


def test_shares_are_stratified_and_draws_differ() -> None:
    labels = np.array([0.0] * 900 + [1.0] * 100)[:, None]
    for draw in range(5):
        assert abs((labels[share_of(labels, 0.1, 0, draw)] == 1).sum() - 10) <= 1
    assert set(share_of(labels, 0.1, 0, 0)) != set(share_of(labels, 0.1, 0, 1))
    np.testing.assert_array_equal(share_of(labels, 1.0, 0, 3), np.arange(1000))


def test_rare_combinations_of_labels_are_in_small_shares_as_often_as_others() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((1000, 12))
    labels[:100] = rng.integers(0, 2, (100, 12))  # nearly all of them once
    counts = [(share_of(labels, 0.05, 0, draw) < 100).mean() for draw in range(60)]
    assert np.mean(counts) == pytest.approx(0.1, abs=0.03)


def test_quantities_are_stratified_by_their_quarters() -> None:
    labels = np.random.default_rng(0).normal(size=(400, 1))
    some = labels[share_of(labels, 0.1, 0, 0), 0]
    quarters = np.searchsorted(np.quantile(labels, [0.25, 0.5, 0.75]), some)
    assert all(abs((quarters == i).sum() - 10) <= 2 for i in range(4))


def test_a_fingerprint_tells_labels_splits_and_videos_apart() -> None:
    rows = rows_of([1, 2, 3], [0, 1, 2], ["train", "val", "test"])
    labels = TARGET.encode(rows)
    base = fingerprint(rows, labels)
    assert base == fingerprint(rows, labels.copy())
    changed = labels.copy()
    changed[0] = 2
    others = {
        fingerprint(rows, changed),
        fingerprint([replace(rows[0], split="test"), *rows[1:]], labels),
        fingerprint([replace(rows[0], group="other"), *rows[1:]], labels),
        fingerprint([replace(rows[0], video=Path("else.mp4")), *rows[1:]], labels),
    }
    assert len(others | {base}) == 5


def test_a_written_split_is_a_manifest_again(tmp_path: Path) -> None:
    rows = make_split(rows_of([1, 2, 3, 4], [0, 1, 2, 0]), TARGET, 0).rows
    rows[0] = replace(rows[0], start_s=0.5, end_s=2.25)
    again = read_manifest(write_split(tmp_path / "splits.csv", rows, TARGET)).rows
    assert [row.key for row in again] == [row.key for row in rows]
    assert [(r.split, r.group, r.labels) for r in again] == [
        (r.split, r.group, r.labels) for r in rows
    ]
