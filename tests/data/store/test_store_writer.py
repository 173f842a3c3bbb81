"""Writing a store: refusals, and nothing lost or doubled when the writer dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmarlin.data.manifest import key_of
from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.store.index import INDEX_FILE, PARTS, Track
from openmarlin.data.store.shards import TrackBytes
from openmarlin.data.store.writer import JOURNAL_FILE
from openmarlin.errors import InputError

SIZE = 16
KEYS = [f"video{i}" for i in range(6)]


def write_part(writer: StoreWriter, key: str) -> None:
    """Finish a video of two tracks; the third of `KEYS` has none."""
    if key == KEYS[2]:
        writer.commit(key, [], {"told": "no face"})
        return
    tracks, parts = [], []
    for number in range(2):
        data = TrackBytes()
        for frame in range(4):
            value = 16 * KEYS.index(key) + 4 * number + frame
            data.add(np.full((SIZE, SIZE, 3), value, np.uint8), np.full((2, 2), value, np.uint16))
        parts.append(data.take())
        tracks.append(Track(f"{key}/{number}", key, key, 4, 25.0, n_bytes=len(parts[-1])))
    writer.part(key).write_bytes(b"".join(parts))
    writer.commit(key, tracks)


def commit_other(writer: StoreWriter, key: str, value: int, name: str = "new") -> None:
    """Finish a video of one track of one frame, whose length does not depend on `value`."""
    data = TrackBytes()
    data.add(np.full((SIZE, SIZE, 3), value, np.uint8), np.full((2, 2), value, np.uint16))
    writer.part(key).write_bytes(data.take())
    n_bytes = writer.part(key).stat().st_size
    writer.commit(key, [Track(name, key, "", 1, 25.0, n_bytes=n_bytes)])


def write_all(path: Path, keys: list[str], *, resume: bool = False) -> None:
    with StoreWriter(path, size=SIZE, shard_bytes=4_000, resume=resume) as writer:
        for key in keys:
            if key not in writer:
                write_part(writer, key)
        writer.close(KEYS)


def contents(path: Path) -> dict[str, bytes]:
    """What a reader of the store sees."""
    files = [path / name for name in (INDEX_FILE, "tracks.parquet")] + sorted(path.glob("shard-*"))
    return {file.name: file.read_bytes() for file in files if file.exists()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "s"
    write_all(path, KEYS)
    store = Store(path)
    assert [track.name for track in store.tracks] == [
        f"{key}/{n}" for key in KEYS if key != KEYS[2] for n in range(2)
    ]
    for i, track in enumerate(store.tracks):
        value = 16 * KEYS.index(track.video) + 4 * (i % 2)
        assert store.read(i, [0, 3])[1][:, 0, 0].tolist() == [value, value + 3]
    return contents(path)


def test_order_of_finishing_does_not_matter(tmp_path: Path, expected: dict[str, bytes]) -> None:
    write_all(tmp_path / "s", KEYS[::-1])
    assert contents(tmp_path / "s") == expected


_DIE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import openmarlin.data.store.journal as module
from test_store_writer import KEYS, write_all

calls = 0
def dying(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == {when}:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

module.os.fsync = dying(os.fsync)
Path.unlink = dying(Path.unlink)
Path.replace = dying(Path.replace)
write_all(Path({path!r}), KEYS, resume={resume})
"""


def _run_until_killed(path: Path, when: int, *, resume: bool) -> int:
    script = _DIE.format(tests=str(Path(__file__).parent), when=when, path=str(path), resume=resume)
    return subprocess.run([sys.executable, "-c", script], check=False).returncode


@pytest.mark.parametrize("when", [2, 6, 10, 14, 20, 24, 27, 30, 33])
def test_killed_at_any_step_and_gone_on_with(
    tmp_path: Path, expected: dict[str, bytes], when: int
) -> None:
    assert _run_until_killed(tmp_path / "s", when, resume=False) == -signal.SIGKILL
    write_all(tmp_path / "s", KEYS, resume=True)
    assert contents(tmp_path / "s") == expected


def test_torn_line_of_the_journal_is_cut_off(tmp_path: Path, expected: dict[str, bytes]) -> None:
    path = tmp_path / "s"
    writer = StoreWriter(path, size=SIZE, shard_bytes=4_000)
    for key in KEYS[:3]:
        write_part(writer, key)
    del writer  # the process is gone
    journal = path / JOURNAL_FILE
    journal.write_bytes(journal.read_bytes()[:-7])  # the line of the third video
    again = StoreWriter(path, size=SIZE, shard_bytes=4_000, resume=True)
    assert [key in again for key in KEYS] == [True, True, *[False] * 4]
    del again
    write_all(path, KEYS, resume=True)
    assert contents(path) == expected


def test_a_finished_store_takes_more_videos(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_all(path, KEYS[3:])
    before = contents(path)
    with StoreWriter(path, size=SIZE, shard_bytes=4_000, resume=True) as writer:
        with pytest.raises(InputError, match="in use by another run"):
            StoreWriter(path, size=SIZE, resume=True)
        for key in KEYS[:3]:
            write_part(writer, key)
        assert writer.note(KEYS[2]) == {"told": "no face"}
        writer.close(KEYS)
    after = contents(path)
    assert all(after[name] == before[name] for name in before if name.startswith("shard"))
    videos = [track.video for track in Store(path).tracks]
    assert list(dict.fromkeys(videos)) == [*KEYS[3:], *KEYS[:2]]
    assert not (path / PARTS).exists()


def test_add_by_key(tmp_path: Path) -> None:
    images, cells = np.zeros((2, SIZE, SIZE, 3), np.uint8), np.zeros((2, 2, 2), np.uint16)
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        writer.add("a", images, cells)
        assert key_of("a") in writer
        with pytest.raises(ValueError, match="in the store already"):
            writer.add("a", images, cells)
        for bad_images, bad_cells in (
            (images[:0], cells[:0]),
            (images, cells[:1]),
            (images[:, :8], cells),
            (images, cells[:, :1]),
        ):
            with pytest.raises(ValueError):
                writer.add("b", bad_images, bad_cells)
        with pytest.raises(ValueError, match="points"):
            writer.add("b", images, cells, points=np.zeros((1, 478, 2), np.float32))


def _foreign(path: Path) -> None:
    (path / "environment.json").unlink()


def _damaged_journal(path: Path) -> None:
    (path / JOURNAL_FILE).write_text("{\n")


@pytest.mark.parametrize(
    ("prepare", "options", "told"),
    [
        (None, {}, "resume=.*overwrite="),
        (None, {"resume": True, "size": 32}, "crop_px was 16, is 32"),
        (None, {"resume": True, "settings": {"rate": 2}}, "rate was None, is 2"),
        (None, {"size": 20}, "multiple of 8"),
        (_foreign, {"overwrite": True}, "not made by"),
        (_foreign, {"resume": True}, "not made by"),
        (_damaged_journal, {"resume": True}, "not readable; start anew"),
    ],
)
def test_refusals(
    tmp_path: Path, prepare: Callable[[Path], None] | None, options: dict[str, object], told: str
) -> None:
    path = tmp_path / "s"
    write_all(path, KEYS[:1])
    if prepare:
        prepare(path)
    before = contents(path)
    with pytest.raises(InputError, match=told) as caught:
        StoreWriter(path, **{"size": SIZE, **options})
    assert "\n" not in str(caught.value)
    assert contents(path) == before


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        StoreWriter(tmp_path / "file", size=SIZE)


def test_overwrite_removes_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_all(path, KEYS)
    (path / "notes.txt").write_text("mine")
    with StoreWriter(path, size=32, overwrite=True) as writer:
        assert KEYS[0] not in writer
        assert not list(path.glob("shard-*"))
    assert (path / "notes.txt").read_text() == "mine"
    assert json.loads((path / INDEX_FILE).read_text())["size"] == 32


def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StoreWriter(tmp_path / "s", size=SIZE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; make room"):
        writer.commit("a", [])


def test_a_video_that_was_read_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_all(path, KEYS[:2])
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        commit_other(writer, KEYS[0], 7)
        write_part(writer, KEYS[1])  # nothing new in this one
        assert not writer.part(KEYS[1]).exists()
        writer.close(KEYS[:2])
    store = Store(path)
    assert [t.name for t in store.tracks] == [f"{KEYS[1]}/0", f"{KEYS[1]}/1", "new"]
    assert store.read(0, [0])[1][0, 0, 0] == 16
    assert store.read(2, [0])[1][0, 0, 0] == 7
    assert store.verify() == []


def test_killed_while_a_video_is_read_again(tmp_path: Path) -> None:
    """Its part is half written then, and must not pass for the earlier one."""
    with StoreWriter(tmp_path / "s", size=SIZE) as writer:
        for key in KEYS[:2]:
            write_part(writer, key)
        writer.reopen(KEYS[0])
        writer.part(KEYS[0]).write_bytes(b"half of another file")
        killed = shutil.copytree(tmp_path / "s", tmp_path / "killed")
    with StoreWriter(killed, size=SIZE, resume=True) as writer:
        assert [key in writer for key in KEYS[:2]] == [False, True]
        assert writer.n_tracks == 2
        write_part(writer, KEYS[0])
        writer.close(KEYS[:2])
    assert Store(killed).verify() == []
    assert len(Store(killed)) == 4


def test_other_pictures_of_the_same_length_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with StoreWriter(path, size=SIZE) as writer:
        commit_other(writer, "a", 7)
    before = Store(path).tracks[0]
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        commit_other(writer, "a", 9)
    store = Store(path)
    assert len(store) == 1
    assert store.tracks[0].n_bytes == before.n_bytes
    assert store.read(0, [0])[1][0, 0, 0] == 9
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        commit_other(writer, "a", 9)
    assert len(list(path.glob("shard-*"))) == 2  # the third time gave nothing new


def test_a_video_of_a_shard_can_be_forgotten_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_all(path, KEYS[:2])
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        writer.reopen(KEYS[0])
        assert KEYS[0] in writer  # until there is something new
        commit_other(writer, KEYS[0], 7)
        writer.reopen(KEYS[0])
        assert KEYS[0] not in writer
        writer.forget(KEYS[1])
        commit_other(writer, KEYS[3], 8, "other")
    assert [track.name for track in Store(path).tracks] == ["other"]
    shards = sorted(path.glob("shard-*"))
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        assert [key in writer for key in KEYS[:4]] == [False, False, False, True]
        write_part(writer, KEYS[1])
        writer.close(KEYS)
    store = Store(path)
    assert [track.name for track in store.tracks] == [f"{KEYS[1]}/0", f"{KEYS[1]}/1", "other"]
    assert sorted(path.glob("shard-*")) == shards  # its bytes were there
    assert store.verify() == []


def test_columns_of_videos_that_failed(tmp_path: Path) -> None:
    for _ in range(2):
        with StoreWriter(tmp_path / "s", size=SIZE, resume=True) as writer:
            write_part(writer, KEYS[0])
            writer.close(KEYS[:2], {"smile": {KEYS[0]: 1, KEYS[1]: 0}})
        assert Store(tmp_path / "s").columns == {"smile": [1, 1]}


def test_columns_of_the_manifest_stay_with_their_tracks(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with StoreWriter(path, size=SIZE) as writer:
        for key in KEYS[:2]:
            write_part(writer, key)
        writer.close(KEYS[:2], {"smile": {KEYS[0]: 1, KEYS[1]: 0}})
    assert Store(path).columns == {"smile": [1, 1, 0, 0]}
    with StoreWriter(path, size=SIZE, resume=True) as writer:
        write_part(writer, KEYS[3])
        writer.close(KEYS, {"split": {KEYS[3]: "val"}})
    store = Store(path)
    assert store.columns["split"] == ["", "", "", "", "val", "val"]
    assert store.columns["smile"][:4] == [1, 1, 0, 0]
    assert np.isnan(store.columns["smile"][4:]).all()
