"""DeepFakeDetection: names of actors and scenes, and what a label does not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import by_name, listing, touch

from openmarlin.errors import InputError

REALS, FAKES = "original_sequences/actors", "manipulated_sequences/DeepFakeDetection"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(
        tmp_path,
        f"{REALS}/raw/videos/01__outside_talking_still_laughing.mp4",
        f"{FAKES}/raw/videos/01_02__outside_talking_still_laughing__YVGY8LOK.mp4",
        f"{FAKES}/raw/videos/03_01__kitchen_pan__A1B2C3D4.mp4",
    )
    return tmp_path


def test_actors_and_originals(root: Path) -> None:
    result = listing("dfd", root, compression="c0")
    rows = by_name(result.rows)
    assert [row.group for row in rows.values()] == ["01", "01", "03"]
    real, swapped, alone = rows.values()
    assert swapped.labels == {
        "label": "fake",
        "method": "DeepFakeDetection",
        "compression": "c0",
        "original": str(real.video),
    }
    assert alone.labels["original"] == ""
    assert real.labels["label"] == "real"
    assert {row.split for row in result.rows} == {""}


def test_it_warns_of_real_faces_in_fakes(root: Path) -> None:
    assert any("not every face" in note for note in listing("dfd", root, compression="c0").notes)


def test_other_names_are_refused(root: Path) -> None:
    touch(root, f"{FAKES}/raw/videos/holiday.mp4")
    with pytest.raises(InputError, match=r"holiday\.mp4"):
        listing("dfd", root, compression="c0")
    with pytest.raises(InputError, match="raw"):
        listing("dfd", root)
