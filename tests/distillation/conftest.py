"""What the tests of distillation share."""

from __future__ import annotations

from pathlib import Path

import pytest
from teaching import face_store, write_teacher

from openmarlin.data.store import Store


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up teacher that embeds faces."""
    folder = tmp_path_factory.mktemp("teachers")
    write_teacher(folder, "mobileface", 112, 24)
    return folder


@pytest.fixture(scope="session")
def store(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Faces of the clips that ship."""
    return face_store(clips, tmp_path_factory.mktemp("distil") / "store")
