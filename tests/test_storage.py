"""Names that are URLs, and copies of what is there; `memory://` stands for any file system."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from openmarlin.data.manifest import Row, read_manifest, write_manifest
from openmarlin.errors import InputError, VideoError
from openmarlin.output import Failures
from openmarlin.storage import RemotePath, absolute, beside, fetched, is_url, locate, stamp
from openmarlin.video.reader import VideoReader


def test_a_url_is_a_path_with_its_own_text() -> None:
    path = locate("s3://bucket/a b/talk.mp4")
    assert isinstance(path, RemotePath)
    assert str(path) == os.fspath(path) == absolute(path) == "s3://bucket/a b/talk.mp4"
    assert (path.name, path.stem, path.suffix) == ("talk.mp4", "talk", ".mp4")
    assert str(path.parent / "b.mp4") == "s3://bucket/a b/b.mp4"
    assert path.absolute() == locate(path) == pickle.loads(pickle.dumps(path)) == path
    assert str(pickle.loads(pickle.dumps(path))) == str(path)
    assert locate(Path("s3://bucket/x")) == locate("s3://bucket/x")  # pathlib drops a slash


def test_what_is_on_this_machine_stays_a_path(tmp_path: Path) -> None:
    for name in ("a.mp4", "C:/a.mp4", "a:b.mp4", tmp_path):
        assert not is_url(name)
        assert locate(name) == Path(name)
    assert locate(f"file://{tmp_path}/a.mp4") == tmp_path / "a.mp4"
    assert not isinstance(locate(f"file://{tmp_path}/a.mp4"), RemotePath)


@pytest.mark.parametrize(
    ("folder", "name", "result"),
    [
        ("s3://b/tables", "a.mp4", "s3://b/tables/a.mp4"),
        ("s3://b/tables", "../videos/a.mp4", "s3://b/videos/a.mp4"),
        ("s3://b/tables", "gs://c/a.mp4", "gs://c/a.mp4"),
        ("s3://b/tables", "/disk/a.mp4", "/disk/a.mp4"),
        ("/disk", "s3://b/a.mp4", "s3://b/a.mp4"),
        ("/disk", "a.mp4", "/disk/a.mp4"),
    ],
)
def test_names_in_a_table_start_at_its_folder(folder: str, name: str, result: str) -> None:
    assert str(beside(locate(folder), name)) == result


def test_folders_and_tables_at_a_url_become_rows(memory: Any, tmp_path: Path) -> None:
    for name in ("10.mp4", "9.mp4", "sub/2.avi", "notes.txt", ".hidden/3.mp4", "._4.mp4"):
        memory.pipe_file(f"/videos/{name}", b"x")
    memory.pipe_file("/list.csv", b"video,who\nvideos/9.mp4,anna\ngone.mp4,bob\n")
    rows = read_manifest("memory://videos").rows
    assert [str(row.video) for row in rows] == [
        f"memory://videos/{name}" for name in ("9.mp4", "10.mp4", "sub/2.avi")
    ]
    again = read_manifest(["memory://list.csv", "memory://videos/9.mp4"]).rows
    assert [(str(r.video), r.labels) for r in again] == [
        ("memory://videos/9.mp4", {"who": "anna"}),
        ("memory://gone.mp4", {"who": "bob"}),
    ]
    assert again[0].key == rows[0].key  # whatever folder the command runs in
    write_manifest(tmp_path / "all.csv", again)
    assert read_manifest(tmp_path / "all.csv").rows == again


def test_failures_name_the_url(tmp_path: Path) -> None:
    failures = Failures(tmp_path / "failures.csv")
    failures.add(locate("s3://b/a.mp4"), "s3://b/a.mp4: is damaged")
    failures.flush()
    assert "s3://b/a.mp4,is damaged" in (tmp_path / "failures.csv").read_text()


def test_a_version_has_a_stamp(memory: Any) -> None:
    memory.pipe_file("/a.mp4", b"x")
    row = Row(locate("memory://a.mp4"))
    first = row.stamp
    assert first == row.stamp
    assert first is not None
    memory.pipe_file("/a.mp4", b"y")
    assert row.stamp != first
    assert stamp(locate("memory://gone.mp4")) is None


def test_one_copy_for_all_who_need_it(memory: Any) -> None:
    memory.pipe_file("/a.mp4", b"content")
    path = locate("memory://a.mp4")
    files: list[Path] = []

    def read() -> None:
        with fetched(path) as file:
            assert file.read_bytes() == b"content"
            files.append(file)

    with fetched(path) as file:
        assert file.suffix == ".mp4"
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.exists()
    assert files == [file] * 4
    assert not file.parent.exists()


def test_a_video_is_read_from_its_copy(memory: Any, clips: Path) -> None:
    memory.pipe_file("/a.mp4", (clips / "single_face.mp4").read_bytes())
    with (
        VideoReader("memory://a.mp4") as there,
        VideoReader(clips / "single_face.mp4") as here,
    ):
        assert there.info.fps == here.info.fps
        assert str(there.info.path) == "memory://a.mp4"
        times = [[frame.time_s for frame in reader] for reader in (there, here)]
        assert times[0] == times[1]
        copy = there._file
    assert not copy.exists()
    memory.pipe_file("/empty.mp4", b"")
    with pytest.raises(VideoError, match=r"memory://empty.mp4: the file is empty"):
        VideoReader("memory://empty.mp4")
    with pytest.raises(VideoError, match=r"memory://gone.mp4: .*no such file"):
        VideoReader("memory://gone.mp4")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://a/b.mp4", "no kind of URL 'nonsense://'"),
        ("s3://", "names nothing"),
        ("memory://nothing/here", "no such file or folder"),
        ("s3://bucket/a.mp4", r"pip install 'openmarlin\[cloud\]'"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(InputError, match=words) as caught:
        read_manifest(url)
    assert "\n" not in str(caught.value)
