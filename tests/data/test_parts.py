"""The output folder: parts, resume, failures, and refusing what is not its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from openmarlin.data.run_folder import FAILURES_FILE, PARTS, TOKENS, RunFolder
from safetensors.numpy import load_file

from openmarlin.data.features import WindowRow
from openmarlin.errors import InputError

SETTINGS = {"rate": 2, "faces": "largest"}
DIM = 4


def _rows(video: str, n: int = 2) -> list[WindowRow]:
    embedding = np.arange(DIM, dtype=np.float32)
    return [
        WindowRow(
            video=video,
            window=i,
            start_s=float(i),
            end_s=i + 1.0,
            n_frames=16,
            n_real=16,
            face=0,
            ok=True,
            embedding=embedding + i,
        )
        for i in range(n)
    ]


def _commit(folder: RunFolder, video: Path, problems: list[str] | None = None) -> None:
    tokens = {"0-0": np.ones((8, DIM), np.float16)}
    folder.commit(video, _rows(str(video)), [], tokens, seconds=2.0, problems=problems or [])


def test_killed_run_is_resumed_without_redoing_or_duplicating(tmp_path: Path) -> None:
    videos = [tmp_path / f"{i}.mp4" for i in range(3)]
    first = RunFolder(tmp_path / "out", SETTINGS, DIM)
    _commit(first, videos[1])
    (tmp_path / "out" / PARTS / ".x.part").touch()

    second = RunFolder(tmp_path / "out", SETTINGS, DIM, resume=True)
    assert [second.is_done(video) for video in videos] == [False, True, False]
    assert not list((tmp_path / "out" / PARTS).glob(".*.part"))
    for video in (videos[2], videos[0]):
        _commit(second, video)
    features, _ = second.merge(videos)
    names = features.table.column("video").to_pylist()
    assert names == [str(video) for video in videos for _ in range(2)]
    np.testing.assert_array_equal(features.embeddings[1], np.arange(DIM) + 1)


def test_is_done_does_not_depend_on_how_the_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "out", SETTINGS, DIM)
    _commit(folder, tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert folder.is_done(Path("a.mp4"))
    assert not folder.is_done(Path("sub/a.mp4"))


def test_tokens_of_videos_with_the_same_name_do_not_collide(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", SETTINGS, DIM)
    _commit(folder, tmp_path / "x" / "a.mp4")
    _commit(folder, tmp_path / "y" / "a.mp4")
    files = sorted((tmp_path / "out" / TOKENS).glob("a-*.safetensors"))
    assert len(files) == 2
    assert load_file(files[0])["0-0"].shape == (8, DIM)


def test_failures_are_on_disk_at_once_and_damaged_videos_join_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out", SETTINGS, DIM)
    folder.fail(tmp_path / "bad.mp4", "two\nlines, and a comma")

    def listed() -> dict[str, str]:
        with (tmp_path / "out" / FAILURES_FILE).open(newline="") as file:
            return {row["video"]: row["reason"] for row in csv.DictReader(file)}

    assert listed() == {str(tmp_path / "bad.mp4"): "two lines, and a comma"}
    _commit(folder, tmp_path / "half.mp4", ["ends early"])
    resumed = RunFolder(tmp_path / "out", SETTINGS, DIM, resume=True)
    resumed.merge([tmp_path / "half.mp4"])
    assert listed() == {str(tmp_path / "half.mp4"): "partly read: ends early"}


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _commit(RunFolder(out, SETTINGS, DIM), tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"--resume .* --overwrite"):
        RunFolder(out, SETTINGS, DIM)
    with pytest.raises(InputError, match="rate was 2, is 3"):
        RunFolder(out, {**SETTINGS, "rate": 3}, DIM, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        RunFolder(tmp_path / "file", SETTINGS, DIM)


def test_overwrite_removes_only_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _commit(RunFolder(out, SETTINGS, DIM), tmp_path / "a.mp4")
    (out / "notes.txt").write_text("mine")
    again = RunFolder(out, SETTINGS, DIM, overwrite=True)
    assert not again.is_done(tmp_path / "a.mp4")
    assert (out / "notes.txt").read_text() == "mine"

    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "parts").mkdir()
    with pytest.raises(InputError, match="not made by openmarlin"):
        RunFolder(foreign, SETTINGS, DIM, overwrite=True)
    with pytest.raises(InputError, match="no earlier run to resume"):
        RunFolder(foreign, SETTINGS, DIM, resume=True)
    assert (foreign / "parts").is_dir()


def test_damaged_settings_file(tmp_path: Path) -> None:
    RunFolder(tmp_path / "out", SETTINGS, DIM)
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(InputError, match="not readable"):
        RunFolder(tmp_path / "out", SETTINGS, DIM, resume=True)
