"""CREMA-D: emotions and actors from the names, five folds by actor."""

from __future__ import annotations

from pathlib import Path

from disk import by_name, listing, touch

CODES = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral"}


def test_emotions_and_what_is_no_clip(tmp_path: Path) -> None:
    names = [f"VideoFlash/1001_DFA_{code}_XX.flv" for code in (*CODES, "SAD")]
    touch(tmp_path, *names, "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/notes.mp4")
    touch(tmp_path, "mp4/1001_DFA_ANG_XX.mp4")  # a copy: one of both
    rows = listing("crema_d", tmp_path).rows
    assert [row.labels["emotion"] for row in rows] == [*CODES.values(), "sad"]
    assert {row.group for row in rows} == {"1001"}


def test_folds_by_actor(tmp_path: Path) -> None:
    actors = range(1001, 1092)
    touch(tmp_path, *(f"VideoFlash/{actor}_IEO_SAD_LO.flv" for actor in actors))
    tested: list[str] = []
    for fold in range(1, 6):
        rows = by_name(listing("crema_d", tmp_path, fold=fold).rows).values()
        test = [row.group for row in rows if row.split == "test"]
        assert len(test) in (18, 19)
        assert sum(row.split == "val" for row in rows) in (18, 19)
        tested += test
    assert sorted(tested) == [str(actor) for actor in actors]
