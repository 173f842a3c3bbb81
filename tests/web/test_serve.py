from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import openmarlin
from openmarlin.errors import OpenMarlinError
from openmarlin.web.tasks import name_models
from tests.task_models import saved


def test_a_port_that_is_taken() -> None:
    pytest.importorskip("gradio", reason="needs the page: pip install 'openmarlin[serve]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OpenMarlinError, match=f"cannot listen on 127.0.0.1:{port}"):
            openmarlin.serve(port=port)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs the page: pip install 'openmarlin[serve]'")
    with pytest.raises(OpenMarlinError, match="nowhere"):
        openmarlin.serve(port=0, model=str(tmp_path / "nowhere"))


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(OpenMarlinError, match=r"pip install 'openmarlin\[serve\]'"):
        openmarlin.serve(port=0)


def test_models_of_ones_own_are_named_by_what_they_say_and_their_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folder = str(saved(tmp_path / "run" / "model"))
    assert name_models([folder]) == [("label (run)", folder)]
