"""An output folder at a URL: what is uploaded, in which order, and what another machine finds."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from test_output import cake

from openmarlin import mirror as mirror_module
from openmarlin.errors import InputError
from openmarlin.mirror import Mirror
from openmarlin.storage import locate

URL = "memory://out"


def there(memory: Any) -> dict[str, bytes]:
    return {name.removeprefix("/out/"): memory.cat(name) for name in memory.find("/out")}


def test_the_oldest_is_uploaded_first_and_what_is_gone_goes(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(locate(URL))
    for age, name in enumerate(("journal", "parts/b", "parts/a", ".lock", "parts/.c.part")):
        (mirror.folder / name).parent.mkdir(exist_ok=True)
        (mirror.folder / name).write_text(name)
        os.utime(mirror.folder / name, (100 - age, 100 - age))
    order: list[str] = []
    put = memory.put_file

    def noted(source: str, target: str) -> None:
        order.append(target.removeprefix("/out/"))
        put(source, target)

    monkeypatch.setattr(memory, "put_file", noted)
    mirror.begin()
    assert order == ["parts/a", "parts/b", "journal"]
    (mirror.folder / "parts/a").unlink()
    (mirror.folder / "parts/b").write_text("another")
    mirror.end()
    assert there(memory) == {"journal": b"journal", "parts/b": b"another"}
    assert order[3:] == ["parts/b"]


def test_uploads_go_on_while_others_work(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_EVERY_S", 0.02)
    mirror = Mirror(locate(URL))
    mirror.begin()
    (mirror.folder / "part").write_text("1")
    for _ in range(500):
        if there(memory) == {"part": b"1"}:
            break
        time.sleep(0.01)
    assert there(memory) == {"part": b"1"}
    mirror.end()


def test_a_refused_upload_is_tried_again_and_loses_nothing(
    memory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirror_module, "_EVERY_S", 0.02)
    mirror = Mirror(locate(URL))
    mirror.begin()

    def refuse(*_: Any) -> None:
        raise PermissionError("Forbidden")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put_file", refuse)
        (mirror.folder / "part").write_text("1")
        while "trying again" not in capsys.readouterr().err:
            time.sleep(0.01)
        with pytest.raises(InputError, match="no permission") as caught:
            mirror.end()
    assert str(mirror.folder) in str(caught.value)
    folder = mirror.folder
    del mirror
    assert (folder / "part").read_text() == "1"


def test_a_folder_at_a_url_is_as_one_on_disk(memory: Any) -> None:
    memory.pipe_file("/elsewhere/note", b"not ours")
    with cake(locate(URL)) as folder:
        folder.begin()
        (folder.path / "cake-1.txt").write_text("sponge")
        folder.failures.add("a.mp4", "burnt")
    assert {"cake-1.txt", "config.yaml", "environment.json", "failures.csv"} <= set(there(memory))
    assert there(memory)["cake-1.txt"] == b"sponge"
    with pytest.raises(InputError, match=r"memory://out: an earlier run"), cake(locate(URL)):
        pass
    with cake(locate(URL), resume=True) as folder:  # on another machine
        folder.begin()
        assert folder.resumed
        assert (folder.path / "cake-1.txt").read_text() == "sponge"
    memory.pipe_file("/out/notes.txt", b"somebody else's")
    with cake(locate(URL), overwrite=True) as folder:
        folder.begin()
        assert not (folder.path / "cake-1.txt").exists()
    assert "cake-1.txt" not in there(memory)
    assert there(memory)["notes.txt"] == b"somebody else's"
    assert memory.cat("/elsewhere/note") == b"not ours"


def test_what_another_made_is_refused(memory: Any) -> None:
    memory.pipe_file("/out/thesis.tex", b"")
    with pytest.raises(InputError, match="not empty"), cake(locate(URL), overwrite=True):
        pass
    assert set(there(memory)) == {"thesis.tex"}


def test_the_copy_goes_with_the_run(memory: Any) -> None:
    folder = cake(locate(URL))
    path = folder.path
    with folder:
        folder.begin()
    assert path.is_dir()  # for whoever still reads from it
    del folder
    assert not path.exists()


def test_a_url_that_cannot_be_written_is_refused_at_once(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(memory, "put_file", refuse)
    with (
        pytest.raises(InputError, match=f"cannot write {URL}: there is no such bucket"),
        cake(locate(URL)) as folder,
    ):
        folder.begin()
