"""Whose mouth is driven."""

from __future__ import annotations

import numpy as np
import pytest

from openmarlin.errors import InputError, VideoError
from openmarlin.lipsync.driven_face import ScannedFace
from openmarlin.lipsync.generate_settings import GenerateSettings
from openmarlin.lipsync.speaker import choose_speakers

TIMES = np.arange(100) / 25


def face(track: int, frames: range, x: float, side: float) -> ScannedFace:
    n = len(frames)
    boxes = np.tile([x, 0.0, x + side, side], (n, 1))
    empty = np.zeros((n, 4))
    return ScannedFace(
        track, np.array(frames), np.ones(n, bool), boxes, empty[:, :3], empty, empty[:, 0]
    )


FACES = {
    0: face(0, range(0, 100), 0.0, 40.0),
    1: face(1, range(0, 100), 200.0, 90.0),
    2: face(2, range(50, 60), 400.0, 200.0),
}


def choose(speaker: str, speaking: int | None = None) -> list[int]:
    return choose_speakers(FACES, TIMES, speaker, "a.mp4", lambda: speaking)


def test_auto_is_the_largest_and_longest() -> None:
    assert choose("auto") == [1]


def test_auto_is_who_speaks_where_that_is_known() -> None:
    assert choose("auto", speaking=0) == [0]
    assert choose("1", speaking=0) == [1]


def test_tracks_and_points() -> None:
    assert choose("0") == [0]
    assert choose("2+0+2") == [2, 0]
    assert choose("20,20") == [0]
    assert choose("410.5,20") == [2]


def test_there_is_no_such_face() -> None:
    with pytest.raises(InputError, match=r"no track 7.*0 \(0.0 to"):
        choose("0+7")
    with pytest.raises(InputError, match="point"):
        choose("150,20")
    with pytest.raises(VideoError, match="no face"):
        choose_speakers({}, TIMES, "auto", "a.mp4", lambda: None)


@pytest.mark.parametrize("text", ["left", "1-2", "1,2,3", "+1", "-1"])
def test_what_names_no_face_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="speaker"):
        GenerateSettings.of({"out": "a.mp4", "speaker": text})
