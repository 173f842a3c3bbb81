"""Tracks beside labels: who is in which part, what a clip brings, which windows are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import TOY, labelled_store

from openmarlin.data.manifest import Row
from openmarlin.data.store import Store, Track
from openmarlin.data.transforms import Clip
from openmarlin.errors import InputError
from openmarlin.model.config import PRESETS
from openmarlin.tasks.finetune_data import (
    DrawBranches,
    DrawMixing,
    class_shares,
    finetuning_data,
    rows_of_windows,
    window_data,
)
from openmarlin.tasks.finetune_settings import FinetuneSettings
from openmarlin.tasks.labelled_store import (
    LabelledStore,
    match_tracks,
    rows_of_store,
    split_store,
)
from openmarlin.tasks.labels import infer_target
from openmarlin.tasks.splits import PARTS, TEST, TRAIN, VAL, make_split

N = 24
CONFIG = PRESETS["tiny"].changed(**TOY["shape"]).encoder_alone()
MARKED = [str(i // 2 % 2) for i in range(N)]
METHOD = ["" if i // 2 % 2 == 0 else ("swap" if i // 4 % 2 else "reenact") for i in range(N)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("labels") / "store"
    original = [f"video-{i - 2}.mp4" if i // 2 % 2 else "" for i in range(N)]
    columns = {
        "marked": MARKED,
        "method": METHOD,
        "original": original,
        "age": [i / 2 for i in range(N)],
    }
    return labelled_store(path, columns, n_frames=20)


def settings(**values: Any) -> FinetuneSettings:
    base = {"data": "store", "out": "run", "rate": 1, "stride": 4, "workers": 0, "flip": False}
    return FinetuneSettings.of({**base, **values})


def labelled(store: Store, *label: str, **options: Any) -> LabelledStore:
    rows = rows_of_store(store)
    target = infer_target(label or ("marked",), rows)
    return split_store(store, rows, make_split(rows, target, 0), target, **options)


def data(store: LabelledStore, **values: Any) -> Any:
    chosen = settings(**values)
    held_out = window_data(store, VAL, CONFIG, chosen, chosen.val_windows)
    return finetuning_data(store, held_out, CONFIG, chosen)


def test_rows_come_back_from_the_store(store: Store) -> None:
    rows = rows_of_store(store)
    assert [row.video.name for row in rows] == [f"video-{i}.mp4" for i in range(N)]
    assert rows[3].labels == {
        "marked": "1", "method": METHOD[3], "original": "video-1.mp4", "age": "1.5",
    }  # fmt: skip
    assert rows[3].group == "person-1"


def test_tracks_of_a_group_are_in_one_part(store: Store) -> None:
    parts = labelled(store)
    tracks = {part: parts.tracks(part) for part in PARTS}
    assert sorted(np.concatenate(list(tracks.values()))) == list(range(N))
    groups = [{store.tracks[i].group for i in numbers} for numbers in tracks.values()]
    assert not (groups[0] & groups[1])
    assert not (groups[0] & groups[2])
    assert not (groups[1] & groups[2])
    assert parts.labels_of(tracks[TEST])[:, 0].tolist() == [float(MARKED[i]) for i in tracks[TEST]]


def test_labels_of_a_table_are_matched_by_path_or_by_name(store: Store, tmp_path: Path) -> None:
    rows = rows_of_store(store)[:5]
    assert match_tracks(store, rows).tolist() == [0, 1, 2, 3, 4] + [-1] * (N - 5)
    elsewhere = [replace(row, video=tmp_path / row.video.name) for row in rows]
    assert match_tracks(store, elsewhere).tolist() == [0, 1, 2, 3, 4] + [-1] * (N - 5)
    with pytest.raises(InputError, match="none of the 1 videos"):
        match_tracks(store, [Row(Path("other.mp4"))])


def test_a_class_can_be_left_out_and_tested_on(store: Store) -> None:
    rows = rows_of_store(store)
    target = infer_target(["marked"], rows)
    parts = [VAL, VAL, VAL, VAL, TEST, TEST, TEST, TEST] + [TRAIN] * 8 + [TEST] * 8
    rows = [replace(row, split=part) for row, part in zip(rows, parts, strict=True)]
    split = make_split(rows, target, 0)
    left = split_store(store, rows, split, target, exclude="method=swap")
    methods = {part: {METHOD[i] for i in left.tracks(part)} for part in PARTS}
    assert methods == {TRAIN: {"", "reenact"}, VAL: {"", "reenact"}, TEST: {"", "swap"}}
    with pytest.raises(InputError, match="no column 'methd'"):
        split_store(store, rows, split, target, exclude="methd=swap")
    with pytest.raises(InputError, match="no row has method 'swop'"):
        split_store(store, rows, split, target, exclude="method=swop")


def test_training_needs_two_classes_and_every_part_a_track(store: Store) -> None:
    rows = rows_of_store(store)
    target = infer_target(["marked"], rows)
    by_label = [replace(r, split=TRAIN if r.labels["marked"] == "0" else VAL) for r in rows]
    by_label[-1] = replace(by_label[-1], split=TEST)
    split = make_split(by_label, target, 0)
    with pytest.raises(InputError, match="one value of marked alone"):
        split_store(store, by_label, split, target)
    assert len(split_store(store, by_label, split, target, one_class=True).tracks(TRAIN)) == 12
    with pytest.raises(InputError, match="'test'"):
        split_store(store, by_label[:-1], make_split(by_label, target, 0), target)


def test_a_clip_brings_its_label_and_what_is_drawn_for_it(store: Store) -> None:
    clips = data(labelled(store), drop_path=0.5, mixup=0.8, cutmix=1.0).train
    assert data(labelled(store), token_drop=0.25).train[3, 5]["seen"].sum() == 24
    sample = clips[3, 5]
    track = store.tracks[clips.tracks[5]]
    assert sample["id"].startswith(track.name)
    assert sample["target"].tolist() == [float(MARKED[int(track.name[6:].split("/")[0])])]
    assert sample["kept"].shape == (2, 2)
    again = clips[3, 5]
    assert all((sample[name] == again[name]).all() for name in ("kept", "mix", "cut", "share"))
    epochs = torch.stack([clips[epoch, 5]["kept"] for epoch in range(200)])
    assert (epochs[:, 0] == 1).all()
    assert set(epochs[:, 1].unique().tolist()) == {0.0, 2.0}
    assert epochs[:, 1].mean() == pytest.approx(1, abs=0.15)  # what is left out is made up for


def a_clip() -> Clip:
    images, cells = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 4, 4), np.uint16)
    return Clip(Track("a", "a.mp4", "a", 1, 25.0), [0], images, cells)


def test_mixing_draws_shares_and_areas() -> None:
    rng = np.random.default_rng(0)
    clip = a_clip()
    drawn = [DrawMixing(0.8, 1.0, 32)(clip, rng).extras for _ in range(300)]
    cut = [d for d in drawn if d["mix"] == 1]
    assert 100 < len(cut) < 200
    for extras in cut:
        x1, y1, x2, y2 = extras["cut"].tolist()
        assert 0 <= x1 <= x2 <= 32
        assert extras["share"].item() == pytest.approx(1 - (x2 - x1) * (y2 - y1) / 1024)
    for extras in drawn:
        if extras["mix"] < 1:
            assert extras["share"] == extras["mix"]
            assert extras["cut"].tolist() == [0, 0, 0, 0]
    assert all(DrawMixing(0.8, 0, 32)(clip, rng).extras["mix"] < 1 for _ in range(20))
    assert DrawBranches([0.0, 0.0])(clip, rng).extras["kept"].tolist() == [[1, 1], [1, 1]]


def test_windows_are_all_of_a_track_or_some_evenly_spread(store: Store) -> None:
    parts, chosen = labelled(store), settings()
    every = window_data(parts, TEST, CONFIG, chosen)
    n_tracks = len(parts.tracks(TEST))
    assert len(every) == 5 * n_tracks
    assert [frames[0] for _, frames in every.windows[:5]] == [0, 4, 8, 12, 16]
    some = window_data(parts, TEST, CONFIG, chosen, most=3)
    assert [frames[0] for _, frames in some.windows[:3]] == [0, 8, 16]
    sample = some[0, 1]
    assert sample["window"].item() == 1
    pixels = store.read(some.windows[1][0], some.windows[1][1])[0]
    assert (sample["video"].numpy() == pixels).all()
    rows = rows_of_windows(parts, some)
    assert rows.tolist() == np.repeat(parts.row_of[parts.tracks(TEST)], 3).tolist()


def test_classes_are_seen_equally_often(store: Store) -> None:
    shares = class_shares(np.array([[0.0], [0.0], [0.0], [1.0]]))
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    parts = labelled(store)
    stream = data(parts, balance="sampling").stream
    labels = parts.labels_of(parts.tracks(TRAIN))[:, 0]
    seen = [labels[index] for _, index in stream(0, 4000)]
    assert np.mean(seen) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(InputError, match="balance"):
        data(labelled(store, "age:regression"), balance="sampling")


def test_each_fake_comes_with_its_real(store: Store) -> None:
    rows = rows_of_store(store)
    target = infer_target(["marked"], rows)
    split = make_split(
        [replace(row, split=PARTS[min(i // 8, 2)]) for i, row in enumerate(rows)], target, 0
    )
    parts = split_store(store, rows, split, target)
    clips = data(parts, pairs="original")
    for (_, fake), (_, real) in zip(*[iter(clips.stream(0, 16))] * 2, strict=True):
        assert (clips.train[0, fake]["target"], clips.train[0, real]["target"]) == (1, 0)
        assert fake - real == 2
    with pytest.raises(InputError, match="originl"):
        data(parts, pairs="originl")


def test_what_is_for_real_and_fake_needs_a_binary_label(store: Store) -> None:
    ages = labelled(store, "age:regression")
    for options in ({"self_blend": 0.5}, {"pairs": "original"}):
        with pytest.raises(InputError, match="binary"):
            data(ages, **options)
    with pytest.raises(InputError, match="mesh points"):
        data(labelled(store), self_blend=1.0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"exclude": "swap"}, "COLUMN=VALUE"),
        ({"muon_lr": 0.02}, "muon_lr"),
        ({"train": "head", "drop_path": 0.1}, "drop_path"),
        ({"pairs": "group", "balance": "sampling"}, "pairs"),
        ({"epochs": 3, "steps": 5}, "either"),
    ],
)
def test_settings_that_do_not_fit_together(values: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        settings(**values)


def test_a_length_without_being_asked() -> None:
    assert settings().epochs == 30
    assert settings(steps=5).epochs is None
