"""Files and folders that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import stat
from pathlib import Path

import pytest

from openmarlin.errors import InputError
from openmarlin.files import atomic, atomic_folder, file_sha256


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_block_that_succeeds_replaces_the_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic(target) as part:
        assert part.parent == target.parent
        part.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with atomic(target) as part:
        part.write_text("two")
        assert target.read_text() == "one"
    assert target.read_text() == "two"
    assert names_in(target.parent) == ["a.txt"]


def test_block_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(target) as part:  # noqa: PT012
        part.write_text("half of")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_mode_is_that_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic(tmp_path / "atomic") as part:
        part.write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised, atomic(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    message = str(raised.value)
    assert "a.txt" in message
    assert "No space left on device" in message
    assert "\n" not in message
    assert not names_in(tmp_path)


@pytest.mark.parametrize("target", ["folder", "file/below"])
def test_place_that_cannot_be_written(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "keep").touch()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"), atomic(tmp_path / target) as part:
        part.write_text("x")
    assert (tmp_path / "folder" / "keep").exists()


def test_very_long_names_work(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 240 + ".csv")
    with atomic(target) as part:
        part.write_text("x")
    assert target.read_text() == "x"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_atomic_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model", overwrite=False) as part:
        (part / "a").write_text("old")
    with (
        pytest.raises(InputError, match="model"),
        atomic_folder(tmp_path / "model", overwrite=False),
    ):
        pass

    def fail() -> None:
        with atomic_folder(tmp_path / "model", overwrite=True) as part:
            (part / "a").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "model" / "a").read_text() == "old"
    with atomic_folder(tmp_path / "model", overwrite=True) as part:
        (part / "b").write_text("new")
    assert [file.name for file in tmp_path.rglob("*")] == ["model", "b"]
