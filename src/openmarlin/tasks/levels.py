"""From scores of windows to scores of videos, and of subjects.

A window shows some faces; a video has some windows; a subject appears in some videos. For a binary
question such as "is a face in here forged" the most suspicious face of a window counts, so the
maximum over faces, then the mean over time; for anything else the mean over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmarlin.errors import InputError

Scores = NDArray[np.float64]
Names = NDArray[Any]
"""Text or numbers, one a row."""


def video_scores(
    videos: Sequence[str] | Names,
    windows: ArrayLike,
    faces: ArrayLike,
    scores: ArrayLike,
    *,
    over_faces: Literal["mean", "max"],
) -> tuple[Names, Scores]:
    """One score a video from those of its windows and faces.

    Args:
        videos: of every row, its name or number.
        windows: of every row, the number of the window in the video.
        faces: of every row, the number of the face in the video.
        scores: (W, C), a row a window and face; NaN where no face was seen there.
        over_faces: how the faces of a window become one, before the mean over windows.

    Returns:
        Videos in the order in which they first appear, and their scores (V, C); NaN for a video in
        which no face was seen, see `with_prior`.

    Raises:
        InputError: a face has two rows in one window.
    """
    values = np.asarray(scores, float)
    names, video = _numbered(np.asarray(videos))
    place = np.column_stack([video, np.asarray(windows), np.asarray(faces)])
    twice, count = np.unique(place, axis=0, return_counts=True)
    if (count > 1).any():
        row = twice[count > 1][0]
        raise InputError(
            f"{names[int(row[0])]}: face {row[2]} has two scores in window {row[1]}; give one"
        )
    first, window = np.unique(place[:, :2], axis=0, return_inverse=True)
    of_windows = _reduced(values, window.reshape(-1), len(first), over_faces)
    return names, _reduced(of_windows, first[:, 0].astype(np.int64), len(names), "mean")


def group_scores(groups: Sequence[str] | Names, scores: ArrayLike) -> tuple[Names, Scores]:
    """The mean of each group's videos: subject level.

    Args:
        groups: of every video.
        scores: (V, C); those that are NaN do not count.

    Returns:
        Groups in the order in which they first appear, and their scores (G, C).
    """
    names, group = _numbered(np.asarray(groups))
    return names, _reduced(np.asarray(scores, float), group, len(names), "mean")


def with_prior(
    wanted: Sequence[str] | Names, videos: Names, scores: Scores, prior: ArrayLike
) -> tuple[Scores, NDArray[np.bool_]]:
    """Scores of all videos that count, also of those without a face.

    Args:
        wanted: all N videos, in the order of the result.
        videos: V of them, or others, that have scores.
        scores: (V, C), see `video_scores`.
        prior: what a video without a face gets: 0.5 where the question is binary, else the shares
            of the labels in training; one number, or C.

    Returns:
        (N, C), and (N,) True where the score is the prior: say how many these are.
    """
    place = {name: i for i, name in enumerate(videos.tolist())}
    rows = np.array([place.get(name, -1) for name in np.asarray(wanted).tolist()], np.int64)
    result = np.full((len(rows), scores.shape[1]), np.nan)
    result[rows >= 0] = scores[rows[rows >= 0]]
    without = ~np.isfinite(result).all(axis=1)
    result[without] = prior
    return result, without


def _numbered(names: Names) -> tuple[Names, NDArray[np.int64]]:
    """Different values in the order in which they first appear, and the number of each row's."""
    values, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return values[order], rank[inverse.reshape(-1)]


def _reduced(values: Scores, cell: NDArray[np.int64], n_cells: int, how: str) -> Scores:
    """Mean or maximum of the rows of every cell, those that are NaN left out; NaN for none."""
    kept = np.isfinite(values).all(axis=1)
    values, cell = values[kept], cell[kept]
    shape = n_cells, values.shape[1]
    count = np.bincount(cell, minlength=n_cells)[:, None]
    if how == "max":
        result = np.full(shape, -np.inf)
        np.maximum.at(result, cell, values)
    else:
        result = np.zeros(shape)
        np.add.at(result, cell, values)
        result /= np.maximum(count, 1)
    return np.where(count > 0, result, np.nan)
