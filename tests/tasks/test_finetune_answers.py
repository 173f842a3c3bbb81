"""Windows of a store become answers to rows: over time, then over faces."""

from __future__ import annotations

import numpy as np
from task_models import FAKE, SMILE, task_model

from openmarlin.data.store.index import Track
from openmarlin.tasks.finetune_answers import WindowLogits


def logit(p: list[float]) -> np.ndarray:
    values = np.array(p)
    return np.log(values / (1 - values))[:, None]


def test_the_most_suspicious_face_counts_in_a_video_that_may_be_forged() -> None:
    probabilities = [0.2, 0.4, 0.9, 0.7, 0.5]
    windows = WindowLogits(
        np.array([4, 4, 4, 4, 1]), np.array([0, 0, 3, 3, 7]), logit(probabilities)
    )
    rows, largest = windows.by_row(task_model(FAKE, over_faces="max"))
    assert rows.tolist() == [1, 4]
    assert np.allclose(largest[:, 0], [0.5, 0.8])
    rows, means = windows.by_row(task_model(SMILE, over_faces="mean"))
    assert np.allclose(means[:, 0], [0.5, 0.55])
    both = windows + WindowLogits(np.array([2]), np.array([9]), logit([0.1]))
    assert both.by_row(task_model(FAKE, over_faces="max"))[0].tolist() == [1, 2, 4]


def test_pieces_of_a_track_are_one_face() -> None:
    tracks = [
        Track(name, "talk.mp4", "", 30, 25.0) for name in ("talk/0@0", "talk/0@300", "talk/1@0")
    ]
    assert [track.face for track in tracks] == ["talk/0", "talk/0", "talk/1"]
    assert Track("track-1", "", "", 30, 25.0).face == "track-1"
