"""Folders to the hub: a stand-in of it on this machine, and what is refused before it is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from task_models import encoder, saved

from openmarlin.errors import InputError
from openmarlin.jobs.push import push
from openmarlin.model.io import save_folder

NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port


class Hub:
    """What the stand-in was asked for, and the files it was given."""

    def __init__(self) -> None:
        self.url = ""
        self.created: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.commits = 0
        self.status = 200
        self.yaml_errors: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """The requests of an upload: a repository, what is large, large files, a commit."""

    hub: Hub

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.tokens.add(self.headers.get("Authorization"))
        if self.hub.status != 200:
            self._answer({"error": "You may not write here."}, self.hub.status)
        elif self.path == "/api/repos/create":
            self.hub.created.append(json.loads(content))
            name = self.hub.created[-1]["name"]
            self._answer({"url": f"{self.hub.url}/me/{name}", "name": f"me/{name}"})
        elif self.path == "/api/validate-yaml":
            errors = [{"message": message} for message in self.hub.yaml_errors]
            self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif "/preupload/" in self.path:
            self._answer({"files": [self._mode(file) for file in json.loads(content)["files"]]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._answer(
                {
                    "transfer": "basic",
                    "objects": [
                        {
                            **each,
                            "actions": {"upload": {"href": f"{self.hub.url}/blob/{each['oid']}"}},
                        }
                        for each in json.loads(content)["objects"]
                    ],
                }
            )
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in content.splitlines()])
        else:
            self._answer({"error": f"nobody asks for {self.path}"}, 404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[self.path.rsplit("/", 1)[1]] = content
        self._answer({})

    def do_GET(self) -> None:
        self._answer({"error": "not found"}, 404)

    def log_message(self, *_: Any) -> None:
        pass

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.blobs[value["oid"]]
        self.hub.commits += 1
        oid = hashlib.sha1(b"a commit").hexdigest()
        self._answer({"commitUrl": f"{self.hub.url}/me/mine/commit/{oid}", "commitOid": oid})

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    mine = encoder()
    mine.config = mine.config.changed(name="mine", licence="CC-BY-4.0")
    save_folder(mine, folder)
    return folder


def test_every_file_arrives_in_one_commit(hub: Hub, model: Path) -> None:
    (model / ".secret").write_text("mine alone")
    result = push(model, "me/mine", private=True)
    assert result.url == f"{hub.url}/me/mine"
    assert hub.created[0]["name"] == "mine"
    assert "private" in hub.created[0].values() or hub.created[0].get("private") is True
    assert hub.tokens == {"Bearer hf_mine"}
    assert hub.commits == 1
    visible = {file.name: file.read_bytes() for file in model.iterdir() if file.name[0] != "."}
    assert hub.files == visible
    assert b"license: cc-by-4.0" in hub.files["README.md"]


def test_what_the_hub_refuses_is_one_line(hub: Hub, model: Path) -> None:
    for change in ({"status": 403}, {"status": 401}, {"status": 200, "yaml_errors": ["bad card"]}):
        vars(hub).update(change)
        with pytest.raises(InputError, match="me/mine: the hub does not take it") as caught:
            push(model, "me/mine")
        assert "\n" not in str(caught.value)
    assert "bad card" in str(caught.value)
    assert not hub.files


def test_a_hub_that_is_not_there(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    with pytest.raises(InputError, match="me/mine: the hub does not take it"):
        push(model, "me/mine")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    with pytest.raises(InputError, match="a/b/c"):
        push(model, "a/b/c")
    assert not hub.created


def test_nobody_is_logged_in(
    hub: Hub, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="HF_TOKEN"):
        push(model, "me/mine")
    assert not hub.tokens


def test_folders_that_no_stranger_should_get(hub: Hub, model: Path, tmp_path: Path) -> None:
    run = saved(tmp_path / "run" / "model").parent
    with pytest.raises(InputError, match=r"run/model"):
        push(run, "me/mine")
    with pytest.raises(InputError, match="is no model"):
        push(tmp_path / "none", "me/mine")
    with pytest.raises(InputError, match="says no licence"):
        push(run / "model", "me/mine")
    (model / "README.md").unlink()
    with pytest.raises(InputError, match=r"no README\.md"):
        push(model, "me/mine")
    assert not hub.tokens
