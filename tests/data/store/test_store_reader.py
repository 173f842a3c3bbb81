"""The store: what is written is read, at random, from any process; damage has a name."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.store.index import INDEX_FILE, TRACKS_FILE, Index, Shard, Track, write_index
from openmarlin.data.store.writer import JOURNAL_FILE
from openmarlin.errors import InputError

SIZE = 64


def some_track(number: int, n_frames: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Smooth pictures (as faces are) that say which track and frame they are."""
    y, x = np.mgrid[:SIZE, :SIZE]
    images = np.empty((n_frames, SIZE, SIZE, 3), np.uint8)
    for frame in range(n_frames):
        images[frame] = np.stack([x + y + number * 16, y + frame * 2, 0 * x + frame], -1)
    cells = np.arange(n_frames * 64, dtype=np.uint16).reshape(n_frames, 8, 8) + np.uint16(number)
    return images, cells & np.uint16(0x7FF)


def write_store(path: Path, n_tracks: int = 3) -> Store:
    """A store with a shard for each track."""
    with StoreWriter(path, size=SIZE, shard_bytes=1) as writer:
        for number in range(n_tracks):
            images, cells = some_track(number)
            writer.add(f"t{number}", images, cells, fps=30.0, group=f"p{number % 2}", start_s=0.5)
    return Store(path)


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0xFF
    file.write_bytes(data)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s")
    assert len(store) == 3
    assert store.size == SIZE
    assert store.tracks[1][:6] == ("t1", "t1", "p1", 40, 30.0, 0.5)
    assert store.verify() == []
    frames = [38, 3, 3, 39, 0]
    for number in range(3):
        expected, expected_cells = some_track(number)
        images, cells = store.read(number, frames)
        assert images.dtype == np.uint8
        assert cells.dtype == np.uint16
        np.testing.assert_array_equal(cells, expected_cells[frames])
        error = images.astype(float) - expected[frames]
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 38  # JPEG 4:2:0 of steep colours
    for frames in ([40], [-1], []):
        with pytest.raises(IndexError):
            store.read(0, frames)


def checksum(store: Store, index: int) -> int:
    images, cells = store.read(index % len(store), range(index, index + 32, 2))
    return int(images.sum()) + int(cells.sum())


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path: Path, context: str) -> None:
    store = write_store(tmp_path / "s")
    expected = [checksum(store, i) for i in range(8)]  # the store is in use before they start
    with ProcessPoolExecutor(2, mp_context=get_context(context)) as pool:
        assert list(pool.map(checksum, repeat(store), range(8))) == expected


def test_pickles_whole(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s")
    again = pickle.loads(pickle.dumps(store))
    assert again.tracks == store.tracks
    np.testing.assert_array_equal(again.read(2, [5])[0], store.read(2, [5])[0])


def test_opens_fast_with_many_tracks(tmp_path: Path) -> None:
    n = 100_000
    tracks = [
        Track(f"v{i}/0@0", f"/videos/v{i // 3}.mp4", f"p{i // 9}", 300, 25.0, offset=i, n_bytes=1)
        for i in range(n)
    ]
    (tmp_path / "shard-00000.bin").write_bytes(bytes(n))
    write_index(tmp_path, Index(256, [Shard("shard-00000.bin", n, "")], tracks, {}))
    start = time.process_time()
    store = Store(tmp_path)
    assert time.process_time() - start < 3  # 0.3 s on an idle core
    assert store.tracks == tracks


# What is wrong with a store, and what the one line says.


def _no_folder(store: Path) -> None:
    store.rename(store.with_name("elsewhere"))


def _no_store(store: Path) -> None:
    (store / INDEX_FILE).unlink()


def _not_finished(store: Path) -> None:
    (store / INDEX_FILE).unlink()
    (store / "parts").mkdir()


def _index_cut(store: Path) -> None:
    (store / INDEX_FILE).write_text((store / INDEX_FILE).read_text()[:100])


def _index_of_the_future(store: Path) -> None:
    head = json.loads((store / INDEX_FILE).read_text())
    (store / INDEX_FILE).write_text(json.dumps({**head, "version": 4}))


def _index_lacks_a_key(store: Path) -> None:
    head = json.loads((store / INDEX_FILE).read_text())
    del head["shards"]
    (store / INDEX_FILE).write_text(json.dumps(head))


def _index_with(*path: str | int, value: Any) -> Callable[[Path], None]:
    """A damage: one value of index.json is another."""

    def damage(store: Path) -> None:
        head = json.loads((store / INDEX_FILE).read_text())
        place = head
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (store / INDEX_FILE).write_text(json.dumps(head))

    return damage


def _other_tracks(store: Path) -> None:
    flip(store / TRACKS_FILE, 200)


def _no_tracks(store: Path) -> None:
    (store / TRACKS_FILE).unlink()


def _shorter_index(store: Path) -> None:
    """An index that knows fewer shards than its tracks stand in."""
    opened = Store(store)
    shards = [Shard(**s) for s in json.loads((store / INDEX_FILE).read_text())["shards"]]
    write_index(store, Index(SIZE, shards[:-1], opened.tracks, {}))


def _shard_missing(store: Path) -> None:
    (store / "shard-00001.bin").unlink()


def _shard_cut(store: Path) -> None:
    file = store / "shard-00001.bin"
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_no_folder, "no such folder"),
        (_no_store, "no store"),
        (_not_finished, "not finished yet.* --resume"),
        (_index_cut, "index.json: damaged"),
        (_index_of_the_future, "version 4"),
        (_index_lacks_a_key, "index.json: damaged .*shards"),
        (_index_with("shards", 0, "n_bytes", value=[]), "index.json: damaged .*shard"),
        (_index_with("shards", 0, "file", value="../shard-00000.bin"), "index.json: damaged"),
        (_index_with("size", value=float("inf")), "index.json: damaged .*size inf"),
        (_index_with("size", value=2**31), "index.json: damaged .*size"),
        (_index_with("info", value=[]), "index.json: damaged .*info"),
        (_index_with("info", "settings", value=[]), "index.json: damaged .*info"),
        (_other_tracks, "tracks.parquet: does not agree with index.json"),
        (_no_tracks, "tracks.parquet"),
        (_shorter_index, "index and shards disagree"),
        (_shard_missing, "shard-00001.bin: no such file"),
        (_shard_cut, "shard-00001.bin: has .* bytes, index.json says"),
    ],
)
def test_bad_stores_in_one_line(tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    write_store(tmp_path / "s")
    damage(tmp_path / "s")
    with pytest.raises(InputError, match=told) as caught:
        Store(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_empty_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the store is empty"):
        write_store(tmp_path / "s", n_tracks=0)


def test_skip_leaves_out_damaged_shards_and_names_them(tmp_path: Path) -> None:
    whole = write_store(tmp_path / "s", n_tracks=4)
    assert [track.shard for track in whole.tracks] == [0, 1, 2, 3]
    flip(tmp_path / "s" / "shard-00001.bin", 5_000)
    (tmp_path / "s" / "shard-00003.bin").unlink()
    store = Store(tmp_path / "s", damaged="skip")
    assert [track.name for track in store.tracks] == ["t0", "t2"]
    assert ["shard-00001" in store.problems[0], "shard-00003" in store.problems[1]] == [True, True]
    np.testing.assert_array_equal(store.read(1, [7])[1], some_track(2)[1][[7]])
    assert len(store.verify()) == 2
    for file in ("shard-00000.bin", "shard-00002.bin"):
        flip(tmp_path / "s" / file, 0)
    with pytest.raises(InputError, match="all shards are damaged"):
        Store(tmp_path / "s", damaged="skip")


@pytest.mark.parametrize("position", [1, 2_000, -1], ids=["table", "frame", "cells"])
def test_damage_met_while_reading_names_the_shard(tmp_path: Path, position: int) -> None:
    store = write_store(tmp_path / "s")
    flip(tmp_path / "s" / "shard-00002.bin", position)
    store.read(0, [0])
    with pytest.raises(InputError, match=r"shard-00002.bin: damaged .*t2"):
        store.read(2, range(40))
    (tmp_path / "s" / "shard-00002.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"shard-00002.bin: damaged"):
        store.read(2, range(40))


def _with_extras(
    path: Path, sound: np.ndarray | None = None, points: np.ndarray | None = None
) -> Store:
    images, cells = np.zeros((4, 16, 16, 3), np.uint8), np.zeros((4, 2, 2), np.uint16)
    with StoreWriter(path, size=16) as writer:
        writer.add("bare", images, cells)
        writer.add("full", images, cells, sound=sound, points=points)
    return Store(path)


def test_sound_of_a_track_comes_back_and_makes_the_store_version_two(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, 2560).astype(np.int16)
    store = _with_extras(tmp_path / "s", sound)
    assert store.sound(0) is None
    np.testing.assert_array_equal(store.sound(1), sound)
    assert store.read(1, [0, 3])[0].shape == (2, 16, 16, 3)
    assert store.verify() == []
    assert json.loads((tmp_path / "s" / INDEX_FILE).read_text())["version"] == 2
    shard = tmp_path / "s" / "shard-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"shard-00000\.bin"):
        store.sound(1)


def test_points_of_frames_come_back_and_make_the_store_version_three(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sound = rng.integers(-(2**15), 2**15, 2560).astype(np.int16)
    points = rng.uniform(-40, 300, (4, 478, 2)).astype(np.float32)
    points[2] = np.nan
    store = _with_extras(tmp_path / "s", sound, points)
    assert json.loads((tmp_path / "s" / INDEX_FILE).read_text())["version"] == 3
    assert store.points(0, [0]) is None
    frames = [3, 2, 0, 3]
    got = store.points(1, frames)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, points[frames], atol=1 / 32)
    np.testing.assert_array_equal(store.sound(1), sound)
    assert store.read(1, [0, 3])[0].shape == (2, 16, 16, 3)
    assert store.verify() == []
    for number, bad in ((0, [4]), (1, [4]), (1, [-1]), (1, [])):
        with pytest.raises(IndexError):
            store.points(number, bad)
    shard = tmp_path / "s" / "shard-00000.bin"
    flip(shard, shard.stat().st_size - store.tracks[1].sound_bytes - 1)
    store.points(1, [0, 2])
    with pytest.raises(InputError, match=r"shard-00000\.bin: damaged .*full"):
        store.points(1, [3])


def test_points_without_sound(tmp_path: Path) -> None:
    points = np.full((4, 478, 2), 1e6, np.float32)  # far beyond what a mesh may be
    store = _with_extras(tmp_path / "s", points=points)
    assert store.sound(1) is None
    assert store.points(1, [0]).max() == pytest.approx(2048, abs=1)
    assert "sound_bytes" not in pq.read_schema(tmp_path / "s" / TRACKS_FILE).names


def test_without_sound_and_points_a_store_is_as_older_ones_were(tmp_path: Path) -> None:
    _with_extras(tmp_path / "s")
    lines = [json.loads(line) for line in (tmp_path / "s" / JOURNAL_FILE).read_text().splitlines()]
    assert {len(track) for line in lines for track in line.get("tracks", [])} == {12}
    assert json.loads((tmp_path / "s" / INDEX_FILE).read_text())["version"] == 1
    columns = pq.read_schema(tmp_path / "s" / TRACKS_FILE).names
    names = "name video group n_frames fps start_s face_px seen shard offset n_bytes"
    assert columns == names.split()
