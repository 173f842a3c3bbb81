"""Measurements: of every fourth frame, kept, and made anew only where they are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from teaching import face_store

from openmarlin.data.store import Store
from openmarlin.distillation import measuring
from openmarlin.distillation.measuring import BLENDSHAPES, MESH, POSE, count_measured, measure
from openmarlin.errors import InputError


def test_all_frames_are_measured_once(
    store: Store, teachers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_TRACKS", 2)
    before = set(store.path.glob("measured-*"))
    first = measure(store, teachers)
    counts = [count_measured(track) for track in store.tracks]
    assert np.diff(first.starts).tolist() == counts
    assert {name: value.shape for name, value in first.values.items()} == {
        MESH: (sum(counts), 478, 2),
        BLENDSHAPES: (sum(counts), 52),
        POSE: (sum(counts), 3),
        "mobileface": (sum(counts), 24),
    }
    assert np.isfinite(first.values[POSE]).all(axis=1).mean() > 0.9
    (folder,) = set(store.path.glob("measured-*")) - before
    files = sorted(folder.iterdir())
    assert len(files) == -(-len(store) // 2)
    stamps = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()
    again = measure(store, teachers)
    for name, value in first.values.items():
        np.testing.assert_array_equal(again.values[name], value)
    assert [file.stat().st_mtime_ns for file in files[1:]] == stamps[1:]


def test_what_is_damaged_is_named(clips: Path, tmp_path: Path) -> None:
    store = face_store(clips, tmp_path / "store")
    measure(store, None)
    (file,) = store.path.glob("measured-*/*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"\.npz: damaged; remove it, and it is measured anew"):
        measure(store, None)
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    with pytest.raises(InputError, match="cannot be made"):
        measure(store, None)


def test_other_teachers_have_another_place(store: Store, teachers: Path) -> None:
    own = measure(store, None)
    assert set(own.values) == {MESH, BLENDSHAPES, POSE}
    both = measure(store, teachers)
    np.testing.assert_array_equal(both.values[POSE], own.values[POSE])
    assert len(list(store.path.glob("measured-*"))) == 2  # of this test and of others here
