"""Released weights, from a stand-in of the places they are published at, on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save as to_bytes

from openmarlin.errors import ModelError
from openmarlin.model import zoo
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import load, tensors

NAME = "marlin_vit_small_ytf"
RELEASED = zoo.RELEASED[NAME]
NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port


class Site:
    """What the stand-in serves, how, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.cut_after: int | None = None
        self.etag: str | None = None
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path, wanted = self.path.split("?")[0], self.headers.get("Range")
        self.site.asked.append((self.command, path, wanted))
        content = self.site.files.get(path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{self.site.etag or hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content[start : self.site.cut_after])


@pytest.fixture
def site(midget: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Both places, with the midget in place of the released model, and an empty cache."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"site": site}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    state = {f"marlin.{k}": t for k, t in tensors(midget.encoder).items()}
    site.files[f"/{RELEASED.repo}/resolve/main/model.safetensors"] = to_bytes(state)
    torch.save(midget.state_dict(), tmp_path / "full.pt")
    site.files["/full.pt"] = (tmp_path / "full.pt").read_bytes()
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(zoo.Released, "full_url", f"{site.url}/full.pt")
    monkeypatch.setattr(zoo, "_shown", set())
    yield site
    server.shutdown()
    server.server_close()


def test_an_encoder_is_fetched_once_and_shows_its_licence_once(
    site: Site, midget: Autoencoder, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = load(NAME)
    assert torch.equal(encoder.norm.weight, midget.encoder.norm.weight)
    assert encoder.config.name == NAME
    assert encoder.config.trained
    assert encoder.config.licence == "CC-BY-NC-4.0"
    assert encoder.config.source == RELEASED.page
    assert "CC-BY-NC-4.0" in " ".join(capsys.readouterr().err.split())
    asked = len(site.asked)
    load(NAME)
    assert len(site.asked) == asked  # nothing on the network
    assert capsys.readouterr().err == ""


def test_the_whole_comes_from_the_release_page(site: Site, midget: Autoencoder) -> None:
    model = load(NAME, "full")
    assert torch.equal(model.decoder.mask_token, midget.decoder.mask_token)
    load(NAME, "full")
    assert site.asked == [("GET", "/full.pt", None)]


def test_an_interrupted_download_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.cut_after = 1000
    with pytest.raises(ModelError, match=r"1000 of .* bytes arrived.*load that file"):
        load(NAME, "full")
    site.cut_after = None
    assert load(NAME, "full").config.name == NAME
    assert site.asked[-1] == ("GET", "/full.pt", "bytes=1000-")
    kept = tmp_path / "openmarlin" / f"{NAME}.full.pt"
    assert kept.read_bytes() == site.files["/full.pt"]


def test_what_is_in_the_cache_needs_no_network(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    load(NAME)
    load(NAME, "full")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    assert load(NAME).config.name == NAME
    assert load(NAME, "full", offline=True).config.name == NAME


@pytest.mark.parametrize("part", ["encoder", "full"])
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_fails_in_one_line_that_says_what_to_do(
    site: Site, part: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = True if way == "argument" else None
    with pytest.raises(ModelError, match="not in the cache and this is offline: load it once"):
        load(NAME, part, offline=offline)  # type: ignore[call-overload]
    assert site.asked == []


@pytest.mark.parametrize("part", ["encoder", "full"])
@pytest.mark.parametrize("fault", ["no connection", "not there"])
def test_a_place_that_does_not_answer_is_one_line(
    site: Site, part: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "no connection":
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the hub's attempts
        monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
        monkeypatch.setattr(zoo.Released, "full_url", f"{NOWHERE}/full.pt")
    site.files.clear()
    with pytest.raises(ModelError, match=f"{NAME} .* cannot be fetched .*try again") as caught:
        load(NAME, part)  # type: ignore[call-overload]
    message = str(caught.value)
    assert "\n" not in message
    assert ("refused" if fault == "no connection" else "404") in message


def test_a_file_that_is_not_what_its_hash_says_is_thrown_away(site: Site) -> None:
    site.etag = "a" * 64
    with pytest.raises(ModelError, match="wrong SHA-256"):
        load(NAME)
    site.etag = None
    assert load(NAME).config.name == NAME


def test_clean_cache_removes_one_model(site: Site, tmp_path: Path) -> None:
    assert zoo.clean_cache(RELEASED) == 0
    load(NAME)
    load(NAME, "full")
    other = tmp_path / "cache" / "models--someone--else"
    other.mkdir()
    freed = zoo.clean_cache(RELEASED)
    assert freed >= sum(len(content) for content in site.files.values())
    assert other.exists()
    with pytest.raises(ModelError, match="not in the cache"):
        load(NAME, offline=True)
    with pytest.raises(ModelError, match="not in the cache"):
        load(NAME, "full", offline=True)


def test_no_other_name_asks_the_network(site: Site) -> None:
    load("tiny")
    with pytest.raises(ModelError, match="there is no model"):
        load("ControlNet/something")
    assert site.asked == []
