"""RAVDESS: one video of every take, so that no copy leaks; six folds of four actors."""

from __future__ import annotations

from pathlib import Path

from disk import listing, touch

from openmarlin.data.layouts.ravdess import EMOTIONS


def name(actor: int, *, modality: int = 1, voice: int = 1, emotion: int = 1) -> str:
    return f"Actor_{actor:02d}/{modality:02d}-{voice:02d}-{emotion:02d}-01-02-01-{actor:02d}.mp4"


def test_eight_emotions(tmp_path: Path) -> None:
    touch(tmp_path, *(name(3, emotion=i) for i in range(1, 9)))
    rows = listing("ravdess", tmp_path).rows
    assert [row.labels["emotion"] for row in rows] == list(EMOTIONS)
    assert (EMOTIONS[0], EMOTIONS[4], EMOTIONS[7]) == ("neutral", "angry", "surprised")
    assert {row.group for row in rows} == {"03"}


def test_copies_of_a_take_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, name(1), name(1, modality=2), name(1, voice=2), name(1, modality=2, voice=2))
    touch(tmp_path, "Actor_01/03-01-01-01-02-01-01.wav")
    touch(tmp_path / "Video_Speech_Actor_01", name(1))  # unpacked twice
    result = listing("ravdess", tmp_path)
    assert [row.video for row in result.rows] == [tmp_path / name(1)]
    assert any("speech with sound" in note and "3 other" in note for note in result.notes)


def test_what_is_there_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, name(1, modality=2), name(1, modality=2, voice=2))
    result = listing("ravdess", tmp_path)
    assert [row.video for row in result.rows] == [tmp_path / name(1, modality=2)]
    assert any("speech without sound" in note for note in result.notes)


def test_six_folds_of_four_actors(tmp_path: Path) -> None:
    touch(tmp_path, *(name(actor) for actor in range(1, 25)))
    tested: list[int] = []
    for fold in range(1, 7):
        rows = listing("ravdess", tmp_path, fold=fold).rows
        test = [int(row.group) for row in rows if row.split == "test"]
        assert sum(row.split == "val" for row in rows) == 4
        assert sum(actor % 2 for actor in test) == 2  # odd numbers are men
        tested += test
    assert sorted(tested) == list(range(1, 25))
