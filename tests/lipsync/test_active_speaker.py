"""Which of two faces speaks, by meshes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from talkers import look_at, solid_face, talk

from openmarlin.lipsync import active_speaker
from openmarlin.lipsync.active_speaker import speaking_track
from openmarlin.lipsync.driven_face import ScannedFace
from openmarlin.lipsync.experts.mouth_view import POINTS
from openmarlin.video.audio import RATE, Sound

FPS = 30.0
SECONDS = 6.0
TIMES = 2.0 + np.arange(int(SECONDS * FPS)) / FPS
WINDOW = 13


class Opening:
    """An expert without weights: how far the lips are open, and how loud it is."""

    window = WINDOW

    def embed_faces(self, views: NDArray[Any]) -> NDArray[np.float32]:
        lips = views["points"][:, [POINTS.index(13), POINTS.index(14)], 1]
        return _windows(lips[:, 1] - lips[:, 0])

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> NDArray[np.float32]:
        samples = sound.between(start_s, start_s + (count + WINDOW - 1) / 25).astype(float)
        ticks = samples[: (count + WINDOW - 1) * 640].reshape(-1, 640)
        return _windows(np.abs(ticks).mean(axis=1))


def _windows(values: NDArray[Any]) -> NDArray[np.float32]:
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW).astype(np.float32)
    centred = windows - windows.mean(axis=1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6)


class Tracks:
    """Two faces; the second one talks as the sound says."""

    def __init__(self) -> None:
        self.samples, talking = talk(SECONDS, np.random.default_rng(3))
        _, other = talk(SECONDS, np.random.default_rng(4))
        at = np.arange(len(TIMES)) * 25 / FPS
        self.openings = [np.interp(at, np.arange(len(o)), o) for o in (other, talking)]

    def points(self, track: int, first: int, stop: int) -> NDArray[np.float32]:
        flat = [look_at(solid_face(o)) for o in self.openings[track][first:stop]]
        return np.stack([np.column_stack([mesh, np.zeros(478)]) for mesh in flat]).astype(
            np.float32
        )


def _face(track: int, frames: int) -> ScannedFace:
    n = np.zeros((frames, 4))
    seen = np.ones(frames, bool)
    return ScannedFace(track, np.arange(frames), seen, n, n[:, :3], n, n[:, 0])


@pytest.fixture
def tracks(monkeypatch: pytest.MonkeyPatch) -> Tracks:
    monkeypatch.setattr(active_speaker, "load_expert", Opening)
    return Tracks()


def test_the_one_whose_lips_fit(tracks: Tracks) -> None:
    faces = {k: _face(k, len(TIMES)) for k in (0, 1)}
    sound = Sound(tracks.samples, float(TIMES[0]))
    assert speaking_track(faces, TIMES, tracks, sound) == 1  # type: ignore[arg-type]


def test_nobody_where_none_is_sure(tracks: Tracks) -> None:
    noise = np.random.default_rng(0).normal(0, 900, len(tracks.samples)).astype(np.int16)
    faces = {0: _face(0, len(TIMES)), 1: _face(1, 40)}  # the second is in view too shortly
    for samples in (noise, tracks.samples):
        sound = Sound(samples, float(TIMES[0]))
        assert speaking_track(faces, TIMES, tracks, sound) is None  # type: ignore[arg-type]
    assert len(tracks.samples) == SECONDS * RATE
