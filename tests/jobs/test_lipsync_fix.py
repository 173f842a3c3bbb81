"""`lipsync fix`: measured, moved, measured again; refused where it cannot be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_disk import run_limited
from opening import OpeningExpert, voice, with_sound

import openmarlin.lipsync
from openmarlin.errors import InputError, VideoError
from openmarlin.jobs.lipsync_fix import announce, fix
from openmarlin.video.audio import RATE, Sound


@pytest.fixture(scope="module")
def book(clips: Path) -> Path:
    return clips / "signer_book.mkv"


@pytest.mark.parametrize(
    ("early", "source", "target"), [(4, "mp4", "mp4"), (-5, "mkv", "mkv"), (6, "mkv", "mp4")]
)
def test_sound_comes_into_step(
    book: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    early: int,
    source: str,
    target: str,
) -> None:
    film = with_sound(book, voice(book, early=early), tmp_path / f"a.{source}")
    result = openmarlin.lipsync.fix(film, out=tmp_path / f"b.{target}", expert=OpeningExpert())
    assert result.offset_ms == result.delay_ms == 40 * early
    assert result.after_ms == 0
    announce(result)
    said = capsys.readouterr().err
    assert f"{abs(40 * early)} ms" in said
    assert "measured again: in sync" in " ".join(said.split())


def test_what_is_in_step_is_copied(book: Path, tmp_path: Path) -> None:
    film = with_sound(book, voice(book, early=1), tmp_path / "a.mkv")
    result = fix(film, out=tmp_path / "b.mkv", expert=OpeningExpert())
    assert (result.offset_ms, result.delay_ms, result.after_ms) == (40, 0, 40)
    with pytest.raises(InputError, match="exists already"):
        fix(film, out=tmp_path / "b.mkv", expert=OpeningExpert())


def test_what_cannot_be_told_is_refused_with_what_was_measured(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.mkv"
    film = with_sound(book, voice(book, early=4), tmp_path / "a.mkv")
    with pytest.raises(InputError, match=r"too short to say.*1\.9 s of a face.*offset_ms"):
        fix(film, out=out, expert=OpeningExpert(), limit_seconds=1.9)
    rng = np.random.default_rng(3)
    swell = np.repeat(rng.uniform(0.01, 1, 100) ** 2, RATE // 25)
    noise = Sound((9000 * swell * rng.uniform(-1, 1, 4 * RATE)).astype(np.int16), 0.0)
    film = with_sound(book, noise, tmp_path / "noise.mkv")
    with pytest.raises(InputError, match=r"not sure.*LSE-C.*certainty"):
        fix(film, out=out, expert=OpeningExpert())
    quiet = with_sound(book, Sound(np.zeros(4 * RATE, np.int16), 0.0), tmp_path / "quiet.mkv")
    with pytest.raises(InputError, match="no speech"):
        fix(quiet, out=out, expert=OpeningExpert())
    with pytest.raises(VideoError, match="no sound"):
        fix(book, out=out, expert=OpeningExpert())
    assert not out.exists()


def test_a_given_offset_is_not_measured(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = with_sound(book, voice(book, early=4), tmp_path / "a.mkv")
    result = fix(film, out=tmp_path / "b.mkv", offset_ms=-80)
    assert (result.offset_ms, result.delay_ms, result.after_ms) == (-80, -80, None)
    assert not result.is_measured
    announce(result)
    said = " ".join(capsys.readouterr().err.split())
    assert "not measured" in said
    assert "brought forward by 80 ms" in said
    assert "lags" not in said


def test_targets_are_looked_at_first(book: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "b.avi", tmp_path / "b"):
        with pytest.raises(InputError, match=r"\.mkv"):
            fix(book, out=out, expert=OpeningExpert())
    with pytest.raises(InputError, match="no such file"):
        fix(tmp_path / "gone.mp4", out=tmp_path / "b.mkv", expert=OpeningExpert())


def test_a_full_disk_leaves_what_was_there(book: Path, tmp_path: Path) -> None:
    film = with_sound(book, voice(book, early=4), tmp_path / "a.mkv")
    out = tmp_path / "b.mkv"
    out.write_text("an earlier one")
    words = ["lipsync", "fix", film, "--out", out, "--offset-ms", "160", "--overwrite"]
    code, log = run_limited(film.stat().st_size // 2, *words)
    assert code == 2, log
    assert log.count("cannot write") == log.count(str(out)) == 1
    assert "Traceback" not in log
    assert out.read_text() == "an earlier one"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mkv", "b.mkv"}
