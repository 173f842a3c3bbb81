from __future__ import annotations

from pathlib import Path

import pytest

from openmarlin.errors import InputError
from openmarlin.web.sessions import UPLOADS, Sessions


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path)


def upload(sessions: Sessions, name: str = "talk.mp4", content: bytes = b"film") -> Path:
    """As gradio lays it down: in a folder named by what is in it."""
    path = sessions.root / UPLOADS / content.hex() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_two_sessions_take_the_same_upload_and_each_keeps_its_own(sessions: Sessions) -> None:
    cached = upload(sessions)
    one, other = sessions.of("one"), sessions.of("other")
    mine, theirs = one.take(cached), other.take(cached)
    assert mine != theirs
    assert mine.read_bytes() == theirs.read_bytes() == b"film"
    sessions.end("one")
    assert not mine.exists()
    assert theirs.read_bytes() == b"film"
    assert cached.exists()
    sessions.end("other")
    assert [path for path in sessions.root.rglob("*") if path.is_file()] == []


def test_what_is_not_ones_own_is_refused(sessions: Sessions, tmp_path: Path) -> None:
    one, other = sessions.of("one"), sessions.of("other")
    theirs = one.take(upload(sessions))
    elsewhere = tmp_path / "secret.mp4"
    elsewhere.write_bytes(b"secret")
    for path in (theirs, elsewhere, sessions.root / UPLOADS / ".." / "secret.mp4"):
        with pytest.raises(InputError):
            other.take(path)
    assert one.take(theirs) == theirs


def test_a_path_that_climbs_out_is_not_the_sessions_own(sessions: Sessions) -> None:
    one, other = sessions.of("one"), sessions.of("other")
    theirs = one.take(upload(sessions))
    climbing = other.folder / ".." / theirs.relative_to(one.folder.parent)
    assert climbing.is_file()
    with pytest.raises(InputError):
        other.take(climbing)


def test_an_upload_that_is_gone(sessions: Sessions) -> None:
    cached = upload(sessions)
    cached.unlink()
    with pytest.raises(InputError, match="upload it again"):
        sessions.of("one").take(cached)


def test_a_result_replaces_the_one_before(sessions: Sessions) -> None:
    session = sessions.of("one")
    first = session.result_folder("faces")
    second = session.result_folder("faces")
    assert not first.exists()
    assert second.is_dir()


def test_work_of_a_session_ends_with_it(sessions: Sessions) -> None:
    session = sessions.of("one")
    with session.running("faces") as faces, session.running("masks") as masks:
        session.stop("faces")
        assert faces.is_set()
        assert not masks.is_set()
        sessions.end("one")
        assert masks.is_set()


def test_a_page_without_a_session_is_told_to_load_again(sessions: Sessions) -> None:
    with pytest.raises(InputError, match="load it again"):
        sessions.of(None)
