"""Which models there are: names, licences, and the released weights.

Released weights are fetched once, on demand, and never without being named.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from openmarlin.console import console
from openmarlin.errors import ModelError
from openmarlin.files import file_sha256
from openmarlin.model.config import PRESETS, ModelConfig

_TIMEOUT_S = 30
_CHUNK = 1 << 20
_TRUE = {"1", "on", "yes", "true"}
_shown: set[str] = set()


@dataclass(frozen=True)
class Released:
    """Weights published by the authors of MARLIN. Nothing of them is part of this project."""

    name: str
    preset: str
    trained_on: str = "YouTube Faces"
    licence: str = "CC-BY-NC-4.0"

    @property
    def config(self) -> ModelConfig:
        """The shape of the model, and where it comes from."""
        return PRESETS[self.preset].changed(
            name=self.name, trained=True, source=self.page, licence=self.licence
        )

    @property
    def repo(self) -> str:
        """The hub repository that holds the encoder as safetensors."""
        return f"ControlNet/{self.name}"

    @property
    def page(self) -> str:
        """Where a person reads about it."""
        return f"https://huggingface.co/{self.repo}"

    @property
    def full_url(self) -> str:
        """The whole autoencoder, which only stands beside the authors' code."""
        place = "https://github.com/ControlNet/MARLIN/releases/download/model_v1"
        return f"{place}/{self.name}.full.pt"


RELEASED: dict[str, Released] = {
    f"marlin_vit_{size}_ytf": Released(f"marlin_vit_{size}_ytf", size)
    for size in ("small", "base", "large")
}


WEIGHTS = Path(__file__).parents[1] / "weights"
"""The folder of what ships, a model a folder."""


@dataclass(frozen=True)
class Shipped:
    """Weights inside this package: an encoder, perhaps with the rest of the autoencoder beside it.

    They were trained on clips for research only, so their licence is not that of the code.
    """

    name: str
    preset: str
    trained_on: str
    licence: str
    caution: str
    """What a user should know before relying on its features."""

    @property
    def folder(self) -> Path:
        """The model folder inside the package."""
        return WEIGHTS / self.name


DEFAULT_ENCODER = "openmarlin_face_tiny"
"""Of all that wants features: `extract`, `probe`, `finetune`, `predict`."""

DEFAULT_AUTOENCODER = "openmarlin_vit_tiny"
"""Of `reconstruct`, and where `distil` starts."""

SHIPPED: dict[str, Shipped] = {
    DEFAULT_ENCODER: Shipped(
        DEFAULT_ENCODER,
        "tiny",
        "tracks and photographs, inside",
        "research, non-commercial",
        "",
    ),
    DEFAULT_AUTOENCODER: Shipped(
        DEFAULT_AUTOENCODER,
        "tiny",
        "983 tracks, inside",
        "research, non-commercial",
        f"These weights fill in masked faces. Their features are no better than raw pixels; "
        f"{DEFAULT_ENCODER} has better ones (docs/lab/probes.md).",
    ),
}

DEFAULT_TASK = "expression"
"""Of `predict`."""

SHIPPED_TASKS = {
    DEFAULT_TASK: "Take the expressions as hints: of windows that people have labelled about half "
    "are right (one in seven by chance).",
    "actions": "",
}
"""Heads on the default encoder that come with the package, for `predict`, and what a user should
know before relying on them."""


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder in the package of that name; where there is none, the path that is named.

    A name wins, as in `load`: results may well lie in a folder `expression`, which is
    "./expression" then. What is returned need not exist.
    """
    name = os.fspath(name_or_path)
    if name in {folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()}:
        return WEIGHTS / name
    return Path(name).expanduser()


def caution(config: ModelConfig) -> str:
    """What a user must know before relying on a model's features; empty if nothing."""
    if not config.trained:
        return (
            f"The weights of '{config.name}' are untrained: the features have the right shape and "
            "no meaning. Choose trained ones with --model (see `openmarlin models`)."
        )
    return SHIPPED[config.name].caution if config.name in SHIPPED else ""


@dataclass(frozen=True)
class Listing:
    """One line of the catalogue: a name that `load` understands."""

    name: str
    width: int
    encoder_parameters: int
    download_mb: float
    """Of the encoder; 0 where nothing is fetched."""
    trained_on: str
    licence: str
    source: str


def catalogue() -> list[Listing]:
    """Every name that `load` understands: shipped, untrained, released."""
    shipped = [
        Listing(
            m.name,
            PRESETS[m.preset].width,
            PRESETS[m.preset].encoder_parameters,
            0.0,
            m.trained_on,
            m.licence,
            str(m.folder),
        )
        for m in SHIPPED.values()
    ]
    presets = [
        Listing(c.name, c.width, c.encoder_parameters, 0.0, "", "", c.source)
        for c in PRESETS.values()
    ]
    released = [
        Listing(
            r.name,
            r.config.width,
            r.config.encoder_parameters,
            round(r.config.encoder_parameters * 4 / 1e6, 1),
            r.trained_on,
            r.licence,
            r.page,
        )
        for r in RELEASED.values()
    ]
    return shipped + presets + released


def fetch(released: Released, part: str = "encoder", *, offline: bool | None = None) -> Path:
    """The file with released weights, from the local cache or else from where they are published.

    Args:
        released: which.
        part: "encoder" (from the Hugging Face hub) or "full" (from the authors' release page).
        offline: use the cache only; HF_HUB_OFFLINE decides where it is None.

    Raises:
        ModelError: they are not in the cache, and cannot or may not be fetched.
    """
    if offline is None:
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    path = _cached(released, part)
    if path is None:
        if offline:
            raise ModelError(
                f"{released.name} ({part}) is not in the cache and this is offline: load it once "
                f"with a connection, or fetch {_url(released, part)} elsewhere and load that file"
            )
        path = _from_hub(released) if part == "encoder" else _from_release(released)
    _show_licence(released)
    return path


def clean_cache(released: Released) -> int:
    """Deletes what `fetch` has kept of one model; returns the bytes set free."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    full = _release_path(released)
    freed = sum(f.stat().st_size for f in (full, _partial(full)) if f.exists())
    full.unlink(missing_ok=True)
    _partial(full).unlink(missing_ok=True)
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return freed
    for repo in repos:
        if repo.repo_id == released.repo:
            freed += repo.size_on_disk
            shutil.rmtree(repo.repo_path)
    return freed


def _cached(released: Released, part: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if part == "full":
        path = _release_path(released)
        return path if path.is_file() else None
    cached = try_to_load_from_cache(released.repo, "model.safetensors")
    return Path(cached) if isinstance(cached, str) else None


def _from_hub(released: Released) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT")  # also where it was set after the library's import
    try:
        path = Path(hf_hub_download(released.repo, "model.safetensors", endpoint=endpoint))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _unreachable(released, "encoder", error) from error
    # The hub keeps a large file under its SHA-256, which so can be checked.
    blob = path.resolve()
    if len(blob.name) == 64 and file_sha256(blob) != blob.name:
        blob.unlink()
        raise ModelError(f"{released.name} was damaged on its way (wrong SHA-256); try again")
    return path


def _from_release(released: Released) -> Path:
    path = _release_path(released)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        download(released.full_url, path)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise _unreachable(released, "full", error) from error
    return path


def download(url: str, path: Path) -> None:
    """Fetches a file; what an interrupted earlier call has got is kept and continued.

    Raises:
        OSError: the place cannot be reached, or the file did not arrive whole.
    """
    partial = _partial(path)
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        resumed = answer.status == 206
        expected = int(answer.headers.get("Content-Length", 0)) + (have if resumed else 0)
        with partial.open("ab" if resumed else "wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
    got = partial.stat().st_size
    if got < expected:
        raise OSError(f"{got} of {expected} bytes arrived")
    partial.replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _release_path(released: Released) -> Path:
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "openmarlin" / f"{released.name}.full.pt"


def _url(released: Released, part: str) -> str:
    if part == "full":
        return released.full_url
    return f"{released.page}/resolve/main/model.safetensors"


def _unreachable(released: Released, part: str, error: Exception) -> ModelError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = str(cause).strip().split("\n")[0][:160] or type(cause).__name__
    return ModelError(
        f"{released.name} ({part}) cannot be fetched ({reason}): try again with a connection, or "
        f"fetch {_url(released, part)} elsewhere and load that file"
    )


def _show_licence(released: Released) -> None:
    if released.name in _shown:
        return
    _shown.add(released.name)
    console.print(
        f"{released.name}: weights by the authors of MARLIN, licence {released.licence} "
        f"(non-commercial use only), {released.page}"
    )
