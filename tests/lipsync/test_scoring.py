"""A clip whose sound is shifted by k is found at k; which face speaks; what cannot be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media import write_audio
from opening import OpeningExpert, landmarker, voice, with_sound

from openmarlin.data.parts import Record
from openmarlin.errors import VideoError
from openmarlin.lipsync.offsets import MAX_SHIFT, Offset
from openmarlin.lipsync.scoring import largest, mean_interval, score_video
from openmarlin.lipsync.track_score import LEAST_WINDOWS, TrackScore, certainty_of
from openmarlin.lipsync.words import offset_words, verdict
from openmarlin.video.audio import RATE, Sound


def score(path: Path, expert: OpeningExpert | None = None, **options: object) -> list[TrackScore]:
    return score_video(path, expert or OpeningExpert(), landmarker(), **options)


@pytest.mark.parametrize("early", [-7, -1, 0, 4, 12])
def test_a_shift_of_k_frames_is_found_at_k(clips: Path, tmp_path: Path, early: int) -> None:
    """30 frames a second, pictures that start at 33 ms, sound that starts elsewhere."""
    clip = clips / "signer_book.mkv"
    path = with_sound(clip, voice(clip, early=early), tmp_path / "a.mkv")
    (track,) = score(path)
    assert {name: offset.ticks for name, offset in track.scores.items()} == {
        "valid": early,
        "compat": early,
    }
    assert track.n_frames == 91
    assert track.flags == ()
    assert track.speaks
    assert track.certainty > 0.95
    assert track.scores["valid"].lse_c > 1
    assert np.nanmedian(track.confidence) > 0.8
    assert len(track.times_s) == len(track.confidence) <= 79
    assert track.times_s[0] >= track.start_s
    assert track.times_s[-1] <= track.end_s


def test_stretches_of_a_track_are_joined(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openmarlin.lipsync import scoring

    clip, plain = clips / "signer_sister.mkv", scoring.read_talkers
    path = with_sound(clip, voice(clip, early=2), tmp_path / "a.mkv")
    (whole,) = score(path)
    monkeypatch.setattr(scoring, "read_talkers", lambda *a, **k: plain(*a, **k, longest=25))
    (joined,) = score(path)
    for variant in ("valid", "compat"):
        one, other = whole.scores[variant], joined.scores[variant]
        assert one.ticks == other.ticks == 2
        np.testing.assert_allclose(one.curve, other.curve, atol=1e-5)
    np.testing.assert_allclose(whole.confidence, joined.confidence, atol=1e-5)
    assert (whole.n_frames, whole.face_px) == (joined.n_frames, joined.face_px)


def test_which_of_two_faces_speaks(clips: Path, tmp_path: Path) -> None:
    clip = clips / "two_people.mp4"
    path = with_sound(clip, voice(clip, track=1, early=2), tmp_path / "a.mp4")
    listener, speaker = scores = score(path)
    assert (listener.speaks, speaker.speaks) == (False, True)
    assert speaker.scores["valid"].ticks == 2
    assert speaker.certainty > listener.certainty
    assert largest(scores, 2) == scores
    assert [track.track for track in largest(scores, 1)] == [
        max(scores, key=lambda track: track.face_px).track
    ]


def test_what_is_too_short_is_flagged_and_not_scored_in_valid(clips: Path, tmp_path: Path) -> None:
    clip = clips / "signer_book.mkv"
    path = with_sound(clip, voice(clip, early=1), tmp_path / "a.mkv")
    record = Record()
    (track,) = score(path, limit_s=2.0, record=record)
    assert record.seconds == pytest.approx(2.0, abs=0.05)
    assert track.n_frames - 13 + 1 < LEAST_WINDOWS
    assert set(track.scores) == {"compat"}
    assert track.flags == ("short",)
    assert np.isnan(track.certainty)
    assert not track.is_sure
    assert verdict(track) == "too short to say"
    (longer,) = score(path, limit_s=2.6)
    assert longer.flags == ("short",)
    assert longer.scores["valid"].ticks == 1


def test_sound_that_says_nothing(clips: Path, tmp_path: Path) -> None:
    clip = clips / "signer_book.mkv"
    steady = np.random.default_rng(0).integers(-3000, 3000, 4 * RATE).astype(np.int16)
    cases = {
        "steady": (Sound(steady, 0.0), "no speech"),
        "a fifth of a second": (Sound(steady[: RATE // 5], 1.0), "no speech"),
        "after the face": (Sound(steady[:RATE], 8.0), "no sound"),
    }
    for sound, flag in cases.values():
        (track,) = score(with_sound(clip, sound, tmp_path / "a.mkv"))
        assert track.flags[0] == flag
        assert not track.speaks
        assert not track.is_sure
        assert verdict(track).startswith(flag)
    assert track.scores == {}


def test_sound_that_ends_early_counts_to_its_end(clips: Path, tmp_path: Path) -> None:
    clip = clips / "signer_book.mkv"
    whole = voice(clip, early=3)
    cut = Sound(whole.samples[: round(3.0 * RATE)], whole.start_s)
    (track,) = score(with_sound(clip, cut, tmp_path / "a.mkv"))
    assert track.scores["valid"].ticks == 3
    assert len(track.times_s) < 79 - 10


def test_a_face_of_a_few_frames_has_no_windows(clips: Path, tmp_path: Path) -> None:
    clip = clips / "signer_book.mkv"
    path = with_sound(clip, voice(clip), tmp_path / "a.mkv")
    (track,) = score(path, limit_s=0.3)
    assert track.scores == {}
    assert len(track.confidence) == 0
    assert "short" in track.flags


def test_no_sound_and_no_picture(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="has no sound"):
        score(clips / "signer_yes.mkv")
    with pytest.raises(VideoError):
        score(write_audio(tmp_path / "a.mp4"))


def test_certainty_is_that_of_the_seconds() -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.9, 1.1, (150, 2 * MAX_SHIFT + 1)).astype(np.float32)
    clear = noise.copy()
    clear[:, MAX_SHIFT - 4] -= 0.5
    assert certainty_of(clear, 4) == 1.0
    one_second = noise.copy()
    one_second[:25, MAX_SHIFT - 4] -= 0.5
    assert certainty_of(one_second, 4) < 0.9
    assert certainty_of(noise, 4) < 0.5
    assert certainty_of(noise, 4, seed=1) == certainty_of(noise, 4, seed=1)


@pytest.mark.parametrize(
    ("ticks", "certainty", "flags", "sure"),
    [
        (3, 0.97, (), True),
        (3, 0.93, (), False),
        (3, np.nan, (), False),
        (MAX_SHIFT, 1.0, (), False),
        (-MAX_SHIFT, 1.0, (), False),
        (3, 1.0, ("short",), True),
        (3, 1.0, ("no speech",), False),
    ],
)
def test_what_an_offset_can_be_relied_on(
    ticks: int, certainty: float, flags: tuple, sure: bool
) -> None:
    offset = Offset(ticks, 0.5, 0.5, np.ones(31, np.float32))
    times_s, none = np.zeros(0), np.zeros(0, np.float32)
    track = TrackScore(
        0, 0.0, 4.0, 100, 90.0, 1.0, 1.0, {"valid": offset}, certainty, True, flags, times_s, none
    )
    assert track.is_sure == sure


def test_means_are_of_groups() -> None:
    mean, low, high = mean_interval([1.0, 1.0, 4.0, np.nan], ["a", "a", "b", "c"])
    assert mean == 2.0
    assert low == 1.0
    assert high == 4.0
    assert mean_interval([3.0], ["a"])[0] == 3.0
    assert np.isnan(mean_interval([3.0], ["a"])[1])
    assert np.isnan(mean_interval([], [])).all()


def test_words() -> None:
    assert offset_words(0) == "in sync"
    assert offset_words(120) == "the sound leads by 120 ms"
    assert offset_words(-200) == "the sound lags by 200 ms"
    assert offset_words(40).startswith("in sync to a frame")
