"""Fixtures shared by all tests: the clips that ship with the project, and the ones that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from hypothesis import settings

# A busy machine is no bug.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system at memory://, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of redistributable clips (see NOTICE)."""
    return ROOT / "examples" / "clips"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of material that is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a server of s3 on this machine; the environment names it, as for any other."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        yield url
    server.stop()


@pytest.fixture
def s3(s3_server: str) -> Any:
    """fsspec's view of that server."""
    import fsspec

    return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture
def bucket(s3: Any) -> str:
    """The name of a new bucket."""
    name = f"test-{uuid4().hex[:8]}"
    s3.mkdir(name)
    return name
